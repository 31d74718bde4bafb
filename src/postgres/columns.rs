//! Columns for `UNNEST`: one statement inserts any number of rows.

/// One column of `rows`.
pub(super) fn column<'a, T, C>(rows: &'a [T], of: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}
