//! A place in a schema.

use std::{borrow::Cow, rc::Rc};

use serde_json::Value;

/// An address, by its number among those that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::domain::trigger::parameters) struct Base(usize);

impl Base {
    /// The address of a schema that gives itself none.
    pub(in crate::domain::trigger::parameters) const ROOT: Self = Self(0);

    pub(super) const fn new(number: usize) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> usize {
        self.0
    }
}

/// A place in the schema. It shares what is as long as its surroundings: a copy takes no memory.
#[derive(Clone)]
pub(in crate::domain::trigger::parameters) struct Place<'s> {
    /// An object, `true` or `false`.
    pub(in crate::domain::trigger::parameters) schema: &'s Value,
    /// The address that a relative `$id` in `schema` refers to.
    pub(in crate::domain::trigger::parameters) base: Base,
    /// How to get there from the root.
    last: Option<Rc<Step<'s>>>,
}

struct Step<'s> {
    key: Key<'s>,
    before: Option<Rc<Step<'s>>>,
}

/// The name of a member, or the position of an item.
#[derive(Clone, Copy)]
pub(super) enum Key<'s> {
    Name(&'s str),
    Index(usize),
}

impl<'s> Place<'s> {
    pub(super) const fn root(schema: &'s Value) -> Self {
        Self { schema, base: Base::ROOT, last: None }
    }

    pub(super) const fn is_root(&self) -> bool {
        self.last.is_none()
    }

    /// Tells places apart: it is the same value of the same schema.
    pub(in crate::domain::trigger::parameters) const fn id(&self) -> *const Value {
        std::ptr::from_ref(self.schema)
    }

    /// The names and indices on the way from the root.
    pub(in crate::domain::trigger::parameters) fn keys(&self) -> Vec<Cow<'s, str>> {
        let steps = std::iter::successors(self.last.as_deref(), |step| step.before.as_deref());
        let mut keys: Vec<_> = steps
            .map(|step| match step.key {
                Key::Name(name) => Cow::Borrowed(name),
                Key::Index(index) => Cow::Owned(index.to_string()),
            })
            .collect();
        keys.reverse();
        keys
    }

    /// A member or an item of it.
    pub(super) fn below(&self, key: Key<'s>, schema: &'s Value, base: Base) -> Self {
        Self { schema, base, last: Some(Rc::new(Step { key, before: self.last.clone() })) }
    }
}
