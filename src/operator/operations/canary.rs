//! The canary of an operation: its first items are judged before more follow.

use std::time::Duration;

use sqlx::PgConnection;

use crate::postgres::operations::{self as store, Claimed, Object, Verdict};

/// The last step that is judged. Each has ten times as many items as the one before, and after this one all follow.
const LAST_CANARY: i32 = 100;

/// How long a canary waits for the results of its replays or resends, counted from the last one.
const VERDICT_WAIT: time::Duration = time::Duration::seconds(60);

/// Time between two looks at that.
const VERDICT_INTERVAL: Duration = Duration::from_millis(200);

/// Judges the finished canary step: waits for its results, pauses the operation if most of it has failed again, or
/// lets the next step begin. Returns the time until it is to be judged again, if it has to wait.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn judge(
    conn: &mut PgConnection,
    claimed: &Claimed,
) -> Result<Option<Duration>, sqlx::Error> {
    let object = claimed.action.object();
    let verdict = store::verdict(conn, claimed.id, object, claimed.total - claimed.settled).await?;
    let waits = claimed.canary_since.is_some_and(|since| claimed.now - since < VERDICT_WAIT);
    if verdict.replaying > 0 && waits {
        return Ok(Some(VERDICT_INTERVAL));
    }
    let next = claimed.canary.filter(|canary| *canary < LAST_CANARY).map(|canary| canary.saturating_mul(10));
    store::judge(conn, claimed.id, next, failure(verdict, object).as_deref()).await?;
    Ok(None)
}

/// Why an operation with this verdict pauses.
fn failure(Verdict { resolved, open, replaying }: Verdict, object: Object) -> Option<String> {
    let tries = match object {
        Object::DeadLetter => "replays",
        Object::Delivery => "resends",
    };
    let unresolved = open + replaying;
    (unresolved > resolved).then(|| {
        let of = resolved + unresolved;
        format!("{open} of {of} {tries} failed again, and {replaying} had no result after 60 s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_pauses_if_most_replays_failed() {
        for ((resolved, open, replaying), pauses) in [
            ((0, 0, 0), false),
            ((1, 0, 0), false),
            ((0, 1, 0), true),
            ((0, 0, 1), true),
            ((5, 5, 0), false),
            ((5, 3, 3), true),
        ] {
            assert_eq!(
                failure(Verdict { resolved, open, replaying }, Object::Delivery).is_some(),
                pauses,
                "{resolved} {open}"
            );
        }
    }
}
