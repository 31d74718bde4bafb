//! The parameters that a trigger declares (JSON Schema), and the validation of arguments against them.
//!
//! Schemas come from authors and their tools, arguments from language models. So compiling and validating do no I/O,
//! and their time, memory and stack are bounded. A keyword that cannot be checked never costs an event. Messages name
//! parameters and rules, never values.

mod arguments;
mod budget;
mod outline;
mod pattern;
mod references;
mod repair;

use std::{borrow::Cow, collections::HashSet, sync::OnceLock};

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::LocationSegment,
};
use serde_json::{Map, Value};

use self::{
    budget::{Budget, MAX_SCHEMA, TOO_LARGE},
    outline::Outline,
    pattern::Patterns,
    repair::{Expressions, Repaired, repair},
};
use crate::domain::{
    trigger::problem::{Problem, Problems},
    value::text::quote,
};

/// What a regular expression takes in memory, in bytes, with what it remembers of the texts it has seen. Nearly all are
/// smaller.
const PATTERN_SIZE: usize = 64 * 1024;

/// The declared parameters of a trigger and their compiled schema.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    declared: Vec<String>,
    /// The same, to look them up.
    names: HashSet<Box<str>>,
    /// Names that any schema of the arguments requires.
    required: HashSet<Box<str>>,
    /// Required, by others at least, and null will do.
    nullable: HashSet<Box<str>>,
    /// Required by the schema itself, in all cases.
    always: Vec<Box<str>>,
    /// Without it, everything is accepted.
    whole: Option<Check>,
    rest: Option<Rest>,
    size: usize,
    warnings: Vec<Problem>,
}

/// A schema that can be checked.
#[derive(Debug)]
struct Check {
    outline: Outline,
    validator: Validator,
}

impl Check {
    /// # Errors
    /// Why it is not checked.
    fn new(schema: Map<String, Value>, patterns: &Patterns, budget: &Budget) -> Result<Self, String> {
        let outline = Outline::new(&schema);
        outline.unfold(budget).ok_or(TOO_LARGE)?;
        let validator = patterns.options().build(&Value::Object(schema));
        let validator =
            validator.map_err(|error| format!("is not checked as a whole: it {}", rule(error.kind())))?;
        Ok(Self { outline, validator })
    }
}

/// The schema without its regular expressions, which may take long with long texts. It is rarely needed, so it is
/// compiled when it is.
#[derive(Debug)]
struct Rest {
    schema: Map<String, Value>,
    check: OnceLock<Option<Check>>,
}

impl Rest {
    const fn new(schema: Map<String, Value>) -> Self {
        Self { schema, check: OnceLock::new() }
    }

    fn check(&self) -> Option<&Check> {
        let new = || Check::new(self.schema.clone(), &Patterns::default(), &Budget::new(MAX_SCHEMA)).ok();
        self.check.get_or_init(new).as_ref()
    }
}

impl Parameters {
    /// Compiles the member `parameters` of a definition and adds its problems. What cannot be checked is not a problem
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
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut parameters = Self::default();
        parameters.declare(properties.into_iter().flat_map(Map::keys));
        let mut patterns = Patterns::default();
        let Repaired { schema: repaired, warnings, budget } =
            repair(schema, Expressions::Checked(&mut patterns));
        parameters.warnings = warnings;
        if let Some(repaired) = repaired {
            parameters.declare(&arguments::declared(&repaired));
            parameters.nullable = arguments::nullable(&repaired);
            parameters.required = arguments::required(&repaired).map(Box::from).collect();
            parameters.always = arguments::always_required(&repaired);
            match Check::new(repaired, &patterns, &budget) {
                Ok(check) => parameters.whole = Some(check),
                Err(message) => parameters.warn(message),
            }
        }
        parameters.size = size(&budget) + patterns.count() * PATTERN_SIZE;
        if patterns.count() > 0 && parameters.whole.is_some() {
            let rest = repair(schema, Expressions::LeftOut);
            parameters.size += size(&rest.budget);
            parameters.rest = rest.schema.map(Rest::new);
        }
        parameters
    }

    fn declare<'n>(&mut self, names: impl IntoIterator<Item = &'n String>) {
        for name in names {
            if self.names.insert(name.as_str().into()) {
                self.declared.push(name.clone());
            }
        }
    }

    fn warn(&mut self, message: String) {
        let mut warnings = Problems::default();
        warnings.push_in("parameters", message);
        self.warnings.extend(warnings.into_vec());
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
        self.names.contains(name)
    }

    /// Whether this argument may be null: it is not required, or its schema accepts null.
    pub(super) fn accepts_null(&self, name: &str) -> bool {
        !self.required.contains(name) || self.nullable.contains(name)
    }

    /// Validates the arguments, an object. A null counts as not given, unless its parameter is required and accepts it.
    ///
    /// # Errors
    /// A sentence about the first broken rule, without values. Listing all of them can take far longer. What takes too
    /// long to check is accepted: the regular expressions if it is only them, else all but what the schema itself requires.
    pub(super) fn check(&self, arguments: &Value) -> Result<(), String> {
        let given = self.given(arguments);
        let Some(whole) = &self.whole else { return Ok(()) };
        let is_cheap = |check: &&Check| !check.outline.is_costly(&given);
        let rest = || self.rest.as_ref()?.check().filter(is_cheap);
        let Some(check) = Some(whole).filter(is_cheap).or_else(rest) else {
            return self.check_required(&given);
        };
        if check.validator.is_valid(&given) {
            return Ok(());
        }
        match check.validator.validate(&given) {
            Err(error) if !is_undecided(error.kind()) => Err(self.sentence(&error)),
            _ => Ok(()),
        }
    }

    fn check_required(&self, given: &Value) -> Result<(), String> {
        match self.always.iter().find(|name| given.get(&***name).is_none()) {
            Some(name) => Err(missing(name)),
            None => Ok(()),
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
            return missing(name);
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

/// What a schema takes in memory, in bytes.
fn size(budget: &Budget) -> usize {
    usize::try_from(budget.spent()).unwrap_or(usize::MAX)
}

fn missing(name: &str) -> String {
    format!("argument {} is required but missing", quote(name))
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
