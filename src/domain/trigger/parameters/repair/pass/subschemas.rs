//! The keywords that hold schemas.

use serde_json::{Map, Value, json};

use super::{EMPTY_LIST, LOOSE, MEMBER, NAMES, Pass, SCHEMA, WAYS};
use crate::domain::trigger::parameters::{
    budget::bytes,
    references::Draft,
    repair::made::{Made, apart, is_seen},
};

impl Pass<'_, '_> {
    /// Rewrites one schema to be the keyword `key`.
    pub(super) fn one(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let in_place = made.in_place && matches!(key, "else" | "if" | "not" | "then");
        self.nots += u64::from(key == "not");
        let part = self.schema(value, made.base, in_place);
        self.nots -= u64::from(key == "not");
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
    fn parts(&mut self, made: &Made<'_>, items: &[Value], in_place: bool) -> (Vec<Value>, bool) {
        let mut loose = false;
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let part = self.within(index, |pass| pass.schema(item, made.base, in_place));
            loose |= part.loose;
            values.push(part.value);
        }
        (values, loose)
    }

    pub(super) fn list(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            if key == "prefixItems" {
                made.dropped.push("items");
            }
            return self.leave_out(made, "is not checked; write a list of schemas");
        };
        let (mut values, loose) = self.parts(made, items, made.in_place && key != "prefixItems");
        made.loose |= loose;
        match key {
            // The validator looks for a member that tells three and more apart, through all that they refer to, which
            // can take exponential time, and keeps a list for each of its values. So it must not see their members.
            "anyOf" | "oneOf" if values.len() > 2 => {
                for value in values.iter_mut().filter(|value| is_seen(value)) {
                    if self.take(SCHEMA + WAYS * self.way).is_none() {
                        return;
                    }
                    *value = json!({ "anyOf": [value.take()] });
                }
            }
            "allOf" => values.iter_mut().for_each(apart),
            _ => {}
        }
        if key == "oneOf" && loose {
            self.warn("is checked as `anyOf`, because a schema in it cannot be checked");
            made.all.push(json!({ "anyOf": values }));
        } else {
            made.add(key, values.into());
        }
    }

    /// The old form of `prefixItems`.
    pub(super) fn tuple(&mut self, made: &mut Made<'_>, items: &[Value]) {
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
            made.add("prefixItems", values.into());
        }
    }

    pub(super) fn map(&mut self, made: &mut Made<'_>, key: &str, value: &Value) {
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
            if self.take(MEMBER + NAMES * bytes(name)).is_none() {
                break;
            }
            self.within(name, |pass| {
                let name = match key {
                    "patternProperties" => pass.translate(name),
                    _ => Ok(name.clone()),
                };
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
        let part = self.schema(schema, made.base, made.in_place && key == "dependentSchemas");
        made.insert(key, name, part.value);
        made.loose |= part.loose;
    }

    /// The old form of `dependentRequired` and `dependentSchemas`.
    pub(super) fn dependencies(&mut self, made: &mut Made<'_>, members: &Map<String, Value>) {
        for (name, value) in members {
            if self.take(MEMBER + NAMES * bytes(name)).is_none() {
                break;
            }
            self.within(name, |pass| match value {
                Value::Array(names) if names.iter().all(Value::is_string) => made.require(name, value),
                _ => pass.member(made, "dependentSchemas", name.clone(), value),
            });
        }
    }
}
