//! The parameters that a trigger declares (JSON Schema), and the validation of arguments against them.
//!
//! Schemas come from authors and arguments from language models, so compiling and validating do no I/O and
//! take time in proportion to their size. Messages name parameters and rules, never values.

use jsonschema::{
    JsonType, PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::LocationSegment,
};
use serde_json::{Map, Value};

use crate::domain::{
    trigger::problem::{Problem, Problems},
    value::text::quote,
};

/// Compiled regular expression of a `pattern`, in bytes.
const MAX_PATTERN: usize = 1 << 20;
/// Regular expressions per schema. Compiled, they are far larger than their text.
const MAX_PATTERNS: usize = 16;

/// What a regular expression takes in memory, in bytes, with what it remembers of the texts it has seen. Nearly all are
/// smaller.
const PATTERN_SIZE: usize = 64 * 1024;

/// The declared parameters of a trigger and their compiled schema.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    declared: Vec<String>,
    /// Number of regular expressions in the schema.
    patterns: usize,
    /// `None` accepts everything, because nothing is declared.
    validator: Option<Validator>,
    warnings: Vec<Problem>,
}

impl Parameters {
    /// Compiles the member `parameters` of a definition and adds its problems. The declared names are kept
    /// even if there are problems, so that the actions can be checked too.
    pub(super) fn compile(schema: &Value, problems: &mut Problems) -> Self {
        let Some(object) = schema.as_object() else {
            problems.push("must be an object, a JSON Schema with `properties`");
            return Self::default();
        };
        let properties = object.get("properties").and_then(Value::as_object);
        let declared = properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default();
        if !describes_object(object) {
            problems.within("type", |problems| {
                problems.push("arguments are an object; write `object` or omit `type`");
            });
        }
        let before = problems.count();
        let mut patterns = 0;
        reject_costly(schema, false, &mut patterns, problems);
        if patterns > MAX_PATTERNS {
            problems.push(format!("has more than {MAX_PATTERNS} regular expressions"));
        }
        // A rejected schema must not reach the compiler.
        let validator = if problems.count() == before { build(schema, problems) } else { None };
        Self { declared, patterns, validator, warnings: Vec::new() }
    }

    /// About how much memory its regular expressions take, in bytes.
    pub(super) const fn size_of_patterns(&self) -> usize {
        self.patterns * PATTERN_SIZE
    }

    /// What was left out of the schema because it cannot be checked.
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

    /// # Errors
    /// A sentence about the first broken rule, without values. Listing all of them can take far longer.
    pub(super) fn check(&self, arguments: &Value) -> Result<(), String> {
        match &self.validator {
            Some(validator) if !validator.is_valid(arguments) => match validator.validate(arguments) {
                Err(error) => Err(self.sentence(&error)),
                Ok(()) => Err("the arguments do not match the parameters".into()),
            },
            _ => Ok(()),
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

fn describes_object(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|name| name == "object"),
        Some(name) => name == "object",
    }
}

fn build(schema: &Value, problems: &mut Problems) -> Option<Validator> {
    let options = jsonschema::options()
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN));
    match options.build(schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            let path: Vec<String> =
                error.instance_path().segments().map(|segment| segment.to_string()).collect();
            problems.within_all(&path, |problems| problems.push(schema_fault(error.kind())));
            None
        }
    }
}

fn schema_fault(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Referencing(_) => "refers to a schema that is not in this definition".into(),
        ValidationErrorKind::Format { format } if format == "regex" => {
            "is not a regular expression, is too large, or has look-around or back-references".into()
        }
        kind => format!("is not valid JSON Schema: {}", rule(kind)),
    }
}

/// Counts regular expressions, and rejects references that could be remote, cyclic or exponentially costly: a
/// reference must be to `$defs` or `definitions`, and definitions must not have references.
fn reject_costly(schema: &Value, in_definitions: bool, patterns: &mut usize, problems: &mut Problems) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("pattern", Value::String(_)) => *patterns += 1,
                    ("patternProperties", Value::Object(properties)) => *patterns += properties.len(),
                    _ => {}
                }
                problems.within(key, |problems| match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => reject_reference(target, in_definitions, problems),
                    ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                        problems.push("dynamic references are not supported");
                    }
                    _ => {
                        let in_definitions =
                            in_definitions || matches!(key.as_str(), "$defs" | "definitions");
                        reject_costly(value, in_definitions, patterns, problems);
                    }
                });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                problems.within(index, |problems| reject_costly(item, in_definitions, patterns, problems));
            }
        }
        _ => {}
    }
}

fn reject_reference(target: &str, in_definitions: bool, problems: &mut Problems) {
    if in_definitions {
        problems.push("a definition may not refer to another one; inline it");
    } else if !target.starts_with("#/$defs/") && !target.starts_with("#/definitions/") {
        problems.push("may only refer to `#/$defs/…` or `#/definitions/…` within `parameters`");
    }
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
