//! The API below `/api/v1`: the verbs of the command line, with its JSON.
//!
//! A listing is `{"items": […], "next": …}`; `next` is the `cursor` of the next page, and null on the last one.

mod audit;
mod contacts;
mod dead_letter_reveal;
mod dead_letter_transfer;
mod dead_letters;
mod deliveries;
mod documents;
mod endpoints;
mod input;
mod me;
mod operations;
mod refusals;
mod trigger;

use super::route::Route;

/// Every route of the API.
pub(super) fn routes() -> Vec<Route> {
    let all = [
        me::routes(),
        dead_letters::routes(),
        dead_letter_reveal::routes(),
        dead_letter_transfer::routes(),
        operations::routes(),
        deliveries::routes(),
        endpoints::routes(),
        contacts::routes(),
        trigger::routes(),
        audit::routes(),
        documents::routes(),
    ];
    all.into_iter().flatten().collect()
}
