//! Problems of a trigger definition, each with a JSON pointer. They are collected, so an author sees all of them at
//! once. A problem may quote names that the author wrote, never arguments.

use std::fmt;

use crate::domain::value::text::shortened;

/// A definition can have thousands; the rest is dropped.
const MAX_PROBLEMS: usize = 20;

/// A problem of a trigger definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) from the definition's root, such as `/actions/0/email`.
    pub pointer: String,
    /// What is wrong and how to fix it.
    pub message: String,
}

/// Collects problems while a definition is walked.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// Keys from the root to the current value.
    path: Vec<String>,
}

impl Problems {
    /// Adds a problem of the current value.
    pub(super) fn push(&mut self, message: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            let pointer = self.path.iter().fold(String::new(), |pointer, key| {
                format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
            });
            self.found.push(Problem { pointer, message: message.into() });
        }
    }

    /// Adds a problem of the current value's member `key`.
    pub(super) fn push_in(&mut self, key: impl fmt::Display, message: impl Into<String>) {
        self.within(key, |problems| problems.push(message));
    }

    /// Runs `walk` on the member `key` of the current value.
    pub(super) fn within<T>(&mut self, key: impl fmt::Display, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.enter(key);
        let result = walk(self);
        self.leave();
        result
    }

    /// Goes to the member `key` of the current value.
    pub(super) fn enter(&mut self, key: impl fmt::Display) {
        self.path.push(shortened(&key.to_string()));
    }

    /// Goes back.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Runs `walk` on the value at `path`, relative to the current one.
    pub(super) fn within_all<T>(&mut self, path: &[String], walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.extend(path.iter().map(|key| shortened(key)));
        let result = walk(self);
        self.path.truncate(self.path.len() - path.len());
        result
    }

    /// The number of problems so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// The problems in the order in which they were found.
    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_escaped() {
        let mut problems = Problems::default();
        problems.push("a");
        problems.within("actions", |problems| problems.within(0, |problems| problems.push_in("a/b~", "b")));
        let pointers: Vec<_> = problems.into_vec().into_iter().map(|problem| problem.pointer).collect();
        assert_eq!(pointers, ["", "/actions/0/a~1b~0"]);
    }

    #[test]
    fn the_number_of_problems_is_limited() {
        let mut problems = Problems::default();
        for _ in 0..100 {
            problems.push("x");
        }
        assert_eq!(problems.into_vec().len(), MAX_PROBLEMS);
    }
}
