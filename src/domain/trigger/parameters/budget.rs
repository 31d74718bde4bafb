//! Limits what a schema may cost. A message is at most 1 MiB, but its parts multiply: names by the schemas below
//! them, definitions by references, schemas by the values that they apply to. So all code that walks a schema or
//! arguments takes from a budget in every iteration, and stops once it is spent.

use std::cell::Cell;

use serde_json::Value;

use crate::domain::trigger::size;

/// What a schema may take in memory once it is compiled, in bytes.
pub(super) const MAX_SCHEMA: u64 = 16 << 20;

/// Why a schema is not checked.
pub(super) const TOO_LARGE: &str = "is not checked: it has more than 10,000 schemas or 1,000 references, or takes more than 16 MiB of memory";

/// Work or memory that is left, in units of its owner.
#[derive(Debug)]
pub(super) struct Budget {
    total: u64,
    left: Cell<u64>,
}

impl Budget {
    pub(super) const fn new(total: u64) -> Self {
        Self { total, left: Cell::new(total) }
    }

    /// Takes `amount`. `None` if less is left, and from then on.
    pub(super) fn take(&self, amount: u64) -> Option<()> {
        let left = self.left.get().saturating_sub(amount);
        self.left.set(left);
        (left > 0).then_some(())
    }

    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// What has been taken.
    pub(super) fn spent(&self) -> u64 {
        self.total - self.left.get()
    }
}

/// As an amount.
pub(super) fn amount(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The length of a text, in bytes.
pub(super) fn bytes(text: &str) -> u64 {
    amount(text.len())
}

/// About how much memory a value takes, in bytes.
pub(super) fn weight(value: &Value) -> u64 {
    amount(size_of::<Value>() + size::of_value(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_that_is_spent_stays_spent() {
        let budget = Budget::new(10);
        assert_eq!((budget.take(4), budget.spent()), (Some(()), 4));
        assert_eq!((budget.take(7), budget.spent()), (None, 10));
        assert_eq!((budget.take(0), budget.is_spent()), (None, true));
    }

    #[test]
    fn values_weigh_at_least_their_text() {
        let value = json!({"a": ["x".repeat(1000), {"b": [0, 1, 2]}]});
        assert!(weight(&value) > 1000 && weight(&value) < 3000, "{}", weight(&value));
    }
}
