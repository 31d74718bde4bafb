//! Whether regular expressions are checked.

use crate::domain::trigger::parameters::pattern::{Patterns, Translation};

/// How regular expressions are treated.
pub(in crate::domain::trigger::parameters) enum Expressions<'p> {
    /// They are checked as far as possible.
    Checked(&'p mut Patterns),
    /// They are left out, and what would refuse more without them.
    LeftOut,
}

impl Expressions<'_> {
    /// The form of an expression that the validator takes.
    ///
    /// # Errors
    /// Why it is not checked.
    pub(super) fn translate(&mut self, expression: &str) -> Result<Translation, &'static str> {
        match self {
            Self::Checked(patterns) => patterns.translate(expression),
            Self::LeftOut => Err("is left out"),
        }
    }

    /// The same for a further pass.
    pub(super) fn again(&mut self) -> Expressions<'_> {
        match self {
            Self::Checked(patterns) => Expressions::Checked(patterns),
            Self::LeftOut => Expressions::LeftOut,
        }
    }
}
