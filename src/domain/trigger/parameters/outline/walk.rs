//! What checking given arguments needs.

use serde_json::{Map, Value};

use super::{COMPARED, LEAST_BYTES, MEMBER, Node, Outline, PARTS};
use crate::domain::trigger::parameters::budget::{Budget, amount, bytes, weight};

/// What checking may take. It takes milliseconds.
const MAX_WORK: u64 = 50_000 * PARTS;
/// What checking again and again may take, as the validator does while it does not know whether a text matches: with
/// each outcome of each such match, but at most 2 to the power of [`MAX_DOUBTS`] times.
const MAX_REPEATED_WORK: u64 = 4 * MAX_WORK;
const MAX_DOUBTS: u32 = 6;
/// Schemas within each other that are applied, with their references.
const MAX_DEPTH: usize = 200;
/// Nesting of a value that is itself checked as a schema.
const MAX_SCHEMA_DEPTH: usize = 12;
/// The schemas that the metaschema applies to each value.
const METASCHEMA_WORK: u64 = 100 * PARTS;
/// For finding out what is evaluated.
const MARK: u64 = 32;
/// Bytes of a text that are read at the cost of a part.
const READ: u64 = 16;
/// Bytes of a message that are written at the cost of a part.
const WRITTEN: u64 = 16;

/// Where a schema applies.
#[derive(Clone, Copy)]
struct At {
    /// Schemas around it.
    depth: usize,
    /// The length of the ways to the value and through references, in bytes.
    way: u64,
    /// Whether the validator writes down everything that is wrong, as in `anyOf`, and not just the first.
    reported: bool,
}

/// What a walk with arguments takes.
struct Walk<'o> {
    nodes: &'o [Node],
    budget: Budget,
    /// Matches whose outcome the validator may not find out.
    doubts: u32,
}

impl Outline {
    /// Whether checking the arguments would take too much time, memory or stack.
    pub(in crate::domain::trigger::parameters) fn is_costly(&self, arguments: &Value) -> bool {
        self.work(arguments).is_none()
    }

    /// What checking the arguments takes at most, in parts. `None` if it is too much.
    fn work(&self, arguments: &Value) -> Option<u64> {
        let mut walk = Walk { nodes: &self.nodes, budget: Budget::new(MAX_WORK), doubts: 0 };
        walk.visit(0, arguments, At { depth: 0, way: 0, reported: false })?;
        let work = walk.budget.spent();
        if walk.doubts == 0 {
            return Some(work);
        }
        // Each time it may print the arguments.
        let once = work + weight(arguments) / WRITTEN;
        let repeated = once << (walk.doubts + 1).min(MAX_DOUBTS);
        Some(repeated).filter(|work| *work <= MAX_REPEATED_WORK)
    }
}

impl Walk<'_> {
    /// Takes the work of a schema for a value.
    fn visit(&mut self, position: usize, value: &Value, at: At) -> Option<()> {
        if at.depth > MAX_DEPTH {
            return None;
        }
        let nodes = self.nodes;
        let node = nodes.get(position)?;
        self.budget.take(node.work)?;
        if at.reported {
            let ways = node.messages.saturating_mul(at.way);
            self.budget.take(ways.saturating_add(node.message_bytes) / WRITTEN)?;
        }
        if node.is_metaschema {
            measure(value, MAX_SCHEMA_DEPTH, &self.budget)?;
        }
        let same = At { depth: at.depth + 1, ..at };
        for next in &node.here {
            self.visit(*next, value, same)?;
        }
        for next in &node.references {
            self.visit(*next, value, At { way: same.way + MEMBER + node.way, ..same })?;
        }
        for next in &node.branches {
            self.visit(*next, value, At { reported: true, ..same })?;
        }
        for _ in 0..node.unevaluated {
            self.mark(position, value, same)?;
        }
        match value {
            Value::String(text) => self.text(node, text),
            Value::Array(items) => self.items(node, value, items, same),
            Value::Object(members) => self.members(node, members, same),
            _ => Some(()),
        }
    }

    fn text(&mut self, node: &Node, text: &str) -> Option<()> {
        self.doubts = self.doubts.saturating_add(node.doubts);
        let matching = node.text.saturating_mul(bytes(text).max(LEAST_BYTES));
        self.budget.take(matching.saturating_add(bytes(text) / READ))
    }

    fn items(&mut self, node: &Node, list: &Value, items: &[Value], at: At) -> Option<()> {
        if node.is_unique {
            hash(list, &self.budget)?;
        }
        if node.tuple.is_empty() && node.items.is_empty() {
            return Some(());
        }
        let at = At { way: at.way + MEMBER, ..at };
        for (index, item) in items.iter().enumerate() {
            self.budget.take(MEMBER)?;
            for next in node.tuple.get(index).into_iter().chain(&node.items) {
                self.visit(*next, item, at)?;
            }
        }
        Some(())
    }

    fn members(&mut self, node: &Node, members: &Map<String, Value>, at: At) -> Option<()> {
        if !node.has_members {
            return Some(());
        }
        for (name, value) in members {
            let length = bytes(name);
            let matching = node.name.saturating_mul(length.max(LEAST_BYTES));
            self.budget.take(matching.saturating_add(MEMBER + length / COMPARED))?;
            self.doubts = self.doubts.saturating_add(node.name_doubts);
            let at = At { way: at.way + 1 + length, ..at };
            let declared = node.properties.get(name.as_str());
            let others = if declared.is_none() { node.others.as_slice() } else { &[] };
            for next in declared.into_iter().chain(others).chain(&node.members) {
                self.visit(*next, value, at)?;
            }
            if let Some(names) = node.names {
                self.visit(names, &name.as_str().into(), at)?;
            }
        }
        Some(())
    }

    /// Takes the work of finding out what the schemas in a schema evaluate: each is checked once more, and then searched
    /// itself.
    fn mark(&mut self, position: usize, value: &Value, at: At) -> Option<()> {
        if at.depth > MAX_DEPTH {
            return None;
        }
        let nodes = self.nodes;
        let node = nodes.get(position)?;
        self.budget.take(MARK + children(value) * MEMBER)?;
        let at = At { depth: at.depth + 1, reported: false, ..at };
        for next in node.here.iter().chain(&node.references).chain(&node.branches) {
            self.visit(*next, value, at)?;
            self.mark(*next, value, at)?;
        }
        Some(())
    }
}

/// The members or items of a value.
fn children(value: &Value) -> u64 {
    match value {
        Value::Array(items) => amount(items.len()),
        Value::Object(members) => amount(members.len()),
        _ => 0,
    }
}

/// Takes the work of comparing the items of a list with each other.
fn hash(value: &Value, budget: &Budget) -> Option<()> {
    budget.take(MEMBER * 4)?;
    match value {
        Value::String(text) => budget.take(bytes(text) / COMPARED),
        Value::Array(items) => items.iter().try_for_each(|item| hash(item, budget)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            budget.take(bytes(name) / COMPARED)?;
            hash(member, budget)
        }),
        _ => Some(()),
    }
}

/// Takes the work of the metaschema for a value.
fn measure(value: &Value, depth: usize, budget: &Budget) -> Option<()> {
    budget.take(METASCHEMA_WORK)?;
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => budget.take(bytes(text) / COMPARED),
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, depth, budget)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            budget.take(bytes(name))?;
            measure(member, depth, budget)
        }),
        _ => Some(()),
    }
}
