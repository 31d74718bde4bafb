//! Classifies database errors: bad data, a lost race, or a systemic failure.

use super::partitions::AWAITS_PARTITION;

/// Why a transaction failed, which decides what to do with its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another transaction was faster: a retry sees its result.
    Race,
    /// The values of a row violate the schema: a retry fails again.
    Data,
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
