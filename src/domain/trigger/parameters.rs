//! The parameters that a trigger declares (JSON Schema), and the validation of arguments against them.
//!
//! Schemas come from authors and their tools, arguments from language models, so compiling and validating do no I/O, and
//! time, memory and stack are bounded. A keyword that cannot be checked never costs an event. Messages name parameters
//! and rules, never values.

mod arguments;
mod outline;
mod pattern;
mod references;
mod repair;

use std::{borrow::Cow, collections::HashSet};

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::LocationSegment,
};
use serde_json::{Map, Value};

use self::{outline::Outline, pattern::Patterns};
use crate::domain::{
    trigger::problem::{Problem, Problems},
    value::text::quote,
};

/// What a regular expression takes in memory, in bytes, with what it remembers of the texts it has seen. Nearly all are
/// smaller.
const PATTERN_SIZE: usize = 64 * 1024;
/// What a schema takes in memory beyond its text, in bytes: in the outline and in the validator.
const SCHEMA_SIZE: usize = 1024;

/// The declared parameters of a trigger and their compiled schema.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    declared: Vec<String>,
    /// Names that any schema of the arguments requires.
    required: HashSet<Box<str>>,
    /// Required, by others at least, and null will do.
    nullable: HashSet<Box<str>>,
    /// `None` accepts everything.
    compiled: Option<(Outline, Validator)>,
    size: usize,
    warnings: Vec<Problem>,
}

impl Parameters {
    /// Compiles the member `parameters` of a definition and adds its problems. What cannot be checked is no problem
    /// but a warning: the rest is checked. The declared names are kept even if there are problems, so that the actions
    /// can be checked too.
    pub(super) fn compile(schema: &Value, problems: &mut Problems) -> Self {
        // PHP writes an empty map as a list.
        if !schema.is_object() && *schema != Value::Array(Vec::new()) {
            problems.push("must be an object, a JSON Schema with `properties`");
            return Self::default();
        }
        if excludes_objects(schema) {
            problems.push_in("type", "arguments are an object; write `object` or omit `type`");
        }
        let mut patterns = Patterns::default();
        let repair::Repaired { schema: repaired, size, warnings } = repair::repair(schema, &mut patterns);
        let mut parameters = Self { warnings, ..Self::default() };
        let properties = schema.get("properties").and_then(Value::as_object);
        parameters.declared.extend(properties.into_iter().flat_map(Map::keys).cloned());
        let Some(repaired) = repaired else { return parameters };
        let is_new = |name: &String| !properties.is_some_and(|properties| properties.contains_key(name));
        parameters.declared.extend(arguments::declared(&repaired).into_iter().filter(is_new));
        parameters.required = arguments::required(&repaired).map(Box::from).collect();
        parameters.nullable = arguments::nullable(&repaired);
        let outline = Outline::new(&repaired);
        match patterns.options().build(&Value::Object(repaired)) {
            Ok(validator) => parameters.compiled = Some((outline, validator)),
            Err(error) => {
                let mut warnings = Problems::default();
                warnings
                    .push_in("parameters", format!("is not checked as a whole: it {}", rule(error.kind())));
                parameters.warnings.extend(warnings.into_vec());
            }
        }
        parameters.size = patterns.count() * PATTERN_SIZE + size * SCHEMA_SIZE;
        parameters
    }

    /// About how much memory it takes beyond the text of its schema, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// What was left out of the schema because it cannot be checked, or read in another way.
    pub(super) fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The names in `properties`.
    pub(super) fn declared(&self) -> &[String] {
        &self.declared
    }

    /// Whether `properties` has this name.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.declared.iter().any(|declared| declared == name)
    }

    /// Whether this argument may be null: it is not required, or its schema accepts null.
    pub(super) fn accepts_null(&self, name: &str) -> bool {
        !self.required.contains(name) || self.nullable.contains(name)
    }

    /// Validates the arguments, an object. A null counts as not given, unless its parameter is required and accepts it.
    ///
    /// # Errors
    /// A sentence about the first broken rule, without values. Listing all of them can take far longer. What takes too
    /// long to check is accepted.
    pub(super) fn check(&self, arguments: &Value) -> Result<(), String> {
        let Some((outline, validator)) = &self.compiled else { return Ok(()) };
        let given = self.given(arguments);
        if outline.is_costly(&given) || validator.is_valid(&given) {
            return Ok(());
        }
        match validator.validate(&given) {
            Err(error) if !is_undecided(error.kind()) => Err(self.sentence(&error)),
            _ => Ok(()),
        }
    }

    /// The arguments without the nulls that count as not given.
    fn given<'a>(&self, arguments: &'a Value) -> Cow<'a, Value> {
        let is_given = |name: &str, value: &Value| !value.is_null() || self.nullable.contains(name);
        match arguments {
            Value::Object(members) if members.iter().any(|(name, value)| !is_given(name, value)) => {
                let given = members.iter().filter(|(name, value)| is_given(name, value));
                let given: Map<_, _> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
                Cow::Owned(given.into())
            }
            arguments => Cow::Borrowed(arguments),
        }
    }

    fn sentence(&self, error: &ValidationError<'_>) -> String {
        if let ValidationErrorKind::Required { property: Value::String(name) } = error.kind()
            && error.instance_path().is_empty()
        {
            return format!("argument {} is required but missing", quote(name));
        }
        // Only declared names are safe to quote: a language model may have made up any other key.
        let subject = match error.instance_path().segments().next() {
            Some(LocationSegment::Property(name)) if self.declares(&name) => {
                format!("argument {}", quote(&name))
            }
            Some(_) => "an undeclared argument".into(),
            None => "the arguments".into(),
        };
        format!("{subject} {}", rule(error.kind()))
    }
}

/// Whether all of its types are known, and none is `object`.
fn excludes_objects(schema: &Value) -> bool {
    let Some(value) = schema.get("type") else { return false };
    let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let is_other = |name| repair::known_type(name).is_some_and(|name| name != "object");
    !names.is_empty() && names.iter().all(is_other)
}

/// Whether the validator gave up on a regular expression, and its outcome could decide.
const fn is_undecided(kind: &ValidationErrorKind) -> bool {
    matches!(
        kind,
        ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. }
    )
}

/// The broken rule as the end of a sentence. Limits come from the schema, not from a value.
fn rule(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(expected) } => {
            format!("must be {}", type_name(*expected))
        }
        ValidationErrorKind::Type { kind: TypeKind::Multiple(expected) } => {
            let names: Vec<&str> = expected.iter().map(type_name).collect();
            format!("must be {}", names.join(" or "))
        }
        ValidationErrorKind::Enum { .. } => "is not one of the values in `enum`".into(),
        ValidationErrorKind::MaxLength { limit } => format!("is longer than {limit} characters"),
        ValidationErrorKind::MinLength { limit } => format!("is shorter than {limit} characters"),
        ValidationErrorKind::MaxItems { limit } => format!("has more than {limit} items"),
        ValidationErrorKind::MinItems { limit } => format!("has fewer than {limit} items"),
        ValidationErrorKind::Required { property: Value::String(name) } => format!("lacks {}", quote(name)),
        ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. } => "may not have undeclared members".into(),
        kind => format!("breaks the rule {}", quote(kind.keyword())),
    }
}

const fn type_name(name: JsonType) -> &'static str {
    match name {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

#[cfg(test)]
mod tests;
