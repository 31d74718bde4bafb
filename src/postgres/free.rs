//! Queries that skip locked rows instead of waiting for them.

/// Locks the rows `r` of `$rows`, named by company and `$id`, except those that others have locked. `$change` continues the
/// statement, and finds them in `free`, with the columns `$more`. The query returns the keys of the skipped rows.
macro_rules! query_free {
    ($id:literal, $more:literal, $rows:literal, $change:literal, $($argument:tt)*) => {
        sqlx::query_as!(
            crate::domain::event::Key,
            "WITH free AS MATERIALIZED (SELECT r.company_id, r." + $id + $more + " FROM " + $rows
                + " ORDER BY r.company_id, r." + $id + " FOR UPDATE OF r SKIP LOCKED)" + $change
                + " SELECT r.company_id AS company, r." + $id + " AS id FROM " + $rows
                + " AND (r.company_id, r." + $id + ") NOT IN (SELECT company_id, " + $id + " FROM free)",
            $($argument)*
        )
    };
}

pub(super) use query_free;
