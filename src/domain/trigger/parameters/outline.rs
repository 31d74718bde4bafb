//! Estimates the work, memory and stack that the validator needs for a schema and given arguments.
//!
//! The validator visits a schema once for each place in the arguments to which it applies, and once for each
//! reference to it. Schemas that refer to each other can take exponential time and any depth. So the same path is
//! walked first, without checking anything, up to a limit.

mod unfold;
mod walk;

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    budget::{amount, bytes, weight},
    pattern::{self, Effort},
    references::METASCHEMA,
};

/// Work is counted in parts: this many for a schema that is applied to a value.
const PARTS: u64 = 64;
/// For a keyword, a member or an item that a schema looks at.
const MEMBER: u64 = 8;
/// Bytes of a name or of data that are compared at the cost of a part.
const COMPARED: u64 = 4;
/// The length of the way to a definition, in bytes.
const DEFINITION: u64 = 16;
/// What a message about a broken rule takes, in bytes, without the ways in it.
const MESSAGE: u64 = 256;
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

/// A schema. The others are named by their position.
#[derive(Debug, Default)]
struct Node {
    /// In parts, without the schemas in it.
    work: u64,
    /// The rules that can be broken.
    messages: u64,
    /// What messages about all of them take, in bytes, without the way to the value.
    message_bytes: u64,
    /// In parts, for each byte of a text.
    text: u64,
    /// Expressions for a text that may backtrack.
    doubts: u32,
    /// In parts, for each byte of a member's name.
    name: u64,
    /// Expressions for a name that may backtrack.
    name_doubts: u32,
    /// Whether the items of a list are compared with each other.
    is_unique: bool,
    /// To the same value.
    here: Vec<usize>,
    /// To the same value, as alternatives.
    branches: Vec<usize>,
    /// To the same value, by reference.
    references: Vec<usize>,
    /// How many keywords ask for what the schemas for the same value have evaluated.
    unevaluated: usize,
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
    /// Whether it looks at members.
    has_members: bool,
    is_metaschema: bool,
    /// The length of the way to it from the root, in bytes.
    way: u64,
    /// The same from the schema that it is in.
    own_way: u64,
    /// The names in `properties`, in bytes.
    names_bytes: u64,
    /// What its keywords hold besides schemas, in bytes.
    data_bytes: u64,
}

impl Outline {
    pub(super) fn new(schema: &Map<String, Value>) -> Self {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        let count = definitions.map_or(0, Map::len);
        let mut outline = Self { nodes: Vec::new() };
        outline.nodes.resize_with(1 + count, Node::default);
        let root = outline.node(schema, 0, 0);
        outline.put(0, root);
        for (number, definition) in definitions.into_iter().flat_map(Map::values).enumerate() {
            let node = definition.as_object().map(|definition| outline.node(definition, DEFINITION, 0));
            outline.put(1 + number, node.unwrap_or_default());
        }
        outline
    }

    fn put(&mut self, position: usize, node: Node) {
        if let Some(place) = self.nodes.get_mut(position) {
            *place = node;
        }
    }

    /// Adds a schema and returns its position. `own_way` is the length of the way from the schema at the end of `way`.
    fn add(&mut self, schema: &Value, way: u64, own_way: u64) -> usize {
        let node = match schema {
            Value::Object(schema) => self.node(schema, way + own_way, own_way),
            _ => Node {
                work: PARTS,
                messages: 1,
                message_bytes: MESSAGE + way + own_way,
                own_way,
                ..Node::default()
            },
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn add_all(&mut self, schemas: &Value, way: u64, keyword: u64) -> Vec<usize> {
        match schemas {
            Value::Array(schemas) => {
                schemas.iter().map(|schema| self.add(schema, way, keyword + MEMBER)).collect()
            }
            Value::Object(schemas) => {
                let schemas = schemas.iter();
                schemas.map(|(name, schema)| self.add(schema, way, keyword + 1 + bytes(name))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn node(&mut self, schema: &Map<String, Value>, way: u64, own_way: u64) -> Node {
        let mut node = Node { work: PARTS, way, own_way, ..Node::default() };
        for (keyword, value) in schema {
            node.work += MEMBER;
            node.messages += 1;
            node.message_bytes += MESSAGE + way + bytes(keyword);
            if !self.schemas(&mut node, keyword, value) {
                node.data(keyword, value);
            }
        }
        node.has_members = !(node.properties.is_empty()
            && node.members.is_empty()
            && node.others.is_empty()
            && node.names.is_none()
            && node.name == 0);
        node
    }

    /// Adds the schemas of a keyword. Returns whether it holds schemas.
    fn schemas(&mut self, node: &mut Node, keyword: &str, value: &Value) -> bool {
        let (way, length) = (node.way, 1 + bytes(keyword));
        match keyword {
            "allOf" | "dependentSchemas" => node.here.extend(self.add_all(value, way, length)),
            "anyOf" | "oneOf" => node.branches.extend(self.add_all(value, way, length)),
            "else" | "if" | "not" | "then" => node.here.push(self.add(value, way, length)),
            "properties" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    node.names_bytes += MESSAGE + bytes(name);
                    let position = self.add(schema, way, length + 1 + bytes(name));
                    node.properties.insert(name.as_str().into(), position);
                }
            }
            "patternProperties" => node.members.extend(self.add_all(value, way, length)),
            "additionalProperties" => node.others.push(self.add(value, way, length)),
            "unevaluatedProperties" => {
                node.others.push(self.add(value, way, length));
                node.unevaluated += 1;
            }
            "propertyNames" => node.names = Some(self.add(value, way, length)),
            "prefixItems" => node.tuple = self.add_all(value, way, length),
            "contains" | "items" => node.items.push(self.add(value, way, length)),
            "unevaluatedItems" => {
                node.items.push(self.add(value, way, length));
                node.unevaluated += 1;
            }
            "$defs" => {}
            _ => return false,
        }
        match value {
            Value::Object(members)
                if matches!(keyword, "dependentSchemas" | "patternProperties" | "properties") =>
            {
                node.work += members.keys().map(|name| MEMBER + bytes(name) / COMPARED).sum::<u64>();
            }
            Value::Array(items) => node.work += amount(items.len()) * MEMBER,
            _ => {}
        }
        if keyword == "patternProperties" {
            for expression in value.as_object().into_iter().flat_map(Map::keys) {
                node.name += cost(expression);
                node.name_doubts += u32::from(pattern::effort(expression).backtracks);
            }
        }
        // A message about it may hold it all.
        if keyword == "not" {
            node.message_bytes += weight(value);
        }
        true
    }
}

impl Node {
    /// Reads a keyword that holds no schemas.
    fn data(&mut self, keyword: &str, value: &Value) {
        let weight = weight(value);
        self.work += weight / COMPARED;
        self.data_bytes += weight;
        match (keyword, value) {
            ("$ref", Value::String(reference)) => match definition(reference) {
                Some(number) => self.references.push(1 + number),
                None => self.is_metaschema = reference == METASCHEMA,
            },
            ("pattern", Value::String(expression)) => {
                self.text += cost(expression);
                self.doubts += u32::from(pattern::effort(expression).backtracks);
            }
            ("uniqueItems", Value::Bool(true)) => self.is_unique = true,
            ("required", Value::Array(names)) => self.each(names.len(), weight),
            ("dependentRequired", Value::Object(lists)) => {
                let names = lists.values().filter_map(Value::as_array).map(Vec::len).sum();
                self.each(names, weight);
            }
            _ => {}
        }
    }

    /// Each of `count` names can be missing.
    fn each(&mut self, count: usize, weight: u64) {
        self.messages += amount(count);
        self.message_bytes += amount(count) * (MESSAGE + self.way) + weight;
    }

    /// The schemas for members and items.
    fn below(&self) -> impl Iterator<Item = usize> {
        let lists = [&self.members, &self.others, &self.tuple, &self.items].into_iter().flatten();
        self.properties.values().chain(lists).chain(&self.names).copied()
    }
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
