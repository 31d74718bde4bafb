//! What is wrong with a trigger definition, each problem with its place. Collected, so that an
//! author sees all of them at once. Problems quote names that the author wrote, never arguments.

use std::fmt;

use crate::domain::value::text::shortened;

/// Most problems that are collected; a definition can hold thousands.
const MAX_PROBLEMS: usize = 20;

/// One thing that is wrong with a trigger definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer (RFC 6901) from the definition's root, such as `/actions/0/email`.
    pub place: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Problems as they are found while a definition is walked.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    place: Vec<String>,
}

impl Problems {
    /// Notes a problem at the present place.
    pub(super) fn push(&mut self, message: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            let place = self.place.iter().fold(String::new(), |pointer, key| {
                format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
            });
            self.found.push(Problem { place, message: message.into() });
        }
    }

    /// Notes a problem at the member `key` of the present place.
    pub(super) fn push_in(&mut self, key: impl fmt::Display, message: impl Into<String>) {
        self.within(key, |problems| problems.push(message));
    }

    /// Runs `walk` with the member `key` as the present place.
    pub(super) fn within<T>(&mut self, key: impl fmt::Display, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(shortened(&key.to_string()));
        let result = walk(self);
        self.place.pop();
        result
    }

    /// Runs `walk` with the member at the end of `path` as the present place.
    pub(super) fn within_all<T>(&mut self, path: &[String], walk: impl FnOnce(&mut Self) -> T) -> T {
        self.place.extend(path.iter().map(|key| shortened(key)));
        let result = walk(self);
        self.place.truncate(self.place.len() - path.len());
        result
    }

    /// How many there are by now.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// All of them, in the order in which they were found.
    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_pointers() {
        let mut problems = Problems::default();
        problems.push("a");
        problems.within("actions", |problems| problems.within(0, |problems| problems.push_in("a/b~", "b")));
        let places: Vec<_> = problems.into_vec().into_iter().map(|problem| problem.place).collect();
        assert_eq!(places, ["", "/actions/0/a~1b~0"]);
    }

    #[test]
    fn everything_is_bounded() {
        let mut problems = Problems::default();
        for _ in 0..100 {
            problems.push("x");
        }
        assert_eq!(problems.into_vec().len(), MAX_PROBLEMS);
    }
}
