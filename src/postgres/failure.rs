//! Classifies database errors: what is at fault, and so what has to wait.

use super::partitions::AWAITS_PARTITION;

/// What is said of [`Failure::Locked`].
pub const ROW_LOCKED: &str = "somebody keeps a row locked that it needs";

/// Why a transaction failed, which decides what to do with its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another transaction was faster: a retry sees its result.
    Race,
    /// The values of a row violate the schema: a retry fails again.
    Data,
    /// A stored row that the work needs cannot be read: a retry fails again until somebody repairs it. Other work does not
    /// need that row.
    Unreadable,
    /// Another session keeps a row or table locked that the work needs. Other work may not need it.
    Locked,
    /// A statement took too long. So may every other one, or only this.
    Slow,
    /// The database is unreachable, full, read-only, not migrated, or denies us access: nothing is wrong with
    /// the work, and it waits.
    Systemic,
}

/// Classifies by SQLSTATE (PostgreSQL, appendix A).
#[must_use]
pub fn classify(error: &sqlx::Error) -> Failure {
    let sqlx::Error::Database(refused) = error else {
        return match error {
            sqlx::Error::Encode(_) => Failure::Data,
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Failure::Unreadable,
            _ => Failure::Systemic,
        };
    };
    match refused.code().as_deref() {
        // Serialization failure, deadlock; unique violation: another transaction has inserted the same key.
        Some("40001" | "40P01" | "23505") => Failure::Race,
        // Check violation.
        Some("23514") => of_check(refused.constraint()),
        // Program limit exceeded: an index row is too large.
        Some("54000") => Failure::Data,
        // Data exceptions.
        Some(code) if code.starts_with("22") => Failure::Data,
        // Data corrupted, index corrupted.
        Some("XX001" | "XX002") => Failure::Unreadable,
        // Lock not available (`lock_timeout`).
        Some("55P03") => Failure::Locked,
        // Query canceled (`statement_timeout`).
        Some("57014") => Failure::Slow,
        _ => Failure::Systemic,
    }
}

/// The range of a partition is a constraint without a name. Only a row that waited while its partition was made violates it.
fn of_check(constraint: Option<&str>) -> Failure {
    match constraint {
        None => Failure::Race,
        // Until maintenance has removed it, which a killed process could not.
        Some(name) if name.starts_with(AWAITS_PARTITION) => Failure::Systemic,
        Some(_) => Failure::Data,
    }
}

/// Why the database refused something, without any value that was given or stored.
#[must_use]
pub fn refusal(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refused) => match (refused.code().as_deref(), refused.constraint()) {
            (Some("55P03"), _) => ROW_LOCKED.to_owned(),
            (Some("57014"), _) => "a statement took longer than postgres.statement_timeout".to_owned(),
            (Some(code), Some(constraint)) => format!("SQLSTATE {code}, constraint {constraint}"),
            (code, _) => format!("SQLSTATE {}", code.unwrap_or("unknown")),
        },
        // Raised here: it names the row.
        sqlx::Error::Decode(unreadable) => unreadable.to_string(),
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} of a stored row cannot be read"),
        sqlx::Error::Encode(_) => "a value cannot be encoded".to_owned(),
        _ => "the database failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checks_of_columns_blame_the_row() {
        assert_eq!(of_check(Some("effects_kind_check")), Failure::Data);
        assert_eq!(of_check(Some("awaits_partition_20261128")), Failure::Systemic);
        assert_eq!(of_check(None), Failure::Race);
    }
}
