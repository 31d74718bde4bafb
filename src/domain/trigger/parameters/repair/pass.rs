//! One pass over a schema: each keyword is rewritten or left out.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{
    keywords::{Kind, distinct_names, kind, known_type, means_null},
    made::{Made, Part},
};
use crate::domain::{
    trigger::{
        parameters::{
            pattern::{Patterns, Translation},
            references::{BASE, Draft, METASCHEMA, Place, References},
        },
        problem::{Problem, Problems},
    },
    value::text::quote,
};

/// Schemas within a schema; one that is referred to counts once more.
const MAX_SCHEMAS: usize = 10_000;
/// References within a schema.
const MAX_REFERENCES: usize = 1000;

const LOOSE: &str = "is not checked, because a schema in it cannot be";
const EMPTY_LIST: &str = "is a list and counts as `{}`; write an object";

/// References between definitions that apply to the same value and close a cycle: from and to, as pointers.
pub(super) type Cut = HashSet<(String, String)>;

/// One pass over the schema.
pub(super) struct Pass<'p, 's> {
    references: &'p References<'s>,
    patterns: &'p mut Patterns,
    /// In the second pass, where all referenced schemas count as loose.
    cut: Option<&'p Cut>,
    warnings: Problems,
    /// What is referred to, each with its in-place references to others.
    definitions: Vec<(Place<'s>, Vec<usize>)>,
    /// Their positions, by pointer.
    numbers: HashMap<String, usize>,
    /// The definition that is being rewritten; `None` for the root.
    current: Option<usize>,
    schemas: usize,
    refers: usize,
}

/// What a pass leads to.
pub(super) struct Outcome {
    /// `None` if it is too large.
    pub(super) schema: Option<Map<String, Value>>,
    /// Number of schemas in it.
    pub(super) size: usize,
    pub(super) warnings: Vec<Problem>,
    /// Whether it accepts more than its author wrote.
    pub(super) loose: bool,
    pub(super) refers: bool,
    /// Pointers of the definitions, each with its in-place references to others.
    pub(super) definitions: Vec<(String, Vec<usize>)>,
}

impl<'p, 's> Pass<'p, 's> {
    pub(super) fn new(
        references: &'p References<'s>,
        patterns: &'p mut Patterns,
        cut: Option<&'p Cut>,
    ) -> Self {
        Self {
            references,
            patterns,
            cut,
            warnings: Problems::default(),
            definitions: Vec::new(),
            numbers: HashMap::new(),
            current: None,
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
            pass.schema(schema, BASE, true)
        });
        let mut definitions = Map::new();
        while let Some((place, _)) = self.definitions.get(definitions.len()).cloned() {
            self.current = Some(definitions.len());
            let path: Vec<String> = format!("/parameters{}", place.pointer)
                .split('/')
                .skip(1)
                .map(|token| token.replace("~1", "/").replace("~0", "~"))
                .collect();
            for key in &path {
                self.warnings.enter(key);
            }
            let part = self.schema(place.schema, &place.base, true);
            for _ in &path {
                self.warnings.leave();
            }
            loose |= part.loose;
            definitions.insert(definitions.len().to_string(), part.value);
        }
        let mut root = if let Value::Object(root) = value { root } else { Map::new() };
        if !definitions.is_empty() {
            root.insert("$defs".to_owned(), definitions.into());
        }
        let too_large = self.schemas > MAX_SCHEMAS || self.refers > MAX_REFERENCES;
        if too_large {
            self.warnings = Problems::default();
            self.warnings.push_in(
                "parameters",
                format!("is not checked: more than {MAX_SCHEMAS} schemas or {MAX_REFERENCES} references"),
            );
        }
        let definitions = self.definitions.into_iter().map(|(place, to)| (place.pointer, to)).collect();
        Outcome {
            schema: Some(root).filter(|_| !too_large),
            size: self.schemas,
            warnings: self.warnings.into_vec(),
            loose,
            refers: self.refers > 0,
            definitions,
        }
    }

    fn within<T>(&mut self, key: impl std::fmt::Display, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.warnings.enter(key);
        let result = walk(self);
        self.warnings.leave();
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

    fn schema(&mut self, schema: &Value, base: &str, in_place: bool) -> Part {
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
        self.schemas += 1;
        if self.schemas > MAX_SCHEMAS {
            return Part { value: true.into(), loose: true };
        }
        let base = self.references.base(object, base).into_owned();
        let mut made = Made::new(object, base, in_place);
        let hidden = self.references.draft().hides_siblings() && object.contains_key("$ref");
        for (key, value) in object.iter().filter(|(key, _)| !hidden || *key == "$ref") {
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

    fn keyword(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let Some(kind) = kind(key) else { return };
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
            (_, _, Kind::Data(fits, _)) if fits(value) => made.add(
                key,
                match key {
                    "dependentRequired" | "required" => distinct_names(value),
                    _ => value.clone(),
                },
            ),
            (_, _, Kind::Data(_, what)) => self.leave_out(made, format!("is not checked; write {what}")),
        }
    }

    /// The form of a regular expression that the validator takes.
    fn translate(&mut self, pattern: &str) -> Result<String, &'static str> {
        let Translation { pattern, remark } = self.patterns.translate(pattern)?;
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
        let Some(place) = self.references.resolve(reference, &made.base) else {
            let message =
                "refers to nothing within `parameters`, and is not fetched; copy the schema to `$defs`";
            return self.leave_out(made, message);
        };
        if let (true, Some(cut), Some((from, _))) = (made.in_place, self.cut, self.definition())
            && cut.contains(&(from.pointer.clone(), place.pointer.clone()))
        {
            return self.leave_out(made, "is not checked, because the schema it refers to includes this one");
        }
        made.loose |= self.cut.is_some();
        let next = self.definitions.len();
        let number = *self.numbers.entry(place.pointer.clone()).or_insert(next);
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

    /// Rewrites one schema to be the keyword `key`.
    fn one(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let in_place = made.in_place && matches!(key, "else" | "if" | "not" | "then");
        let part = self.schema(value, &made.base, in_place);
        made.loose |= part.loose;
        match key {
            "not" if part.loose => return self.warn(LOOSE),
            "if" if part.loose => {
                made.dropped.push("if");
                self.warn(LOOSE);
            }
            "contains" if part.loose => made.dropped.push("maxContains"),
            _ => {}
        }
        made.add(key, part.value);
    }

    /// Rewrites the schemas of a list, and says whether one is loose.
    fn parts(&mut self, made: &Made<'_>, items: &[Value], in_place: bool) -> (Value, bool) {
        let mut loose = false;
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let part = self.within(index, |pass| pass.schema(item, &made.base, in_place));
            loose |= part.loose;
            values.push(part.value);
        }
        (values.into(), loose)
    }

    fn list(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            if key == "prefixItems" {
                made.dropped.push("items");
            }
            return self.leave_out(made, "is not checked; write a list of schemas");
        };
        let (values, loose) = self.parts(made, items, made.in_place && key != "prefixItems");
        made.loose |= loose;
        if key == "oneOf" && loose {
            self.warn("is checked as `anyOf`, because a schema in it cannot be checked");
            made.all.push(json!({ "anyOf": values }));
        } else {
            made.add(key, values);
        }
    }

    /// The old form of `prefixItems`.
    fn tuple(&mut self, made: &mut Made<'_>, items: &[Value]) {
        if matches!(self.references.draft(), Draft::Latest) {
            self.warn("must be one schema; write `prefixItems` for a list of them");
        }
        if items.is_empty() {
            return;
        }
        let (values, loose) = self.parts(made, items, false);
        made.loose |= loose;
        // Beside `prefixItems` it means nothing.
        if !made.object.contains_key("prefixItems") {
            made.add("prefixItems", values);
        }
    }

    fn map(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let members = match value {
            Value::Object(members) => members,
            Value::Array(items) if items.is_empty() => return self.warn(EMPTY_LIST),
            _ => {
                if key != "dependentSchemas" {
                    made.dropped.push("additionalProperties");
                }
                return self.leave_out(made, "is not checked; write an object with a schema for each name");
            }
        };
        for (name, schema) in members {
            self.within(name, |pass| {
                let name = if key == "patternProperties" { pass.translate(name) } else { Ok(name.clone()) };
                match name {
                    Ok(name) => pass.member(made, key, name, schema),
                    Err(why) => {
                        made.dropped.push("additionalProperties");
                        pass.leave_out(made, why);
                    }
                }
            });
        }
    }

    fn member(&mut self, made: &mut Made<'_>, key: &str, name: String, schema: &Value) {
        let part = self.schema(schema, &made.base, made.in_place && key == "dependentSchemas");
        // Two expressions can have the same translation.
        let twice = made.insert(key, name, part.value);
        made.loose |= part.loose || twice;
    }

    /// The old form of `dependentRequired` and `dependentSchemas`.
    fn dependencies(&mut self, made: &mut Made<'_>, members: &Map<String, Value>) {
        for (name, value) in members {
            self.within(name, |pass| match value {
                Value::Array(names) if names.iter().all(Value::is_string) => {
                    made.insert("dependentRequired", name.clone(), distinct_names(value));
                }
                _ => pass.member(made, "dependentSchemas", name.clone(), value),
            });
        }
    }
}
