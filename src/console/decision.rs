//! What operators decide about an operation, over the API and on its page.

use uuid::Uuid;

use super::{
    problem::Problem,
    shared::{Shared, on_one_thread},
};
use crate::operator::{
    audit::Actor,
    operations::{self, Changes, Operation},
};

/// A change to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Starts it, as it was planned but for the changes.
    Run,
    /// Stops it between two items.
    Pause,
    /// Goes on with it, at another rate if that changes.
    Resume,
    /// Ends it.
    Cancel,
}

impl Decision {
    /// # Errors
    /// When its state does not allow that, it is unknown, or the database fails.
    pub(super) async fn carry_out(
        self,
        shared: Shared,
        actor: Actor,
        id: Uuid,
        changes: Changes,
    ) -> Result<Operation, Problem> {
        let carry_out = move || async move {
            let database = &shared.database;
            Ok(match self {
                Self::Run => operations::run(database, &actor, id, changes).await?,
                Self::Pause => operations::pause(database, &actor, id).await?,
                Self::Resume => operations::resume(database, &actor, id, changes.rate).await?,
                Self::Cancel => operations::cancel(database, &actor, id).await?,
            })
        };
        on_one_thread(carry_out).await
    }
}
