//! Who the caller is.

use serde_json::json;

use crate::{
    console::{caller::Caller, reply::Reply, route::Route},
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::read("/api/v1/me", Role::Viewer, me)]
}

async fn me(caller: Caller) -> Reply {
    Reply(json!({ "name": caller.actor.name, "role": caller.role.name(), "csrf": caller.csrf }))
}
