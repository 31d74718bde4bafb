//! Classifies database errors: bad data, a lost race, or a systemic failure.

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
        // Program limit exceeded (an index row too large), check violation.
        Some("54000" | "23514") => Failure::Data,
        // Data exceptions.
        Some(code) if code.starts_with("22") => Failure::Data,
        _ => Failure::Systemic,
    }
}
