//! Finds the schemas that a schema refers to. They are all within it: nothing is ever fetched.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};
use url::Url;

use crate::domain::value::text::percent_decoded;

/// The address of a schema that gives itself none.
pub(super) const BASE: &str = "schema:///";

/// The one schema of others that the validator has.
pub(super) const METASCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

const DRAFTS: [(&str, Draft); 6] = [
    ("json-schema.org/draft-04/schema", Draft::Four),
    ("json-schema.org/draft-06/schema", Draft::Seven),
    ("json-schema.org/draft-07/schema", Draft::Seven),
    ("json-schema.org/draft/2019-09/schema", Draft::Nineteen),
    ("json-schema.org/draft/2020-12/schema", Draft::Latest),
    ("json-schema.org/schema", Draft::Latest),
];

/// Keywords that hold one schema.
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
/// Keywords that hold schemas by name.
const MAPS: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// The drafts of JSON Schema, as far as they differ in what is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// Draft 4.
    Four,
    /// Drafts 6 and 7.
    Seven,
    /// 2019-09.
    Nineteen,
    /// 2020-12, and what a schema means that names no draft.
    Latest,
}

impl Draft {
    /// The draft that the schema names. `None` for one that is not known.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let Some(name) = schema.get("$schema").filter(|name| !name.is_null()) else {
            return Some(Self::Latest);
        };
        let name = name.as_str()?.trim_end_matches(['#', '/']);
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"))?;
        DRAFTS.iter().find(|(known, _)| *known == name).map(|(_, draft)| *draft)
    }

    /// Whether a `$ref` hides the keywords beside it.
    pub(super) const fn hides_siblings(self) -> bool {
        matches!(self, Self::Four | Self::Seven)
    }

    const fn id(self) -> &'static str {
        if matches!(self, Self::Four) { "id" } else { "$id" }
    }
}

/// A place in the schema.
#[derive(Clone)]
pub(super) struct Place<'s> {
    /// JSON pointer from the root.
    pub(super) pointer: String,
    /// An object, `true` or `false`.
    pub(super) schema: &'s Value,
    /// The address that a relative `$id` in `schema` refers to.
    pub(super) base: String,
}

/// The addresses in a schema.
pub(super) struct References<'s> {
    draft: Draft,
    /// Schemas by their address; with `#` and its name if it is an anchor.
    places: HashMap<String, Place<'s>>,
    /// Whether a schema below the root has an address of its own.
    has_parts: bool,
}

impl<'s> References<'s> {
    pub(super) fn new(root: &'s Value, draft: Draft) -> Self {
        let mut references = Self { draft, places: HashMap::new(), has_parts: false };
        let place = Place { pointer: String::new(), schema: root, base: BASE.to_owned() };
        references.collect(&place);
        references.places.entry(BASE.to_owned()).or_insert(place);
        references
    }

    /// Whether a schema below the root has an address of its own.
    pub(super) const fn has_parts(&self) -> bool {
        self.has_parts
    }

    pub(super) const fn draft(&self) -> Draft {
        self.draft
    }

    /// The address within a schema that lies at `base`.
    pub(super) fn base<'b>(&self, schema: &Map<String, Value>, base: &'b str) -> Cow<'b, str> {
        self.own_address(schema, base).map_or(Cow::Borrowed(base), Cow::Owned)
    }

    fn own_address(&self, schema: &Map<String, Value>, base: &str) -> Option<String> {
        if self.draft.hides_siblings() && schema.contains_key("$ref") {
            return None;
        }
        let id = schema.get(self.draft.id())?.as_str()?;
        let (address, _) = id.split_once('#').unwrap_or((id, ""));
        if address.is_empty() { None } else { join(base, address) }
    }

    fn collect(&mut self, place: &Place<'s>) {
        let Value::Object(object) = place.schema else { return };
        let own = self.own_address(object, &place.base);
        let base = own.as_deref().unwrap_or(&place.base);
        let text = |keyword: &str| object.get(keyword).and_then(Value::as_str);
        let anchors = [text("$anchor"), text("$dynamicAnchor")];
        let old = text(self.draft.id()).and_then(|id| id.strip_prefix('#')).filter(|name| !name.is_empty());
        for name in anchors.into_iter().chain([old]).flatten() {
            self.places.entry(format!("{base}#{name}")).or_insert_with(|| place.clone());
        }
        for (pointer, schema) in subschemas(object) {
            let pointer = format!("{}{pointer}", place.pointer);
            self.collect(&Place { pointer, schema, base: base.to_owned() });
        }
        if let Some(own) = own {
            self.has_parts |= !place.pointer.is_empty();
            self.places.entry(own).or_insert_with(|| place.clone());
        }
    }

    /// The schema that `reference` names in a schema whose address is `base`.
    pub(super) fn resolve(&self, reference: &str, base: &str) -> Option<Place<'s>> {
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let address = if address.is_empty() { base.to_owned() } else { join(base, address)? };
        let fragment = percent_decoded(fragment)?;
        let place = if fragment.is_empty() || fragment.starts_with('/') {
            self.below(self.places.get(&address)?, &fragment)?
        } else {
            self.places.get(&format!("{address}#{fragment}"))?.clone()
        };
        Some(place).filter(|place| place.schema.is_object() || place.schema.is_boolean())
    }

    /// The place that a JSON pointer names, counted from `start`.
    fn below(&self, start: &Place<'s>, pointer: &str) -> Option<Place<'s>> {
        let mut place = start.clone();
        for token in pointer.split('/').skip(1) {
            place.schema = match place.schema {
                Value::Object(members) => {
                    place.base = self.base(members, &place.base).into_owned();
                    members.get(&token.replace("~1", "/").replace("~0", "~"))?
                }
                Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                _ => return None,
            };
            place.pointer = format!("{}/{token}", place.pointer);
        }
        Some(place)
    }
}

/// An address, relative or not, without its fragment.
fn join(base: &str, address: &str) -> Option<String> {
    let mut joined = Url::parse(base).ok()?.join(address).ok()?;
    joined.set_fragment(None);
    Some(joined.into())
}

/// The schemas in a schema, with their pointers from there.
fn subschemas(object: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in object {
        match value {
            Value::Array(items) if LISTS.contains(&keyword.as_str()) => {
                let items = items.iter().enumerate();
                found.extend(items.map(|(index, item)| (format!("/{keyword}/{index}"), item)));
            }
            Value::Object(members) if MAPS.contains(&keyword.as_str()) => {
                let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
                let members = members.iter();
                found.extend(members.map(|(name, member)| (format!("/{keyword}/{}", escaped(name)), member)));
            }
            value if ONE.contains(&keyword.as_str()) => found.push((format!("/{keyword}"), value)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_by_pointer_anchor_and_address() {
        let schema = json!({
            "$defs": {
                "a/b~c %": {"title": "escaped"},
                "part": {"$id": "https://a.example/d/part", "$anchor": "here", "$defs": {"x": {"title": "x"}}, "items": {"$id": "e/item"}},
                "urn": {"$id": "urn:uuid:1", "$defs": {"y": true}},
                "T": {"$id": "T", "$dynamicAnchor": "node"},
            },
            "enum": [{"$id": "https://a.example/data"}],
            "components": {"schemas": {"Lead": {"title": "unknown keyword"}}},
        });
        let references = References::new(&schema, Draft::Latest);
        assert!(references.has_parts());
        let find = |reference: &str, base: &str| {
            references.resolve(reference, base).map(|place| (place.pointer, place.base))
        };
        let part = "https://a.example/d/part";
        for (reference, base, expected) in [
            ("#", BASE, Some(("", BASE))),
            ("#/$defs/a~1b~0c%20%25", BASE, Some(("/$defs/a~1b~0c %", BASE))),
            ("#/components/schemas/Lead", BASE, Some(("/components/schemas/Lead", BASE))),
            ("#/enum/0", BASE, Some(("/enum/0", BASE))),
            ("#/enum", BASE, None),
            ("#/enum/1", BASE, None),
            ("#/$defs/missing", BASE, None),
            ("#here", BASE, None),
            ("https://a.example/d/part#here", BASE, Some(("/$defs/part", BASE))),
            ("https://a.example/d/part", BASE, Some(("/$defs/part", BASE))),
            ("#/$defs/x", part, Some(("/$defs/part/$defs/x", part))),
            ("#/$defs/part/$defs/x", BASE, Some(("/$defs/part/$defs/x", part))),
            ("e/item", part, Some(("/$defs/part/items", part))),
            ("/d/e/item#", part, Some(("/$defs/part/items", part))),
            ("urn:uuid:1#/$defs/y", part, Some(("/$defs/urn/$defs/y", "urn:uuid:1"))),
            ("#/$defs/y", "urn:uuid:1", Some(("/$defs/urn/$defs/y", "urn:uuid:1"))),
            ("T", BASE, Some(("/$defs/T", BASE))),
            ("T#node", BASE, Some(("/$defs/T", BASE))),
            ("https://a.example/data", BASE, None),
            ("https://elsewhere.example/", BASE, None),
            ("file:///etc/passwd", BASE, None),
            ("#%ff", BASE, None),
        ] {
            let found = find(reference, base);
            let found = found.as_ref().map(|(pointer, base)| (pointer.as_str(), base.as_str()));
            assert_eq!(found, expected, "{reference} at {base}");
        }
    }

    #[test]
    fn drafts_are_known_by_their_name() {
        for (name, expected) in [
            (json!("http://json-schema.org/draft-04/schema#"), Some(Draft::Four)),
            (json!("http://json-schema.org/draft-07/schema#"), Some(Draft::Seven)),
            (json!("https://json-schema.org/draft/2019-09/schema"), Some(Draft::Nineteen)),
            (json!("https://json-schema.org/draft/2020-12/schema"), Some(Draft::Latest)),
            (json!(null), Some(Draft::Latest)),
            (json!("https://spec.openapis.org/oas/3.1/dialect/base"), None),
            (json!(7), None),
        ] {
            assert_eq!(Draft::of(&json!({ "$schema": name })), expected, "{name}");
        }
        assert_eq!(Draft::of(&json!({})), Some(Draft::Latest));
    }
}
