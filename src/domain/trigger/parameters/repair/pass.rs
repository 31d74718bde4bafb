//! One pass over a schema: each keyword is rewritten or left out.

mod subschemas;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    expressions::Expressions,
    keywords::{Kind, distinct_names, kind, known_type, means_null},
    made::{Made, Part},
};
use crate::domain::{
    trigger::{
        parameters::{
            budget::{Budget, MAX_SCHEMA, TOO_LARGE, bytes, weight},
            pattern::Translation,
            references::{Base, Draft, METASCHEMA, Place, References},
        },
        problem::{Problem, Problems},
    },
    value::text::quote,
};

/// Schemas within a schema; one that is referred to counts once more.
const MAX_SCHEMAS: usize = 10_000;
/// References within a schema.
const MAX_REFERENCES: usize = 1000;
/// What a schema takes in memory once it is compiled, in bytes, without its keywords.
const SCHEMA: u64 = 1024;
/// What a keyword takes without what it holds.
const KEYWORD: u64 = 128;
/// What a member takes while it is looked at, without its name.
const MEMBER: u64 = 16;
/// How often the validator keeps the way from the root to a schema, or to a keyword of it.
const WAYS: u64 = 2;
/// How often it keeps a name.
const NAMES: u64 = 4;
/// The way to a definition.
const DEFINITION: u64 = 16;
/// How often the data of a keyword are kept: in the rewritten schema, and twice in the validator.
const COPIES: u64 = 3;

const LOOSE: &str = "is not checked, because a schema in it cannot be";
const EMPTY_LIST: &str = "is a list and counts as `{}`; write an object";

/// References between definitions that apply to the same value and close a cycle: from and to, as [`Place::id`]s.
pub(super) type Cut = HashSet<(*const Value, *const Value)>;

/// One pass over the schema.
pub(super) struct Pass<'p, 's> {
    references: &'p mut References<'s>,
    expressions: Expressions<'p>,
    /// Of [`MAX_SCHEMA`].
    budget: Budget,
    /// In the second pass, where all referenced schemas count as loose.
    cut: Option<&'p Cut>,
    warnings: Problems,
    /// What is referred to, each with its in-place references to others.
    definitions: Vec<(Place<'s>, Vec<usize>)>,
    /// Their positions, by [`Place::id`].
    numbers: HashMap<*const Value, usize>,
    /// The definition that is being rewritten; `None` for the root.
    current: Option<usize>,
    /// The length of the way to the current value from there, in bytes.
    way: u64,
    /// The `not`s around the current value from there. Each keeps a copy of what is in it.
    nots: u64,
    schemas: usize,
    refers: usize,
}

/// What a pass leads to.
pub(super) struct Outcome {
    /// `None` if it is too large.
    pub(super) schema: Option<Map<String, Value>>,
    pub(super) warnings: Vec<Problem>,
    /// Whether it accepts more than its author wrote.
    pub(super) loose: bool,
    pub(super) refers: bool,
    /// [`Place::id`]s of the definitions, each with its in-place references to others.
    pub(super) definitions: Vec<(*const Value, Vec<usize>)>,
    pub(super) budget: Budget,
}

impl<'p, 's> Pass<'p, 's> {
    pub(super) fn new(
        references: &'p mut References<'s>,
        expressions: Expressions<'p>,
        cut: Option<&'p Cut>,
    ) -> Self {
        Self {
            references,
            expressions,
            budget: Budget::new(MAX_SCHEMA),
            cut,
            warnings: Problems::default(),
            definitions: Vec::new(),
            numbers: HashMap::new(),
            current: None,
            way: 0,
            nots: 0,
            schemas: 0,
            refers: 0,
        }
    }

    pub(super) fn run(mut self, schema: &Value) -> Outcome {
        let Part { value, mut loose } = self.within("parameters", |pass| {
            if Draft::of(schema).is_none() {
                pass.within("$schema", |pass| {
                    pass.warn(format!("is not a known draft; write {}", quote(METASCHEMA)));
                });
            }
            pass.schema(schema, Base::ROOT, true)
        });
        let mut definitions = Map::new();
        while let Some((place, _)) = self.definitions.get(definitions.len()).filter(|_| !self.is_over()) {
            let place = place.clone();
            self.current = Some(definitions.len());
            let keys = place.keys();
            (self.way, self.nots) = (DEFINITION, 0);
            self.warnings.enter("parameters");
            for key in &keys {
                self.warnings.enter(key);
            }
            let part = self.schema(place.schema, place.base, true);
            for _ in 0..=keys.len() {
                self.warnings.leave();
            }
            loose |= part.loose;
            definitions.insert(definitions.len().to_string(), part.value);
        }
        let mut root = if let Value::Object(root) = value { root } else { Map::new() };
        if !definitions.is_empty() {
            root.insert("$defs".to_owned(), definitions.into());
        }
        let too_large = self.is_over();
        let definitions = self.definitions.into_iter().map(|(place, to)| (place.id(), to)).collect();
        Outcome {
            schema: Some(root).filter(|_| !too_large),
            warnings: self.warnings.into_vec(),
            loose,
            refers: self.refers > 0,
            definitions,
            budget: self.budget,
        }
    }

    /// Whether the schema is too large. Then nothing of it is used.
    fn is_over(&self) -> bool {
        self.schemas > MAX_SCHEMAS || self.refers > MAX_REFERENCES || self.budget.is_spent()
    }

    /// Takes from the budget.
    fn take(&self, amount: u64) -> Option<()> {
        self.budget.take(amount)
    }

    fn within<T>(&mut self, key: impl std::fmt::Display, walk: impl FnOnce(&mut Self) -> T) -> T {
        let key = key.to_string();
        let way = self.way;
        self.way += 1 + bytes(&key);
        self.warnings.enter(key);
        let result = walk(self);
        self.warnings.leave();
        self.way = way;
        result
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message);
    }

    /// Leaves the current keyword out.
    fn leave_out(&mut self, made: &mut Made<'_>, message: impl Into<String>) {
        self.warn(message);
        made.loose = true;
    }

    fn schema(&mut self, schema: &Value, base: Base, in_place: bool) -> Part {
        self.schemas += 1;
        let taken = self.take((1 + self.nots) * SCHEMA + WAYS * self.way);
        if taken.is_none() || self.is_over() {
            return Part { value: true.into(), loose: true };
        }
        let object = match schema {
            Value::Object(object) => object,
            Value::Bool(_) => return Part { value: schema.clone(), loose: false },
            // PHP writes an empty map as a list.
            Value::Array(items) if items.is_empty() => {
                self.warn(EMPTY_LIST);
                return Part { value: true.into(), loose: false };
            }
            _ => {
                self.warn("is not a schema and is not checked; write an object");
                return Part { value: true.into(), loose: true };
            }
        };
        let Some(base) = self.references.base(object, base, &self.budget) else {
            return Part { value: true.into(), loose: true };
        };
        let mut made = Made::new(object, base, in_place);
        let hidden = self.references.draft().hides_siblings() && object.contains_key("$ref");
        for (key, value) in object.iter().filter(|(key, _)| !hidden || *key == "$ref") {
            if self.take(MEMBER + bytes(key)).is_none() {
                break;
            }
            self.within(key, |pass| pass.keyword(&mut made, key, value));
        }
        if object.get("nullable") == Some(&Value::Bool(true)) {
            self.within("nullable", |pass| pass.warn("is of OpenAPI 3.0; add `null` to the list in `type`"));
        }
        let (part, dropped) = made.finish();
        for keyword in dropped.into_iter().filter(|keyword| keyword.starts_with("unevaluated")) {
            self.within(keyword, |pass| pass.warn(LOOSE));
        }
        part
    }

    /// Takes what a keyword of this kind takes in memory, without the schemas that it holds. Returns whether that is left.
    fn pays(&self, kind: &Kind, value: &Value) -> bool {
        let data = match kind {
            Kind::Data(..) => (COPIES + self.nots) * weight(value),
            Kind::Schema | Kind::List | Kind::Map => 0,
        };
        self.take(KEYWORD + WAYS * self.way + data).is_some()
    }

    fn keyword(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let Some(kind) = kind(key).filter(|kind| self.pays(kind, value)) else { return };
        match (key, value, kind) {
            ("const", _, _) if !value.is_null() || means_null(made.object) => made.add(key, value.clone()),
            // Serializers write what is absent as null.
            (_, Value::Null, _) => self.warn("is null and counts as absent; leave it out"),
            ("type", _, _) => self.types(made, value),
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(text), _) => {
                self.reference(made, key, text);
            }
            ("pattern", Value::String(text), _) => match self.translate(text) {
                Ok(pattern) => made.add(key, pattern.into()),
                Err(why) => self.leave_out(made, why),
            },
            ("exclusiveMaximum" | "exclusiveMinimum", Value::Bool(on), _) => self.exclusive(made, key, *on),
            ("items", Value::Array(items), _) => self.tuple(made, items),
            ("additionalItems", _, _) => {
                if made.object.get("items").is_some_and(Value::is_array) {
                    self.one(made, "items", value);
                }
            }
            ("dependencies", Value::Object(members), _) => self.dependencies(made, members),
            (_, _, Kind::Schema) => self.one(made, key, value),
            (_, _, Kind::List) => self.list(made, key, value),
            (_, _, Kind::Map) => self.map(made, key, value),
            ("dependentRequired", Value::Object(lists), Kind::Data(fits, _)) if fits(value) => {
                for (name, names) in lists {
                    made.require(name, names);
                }
            }
            ("required", _, Kind::Data(fits, _)) if fits(value) => made.add(key, distinct_names(value)),
            ("enum", Value::Array(values), Kind::Data(fits, _)) if fits(value) => {
                if has_null_type(made.object) && !values.contains(&Value::Null) {
                    self.warn(
                        "has no null, so null is refused although `type` allows it; add null to the list",
                    );
                }
                made.add(key, value.clone());
            }
            (_, _, Kind::Data(fits, _)) if fits(value) => made.add(key, value.clone()),
            (_, _, Kind::Data(_, what)) => self.leave_out(made, format!("is not checked; write {what}")),
        }
    }

    /// The form of a regular expression that the validator takes. It may be far longer than what its author wrote, and each
    /// place that has it keeps it, and is measured by it.
    fn translate(&mut self, pattern: &str) -> Result<String, &'static str> {
        let Translation { pattern, remark } = self.expressions.translate(pattern)?;
        self.take((COPIES + self.nots) * bytes(&pattern)).ok_or(TOO_LARGE)?;
        if let Some(remark) = remark {
            self.warn(remark);
        }
        Ok(pattern)
    }

    fn types(&mut self, made: &mut Made<'_>, value: &Value) {
        let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let mut known: Vec<&str> = names.iter().filter_map(known_type).collect();
        if known.is_empty() || known.len() < names.len() {
            return self.leave_out(made, "is not checked; write a type of JSON Schema, such as `string`");
        }
        if names.iter().zip(&known).any(|(name, known)| name != known) {
            self.warn("must be in lower case; write `string`, not `STRING`");
        }
        known.sort_unstable();
        known.dedup();
        made.add("type", if let [name] = *known { name.into() } else { known.into() });
    }

    /// The limit beside it is meant (draft 4 and `OpenAPI` 3.0).
    fn exclusive(&mut self, made: &mut Made<'_>, key: &str, on: bool) {
        let limit = if key == "exclusiveMaximum" { "maximum" } else { "minimum" };
        if let Some(limit) = made.object.get(limit).filter(|limit| on && limit.is_number()) {
            made.add(key, limit.clone());
        }
        if self.references.draft() != Draft::Four {
            self.warn(format!("is true or false in draft 4 only; write the number of {}", quote(limit)));
        }
    }

    fn reference(&mut self, made: &mut Made<'_>, key: &str, reference: &str) {
        self.refers += 1;
        if reference.trim_end_matches('#') == METASCHEMA {
            return made.refer(METASCHEMA.into());
        }
        if key != "$ref" && self.references.has_parts() {
            return self
                .leave_out(made, "is not checked, because it depends on where it is used; write `$ref`");
        }
        let Some(place) = self.references.resolve(reference, made.base, &self.budget) else {
            let message =
                "refers to nothing within `parameters`, and is not fetched; copy the schema to `$defs`";
            return self.leave_out(made, message);
        };
        if let (true, Some(cut), Some((from, _))) = (made.in_place, self.cut, self.definition())
            && cut.contains(&(from.id(), place.id()))
        {
            return self.leave_out(made, "is not checked, because the schema it refers to includes this one");
        }
        made.loose |= self.cut.is_some();
        let next = self.definitions.len();
        let number = *self.numbers.entry(place.id()).or_insert(next);
        if number == next {
            self.definitions.push((place, Vec::new()));
        }
        if made.in_place
            && let Some((_, to)) = self.current.and_then(|current| self.definitions.get_mut(current))
        {
            to.push(number);
        }
        made.refer(format!("#/$defs/{number}"));
    }

    fn definition(&self) -> Option<&(Place<'s>, Vec<usize>)> {
        self.definitions.get(self.current?)
    }
}

/// Whether the list of types of a schema has `null` in it.
fn has_null_type(schema: &Map<String, Value>) -> bool {
    let types = schema.get("type").and_then(Value::as_array);
    types.is_some_and(|types| types.iter().any(|name| known_type(name) == Some("null")))
}
