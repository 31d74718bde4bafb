//! The record of what operators change: who, when, what, why, and the state before and after.
//!
//! A change and its record are written in one transaction, so neither exists without the other. A record never holds
//! a body, a contact's value or a secret: only ids, states, counts and field names.

use serde_json::Value;
use sqlx::PgConnection;

use super::paging::{Cursor, Page};
pub use crate::postgres::audit::Entry;
use crate::postgres::{
    Database,
    audit::{self as store, New},
};

/// A dead letter was sent to its stage again.
pub const DEAD_LETTER_REPLAY: &str = "dead_letter.replay";
/// A dead letter was discarded.
pub const DEAD_LETTER_DISCARD: &str = "dead_letter.discard";
/// A discarded dead letter was reopened.
pub const DEAD_LETTER_RESTORE: &str = "dead_letter.restore";
/// A dead letter was replaced by an edited event, which was sent to its stage.
pub const DEAD_LETTER_EDIT: &str = "dead_letter.edit";
/// Dead letters were exported with their contents.
pub const DEAD_LETTER_EXPORT: &str = "dead_letter.export";
/// A dead letter was imported from a file.
pub const DEAD_LETTER_IMPORT: &str = "dead_letter.import";
/// The message of a dead letter was shown with identity documents.
pub const DEAD_LETTER_REVEAL: &str = "dead_letter.reveal";
/// The note on a group of dead letters was written.
pub const DEAD_LETTER_NOTE: &str = "dead_letter.note";
/// A dead letter whose replay was canceled before it was sent is open again.
pub const DEAD_LETTER_REOPEN: &str = "dead_letter.reopen";
/// A delivery was made due again.
pub const DELIVERY_RESEND: &str = "delivery.resend";
/// A delivery that waited was discarded.
pub const DELIVERY_DISCARD: &str = "delivery.discard";
/// The request of a delivery was shown with identity documents.
pub const DELIVERY_REVEAL: &str = "delivery.reveal";
/// An endpoint was paused.
pub const ENDPOINT_PAUSE: &str = "endpoint.pause";
/// A paused endpoint was resumed.
pub const ENDPOINT_RESUME: &str = "endpoint.resume";
/// An endpoint was enabled, or its failures were forgotten.
pub const ENDPOINT_ENABLE: &str = "endpoint.enable";
/// A test event was sent to an address.
pub const ENDPOINT_TEST: &str = "endpoint.test";
/// A merged contact was split.
pub const CONTACT_UNMERGE: &str = "contact.unmerge";
/// A person was erased.
pub const CONTACT_ERASE: &str = "contact.erase";
/// The identity of a contact was shown.
pub const CONTACT_REVEAL: &str = "contact.reveal";

/// An operation on many dead letters or deliveries was planned.
pub const OPERATION_PLAN: &str = "operation.plan";
/// A planned operation was started.
pub const OPERATION_RUN: &str = "operation.run";
/// A running operation was paused.
pub const OPERATION_PAUSE: &str = "operation.pause";
/// A paused operation was resumed.
pub const OPERATION_RESUME: &str = "operation.resume";
/// An operation was ended before its last item.
pub const OPERATION_CANCEL: &str = "operation.cancel";

/// All actions.
pub const ACTIONS: [&str; 24] = [
    DEAD_LETTER_REPLAY,
    DEAD_LETTER_DISCARD,
    DEAD_LETTER_RESTORE,
    DEAD_LETTER_EDIT,
    DEAD_LETTER_EXPORT,
    DEAD_LETTER_IMPORT,
    DEAD_LETTER_REVEAL,
    DEAD_LETTER_NOTE,
    DEAD_LETTER_REOPEN,
    DELIVERY_RESEND,
    DELIVERY_DISCARD,
    DELIVERY_REVEAL,
    ENDPOINT_PAUSE,
    ENDPOINT_RESUME,
    ENDPOINT_ENABLE,
    ENDPOINT_TEST,
    CONTACT_UNMERGE,
    CONTACT_ERASE,
    CONTACT_REVEAL,
    OPERATION_PLAN,
    OPERATION_RUN,
    OPERATION_PAUSE,
    OPERATION_RESUME,
    OPERATION_CANCEL,
];

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 500;

/// The surface on which an operator acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Via {
    /// The command line.
    CommandLine,
    /// The HTTP API.
    Api,
    /// The web console.
    Console,
}

impl Via {
    /// The name in JSON and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Who acts, where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token, of `--operator`, or of the system's user: 1 to 255 bytes without control characters.
    pub name: String,
    /// The surface.
    pub via: Via,
    /// Why, in the actor's words: at most [`MAX_REASON`] bytes without control characters. See [`Actor::because`].
    pub reason: Option<String>,
}

/// The reason is too long or contains a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reason must be at most {MAX_REASON} bytes, without control characters")]
pub struct BadReason;

impl Actor {
    /// An actor who gives no reason.
    #[must_use]
    pub fn new(name: impl Into<String>, via: Via) -> Self {
        Self { name: name.into(), via, reason: None }
    }

    /// The same actor with this reason. A blank one counts as none.
    ///
    /// # Errors
    /// When the reason cannot be kept.
    pub fn because(self, reason: Option<&str>) -> Result<Self, BadReason> {
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if reason.is_some_and(|reason| reason.len() > MAX_REASON || reason.contains(char::is_control)) {
            return Err(BadReason);
        }
        Ok(Self { reason: reason.map(str::to_owned), ..self })
    }
}

/// One change.
pub struct Change<'a> {
    /// One of [`ACTIONS`].
    pub action: &'static str,
    /// The company's id, or empty.
    pub company: &'a str,
    /// The id of what was changed.
    pub object: String,
    /// The state before: states, counts, names. Never a value.
    pub before: Option<Value>,
    /// The state now.
    pub after: Option<Value>,
}

/// Records a change in the transaction that makes it.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub async fn record(conn: &mut PgConnection, actor: &Actor, change: &Change<'_>) -> Result<(), sqlx::Error> {
    record_all(conn, actor, std::slice::from_ref(change)).await
}

/// Records many changes in the transaction that makes them.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub async fn record_all(
    conn: &mut PgConnection,
    actor: &Actor,
    changes: &[Change<'_>],
) -> Result<(), sqlx::Error> {
    let rows: Vec<New<'_>> = changes
        .iter()
        .map(|change| New {
            operator: &actor.name,
            via: actor.via.name(),
            action: change.action,
            company: change.company,
            object: &change.object,
            reason: actor.reason.as_deref(),
            before: change.before.as_ref(),
            after: change.after.as_ref(),
        })
        .collect();
    store::insert(conn, &rows).await
}

/// Selects entries. `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By who acted.
    pub operator: Option<String>,
    /// By action.
    pub action: Option<String>,
    /// By company; the empty string selects those without one.
    pub company: Option<String>,
    /// By the id of what was changed.
    pub object: Option<String>,
    /// Happened then or later.
    pub since: Option<time::OffsetDateTime>,
    /// Happened earlier.
    pub until: Option<time::OffsetDateTime>,
    /// Where the previous page ended.
    pub before: Option<Cursor>,
}

/// At most `limit` of the entries that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(database: &Database, filter: &Filter, limit: u32) -> Result<Page<Entry>, sqlx::Error> {
    let selection = store::Selection {
        operator: filter.operator.as_deref(),
        action: filter.action.as_deref(),
        company: filter.company.as_deref(),
        object: filter.object.as_deref(),
        since: filter.since,
        until: filter.until,
        before: filter.before.map(Cursor::position),
        limit: i64::from(limit) + 1,
    };
    let rows = database.unit(async |conn| store::list(conn, &selection).await).await?;
    Ok(Page::of(rows, limit, |row| Cursor::new(row.at, row.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_kept_only_if_it_is_short_and_on_one_line() {
        let actor = || Actor::new("ada", Via::Api);
        assert_eq!(
            actor().because(Some(" asked by legal ")).unwrap().reason.as_deref(),
            Some("asked by legal")
        );
        assert_eq!(actor().because(Some("  ")).unwrap().reason, None);
        assert_eq!(actor().because(None).unwrap(), actor());
        assert_eq!(actor().because(Some("a\nb")), Err(BadReason));
        assert!(actor().because(Some(&"x".repeat(MAX_REASON))).is_ok());
        assert_eq!(actor().because(Some(&"x".repeat(MAX_REASON + 1))), Err(BadReason));
    }

    #[test]
    fn actions_have_different_names() {
        let names: std::collections::BTreeSet<_> = ACTIONS.into_iter().collect();
        assert_eq!(names.len(), ACTIONS.len());
    }
}
