//! An estimate of the work and the stack that the validator needs for given arguments.
//!
//! The validator goes through a schema once for each place in the arguments to which it applies, and once for each
//! reference to it. With schemas that refer to each other, this can take exponential time and any depth. So the same way is
//! walked first, without checking anything, up to a limit.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    pattern::{self, Effort},
    references::METASCHEMA,
};

/// Schemas that are applied to a value of the arguments. It takes milliseconds.
const MAX_WORK: u64 = 50_000;
/// Schemas within each other that are applied, with their references.
const MAX_DEPTH: usize = 200;
/// Nesting of a value that is itself checked as a schema.
const MAX_SCHEMA_DEPTH: usize = 12;
/// The schemas that the metaschema applies to each value.
const METASCHEMA_WORK: u64 = 100;
/// Work of matching is counted in parts: this many for one schema.
const PARTS: u64 = 64;
/// For a byte of text that is matched in linear time, and once more for so much that is tried at each place of the text.
const LINEAR: u64 = 1;
const LINEAR_WIDTH: u64 = 2;
/// The same for a text in which matching may backtrack thousands of times.
const BACKTRACKING: u64 = 5 * PARTS;
const BACKTRACKING_WIDTH: u64 = 32;
/// Wider expressions cannot be compiled.
const MAX_WIDTH: u64 = 1 << 20;
/// Bytes that such a match counts for even if the text is shorter.
const LEAST_BYTES: u64 = 20;

/// The shape of a repaired schema.
#[derive(Debug)]
pub(super) struct Outline {
    /// The root, the definitions by number, then all others.
    nodes: Vec<Node>,
}

/// A schema: what it takes, and which others it applies. They are named by their position.
#[derive(Debug, Default)]
struct Node {
    work: u64,
    /// In parts, for each byte of a text.
    text: u64,
    /// In parts, for each byte of a member's name.
    name: u64,
    /// To the same value.
    here: Vec<usize>,
    /// Whether these are applied twice, to find out what they have evaluated.
    twice: bool,
    properties: HashMap<Box<str>, usize>,
    /// To all members.
    members: Vec<usize>,
    /// To the members that `properties` does not name.
    others: Vec<usize>,
    /// To the names of members.
    names: Option<usize>,
    /// To the items at these positions.
    tuple: Vec<usize>,
    /// To all items.
    items: Vec<usize>,
    is_metaschema: bool,
}

impl Outline {
    pub(super) fn new(schema: &Map<String, Value>) -> Self {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        let count = definitions.map_or(0, Map::len);
        let mut outline = Self { nodes: Vec::new() };
        outline.nodes.resize_with(1 + count, Node::default);
        let root = outline.node(schema);
        outline.put(0, root);
        for (number, definition) in definitions.into_iter().flat_map(Map::values).enumerate() {
            let node = definition.as_object().map(|definition| outline.node(definition));
            outline.put(1 + number, node.unwrap_or_default());
        }
        outline
    }

    fn put(&mut self, position: usize, node: Node) {
        if let Some(place) = self.nodes.get_mut(position) {
            *place = node;
        }
    }

    /// Adds a schema and returns its position.
    fn add(&mut self, schema: &Value) -> usize {
        let node = schema.as_object().map(|schema| self.node(schema)).unwrap_or_default();
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn add_all(&mut self, schemas: &Value) -> Vec<usize> {
        match schemas {
            Value::Array(schemas) => schemas.iter().map(|schema| self.add(schema)).collect(),
            Value::Object(schemas) => schemas.values().map(|schema| self.add(schema)).collect(),
            _ => Vec::new(),
        }
    }

    fn node(&mut self, schema: &Map<String, Value>) -> Node {
        let mut node = Node { work: 1, ..Node::default() };
        for (keyword, value) in schema {
            node.work += entries(value) / 8;
            match keyword.as_str() {
                "$ref" => match value.as_str().and_then(definition) {
                    Some(number) => node.here.push(1 + number),
                    None => node.is_metaschema = value == METASCHEMA,
                },
                "allOf" | "anyOf" | "oneOf" | "dependentSchemas" => node.here.extend(self.add_all(value)),
                "else" | "if" | "not" | "then" => node.here.push(self.add(value)),
                "properties" => {
                    for (name, schema) in value.as_object().into_iter().flatten() {
                        node.properties.insert(name.as_str().into(), self.add(schema));
                    }
                }
                "patternProperties" => {
                    node.name +=
                        value.as_object().into_iter().flat_map(Map::keys).map(|key| cost(key)).sum::<u64>();
                    node.members.extend(self.add_all(value));
                }
                "additionalProperties" => node.others.push(self.add(value)),
                "unevaluatedProperties" => {
                    node.others.push(self.add(value));
                    node.twice = true;
                }
                "propertyNames" => node.names = Some(self.add(value)),
                "prefixItems" => node.tuple = self.add_all(value),
                "contains" | "items" => node.items.push(self.add(value)),
                "unevaluatedItems" => {
                    node.items.push(self.add(value));
                    node.twice = true;
                }
                "pattern" => node.text += value.as_str().map_or(0, cost),
                _ => {}
            }
        }
        node
    }

    /// Whether checking the arguments would take too much time or stack.
    pub(super) fn is_costly(&self, arguments: &Value) -> bool {
        let mut left = MAX_WORK;
        self.visit(0, arguments, 0, &mut left).is_none()
    }

    /// Takes the work of a schema for a value from `left`. `None` if that is not enough.
    fn visit(&self, position: usize, value: &Value, depth: usize, left: &mut u64) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let node = self.nodes.get(position)?;
        take(left, node.work)?;
        if node.is_metaschema {
            measure(value, MAX_SCHEMA_DEPTH, left)?;
        }
        for _ in 0..=usize::from(node.twice) {
            for next in &node.here {
                self.visit(*next, value, depth + 1, left)?;
            }
        }
        match value {
            Value::String(text) => take(left, node.text * bytes(text).max(LEAST_BYTES) / PARTS)?,
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    for next in node.tuple.get(index).into_iter().chain(&node.items) {
                        self.visit(*next, item, depth + 1, left)?;
                    }
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    self.visit_member(node, name, value, depth, left)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn visit_member(
        &self,
        node: &Node,
        name: &str,
        value: &Value,
        depth: usize,
        left: &mut u64,
    ) -> Option<()> {
        take(left, node.name * bytes(name).max(LEAST_BYTES) / PARTS)?;
        let declared = node.properties.get(name);
        let others = if declared.is_none() { node.others.as_slice() } else { &[] };
        for next in declared.into_iter().chain(others).chain(&node.members) {
            self.visit(*next, value, depth + 1, left)?;
        }
        match node.names {
            Some(names) => self.visit(names, &name.into(), depth + 1, left),
            None => Some(()),
        }
    }
}

fn take(left: &mut u64, work: u64) -> Option<()> {
    *left = left.checked_sub(work)?;
    Some(())
}

/// Takes the work of the metaschema for a value.
fn measure(value: &Value, depth: usize, left: &mut u64) -> Option<()> {
    take(left, METASCHEMA_WORK)?;
    let depth = depth.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, depth, left)),
        Value::Object(members) => members.values().try_for_each(|member| measure(member, depth, left)),
        _ => Some(()),
    }
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// The members or items of a keyword, each of which may be compared with the value.
fn entries(value: &Value) -> u64 {
    let entries = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    u64::try_from(entries).unwrap_or(u64::MAX)
}

/// For each byte, in parts.
fn cost(pattern: &str) -> u64 {
    let Effort { backtracks, width } = pattern::effort(pattern);
    let width = u64::try_from(width).unwrap_or(u64::MAX).min(MAX_WIDTH);
    if backtracks {
        BACKTRACKING * (1 + width / BACKTRACKING_WIDTH)
    } else {
        LINEAR * (1 + width / LINEAR_WIDTH)
    }
}

fn definition(reference: &str) -> Option<usize> {
    reference.strip_prefix("#/$defs/")?.parse().ok()
}
