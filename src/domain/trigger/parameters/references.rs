//! Finds the schemas that a schema refers to. They are all within it: nothing is ever fetched.

mod place;

use std::{collections::HashMap, rc::Rc};

use serde_json::{Map, Value};
use url::Url;

use self::place::Key;
pub(super) use self::place::{Base, Place};
use super::budget::{Budget, MAX_SCHEMA, bytes};
use crate::domain::value::text::percent_decoded;

/// The address of a schema that gives itself none.
const BASE: &str = "schema:///";

/// What is taken from the budget for each byte of an address that is parsed. Parsing takes long.
const JOIN: u64 = 16;
/// For a schema with a name.
const ANCHOR: u64 = 128;
/// For a member that is looked at.
const MEMBER: u64 = 16;

/// The only foreign schema that the validator has.
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

/// The addresses in a schema.
pub(super) struct References<'s> {
    draft: Draft,
    /// Each once; [`Base`] is a position in it.
    addresses: Vec<Rc<str>>,
    bases: HashMap<Rc<str>, Base>,
    /// The schemas with an address.
    resources: HashMap<Base, Place<'s>>,
    /// The schemas with a name, by the address that they are in.
    anchors: HashMap<(Base, &'s str), Place<'s>>,
    /// Whether a schema below the root has an address of its own.
    has_parts: bool,
}

impl<'s> References<'s> {
    /// Finds the addresses. `None` if they take more than [`MAX_SCHEMA`].
    pub(super) fn new(root: &'s Value, draft: Draft) -> Option<Self> {
        let mut references = Self {
            draft,
            addresses: Vec::new(),
            bases: HashMap::new(),
            resources: HashMap::new(),
            anchors: HashMap::new(),
            has_parts: false,
        };
        references.number(BASE);
        let place = Place::root(root);
        references.collect(&place, &Budget::new(MAX_SCHEMA))?;
        references.resources.entry(Base::ROOT).or_insert(place);
        Some(references)
    }

    /// Whether a schema below the root has an address of its own.
    pub(super) const fn has_parts(&self) -> bool {
        self.has_parts
    }

    pub(super) const fn draft(&self) -> Draft {
        self.draft
    }

    /// The address within a schema that lies at `base`. `None` if the budget is spent.
    pub(super) fn base(&mut self, schema: &Map<String, Value>, base: Base, budget: &Budget) -> Option<Base> {
        let Some(address) = self.own_address(schema) else { return Some(base) };
        self.pay(base, address, budget)?;
        Some(self.join(base, address).map_or(base, |joined| self.number(&joined)))
    }

    fn own_address<'v>(&self, schema: &'v Map<String, Value>) -> Option<&'v str> {
        if self.draft.hides_siblings() && schema.contains_key("$ref") {
            return None;
        }
        let id = schema.get(self.draft.id())?.as_str()?;
        let (address, _) = id.split_once('#').unwrap_or((id, ""));
        Some(address).filter(|address| !address.is_empty())
    }

    fn address(&self, base: Base) -> &str {
        self.addresses.get(base.number()).map_or(BASE, |address| address)
    }

    /// Takes what [`Self::join`] costs.
    fn pay(&self, base: Base, address: &str, budget: &Budget) -> Option<()> {
        budget.take(JOIN * (bytes(self.address(base)) + bytes(address)))
    }

    /// An address, relative to `base` or not, without its fragment.
    fn join(&self, base: Base, address: &str) -> Option<String> {
        let mut joined = Url::parse(self.address(base)).ok()?.join(address).ok()?;
        joined.set_fragment(None);
        Some(joined.into())
    }

    fn number(&mut self, address: &str) -> Base {
        if let Some(base) = self.bases.get(address) {
            return *base;
        }
        let base = Base::new(self.addresses.len());
        let address: Rc<str> = address.into();
        self.addresses.push(Rc::clone(&address));
        self.bases.insert(address, base);
        base
    }

    fn collect(&mut self, place: &Place<'s>, budget: &Budget) -> Option<()> {
        let Value::Object(object) = place.schema else { return Some(()) };
        let base = self.base(object, place.base, budget)?;
        let text = |keyword: &str| object.get(keyword).and_then(Value::as_str);
        let anchors = [text("$anchor"), text("$dynamicAnchor")];
        let old = text(self.draft.id()).and_then(|id| id.strip_prefix('#')).filter(|name| !name.is_empty());
        for name in anchors.into_iter().chain([old]).flatten() {
            budget.take(ANCHOR + bytes(name))?;
            self.anchors.entry((base, name)).or_insert_with(|| place.clone());
        }
        for (keyword, value) in object {
            budget.take(MEMBER)?;
            let keyword = keyword.as_str();
            let within = || place.below(Key::Name(keyword), value, base);
            match value {
                Value::Array(items) if LISTS.contains(&keyword) => {
                    let list = within();
                    for (index, item) in items.iter().enumerate() {
                        budget.take(MEMBER)?;
                        self.collect(&list.below(Key::Index(index), item, base), budget)?;
                    }
                }
                Value::Object(members) if MAPS.contains(&keyword) => {
                    let map = within();
                    for (name, member) in members {
                        budget.take(MEMBER)?;
                        self.collect(&map.below(Key::Name(name), member, base), budget)?;
                    }
                }
                _ if ONE.contains(&keyword) => self.collect(&within(), budget)?,
                _ => {}
            }
        }
        if base != place.base {
            self.has_parts |= !place.is_root();
            self.resources.entry(base).or_insert_with(|| place.clone());
        }
        Some(())
    }

    /// The schema that `reference` names in a schema whose address is `base`. `None` if there is none, or if the budget
    /// is spent.
    pub(super) fn resolve(&mut self, reference: &str, base: Base, budget: &Budget) -> Option<Place<'s>> {
        budget.take(bytes(reference))?;
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if address.is_empty() {
            base
        } else {
            self.pay(base, address, budget)?;
            *self.bases.get(self.join(base, address)?.as_str())?
        };
        let fragment = percent_decoded(fragment)?;
        let place = if fragment.is_empty() || fragment.starts_with('/') {
            let start = self.resources.get(&base)?.clone();
            self.below(start, &fragment, budget)?
        } else {
            self.anchors.get(&(base, fragment.as_ref()))?.clone()
        };
        Some(place).filter(|place| place.schema.is_object() || place.schema.is_boolean())
    }

    /// The place that a JSON pointer names, counted from `place`.
    fn below(&mut self, mut place: Place<'s>, pointer: &str, budget: &Budget) -> Option<Place<'s>> {
        for token in pointer.split('/').skip(1) {
            budget.take(MEMBER)?;
            place = match place.schema {
                Value::Object(members) => {
                    let base = self.base(members, place.base, budget)?;
                    let name = token.replace("~1", "/").replace("~0", "~");
                    let (name, schema) = members.get_key_value(&name)?;
                    place.below(Key::Name(name), schema, base)
                }
                Value::Array(items) => {
                    let index = index(token)?;
                    place.below(Key::Index(index), items.get(index)?, place.base)
                }
                _ => return None,
            };
        }
        Some(place)
    }
}

/// The index that a token of a JSON pointer is (RFC 6901, 4): digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_index =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    token.parse().ok().filter(|_| is_index)
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
        let budget = Budget::new(1 << 20);
        let mut references = References::new(&schema, Draft::Latest).unwrap();
        assert!(references.has_parts());
        let mut find = |reference: &str, base: &str| {
            let base = references.number(base);
            let place = references.resolve(reference, base, &budget)?;
            let pointer: String = place.keys().iter().flat_map(|key| ["/", &**key]).collect();
            Some((pointer, references.addresses[place.base.number()].to_string()))
        };
        let part = "https://a.example/d/part";
        for (reference, base, expected) in [
            ("#", BASE, Some(("", BASE))),
            ("#/$defs/a~1b~0c%20%25", BASE, Some(("/$defs/a/b~c %", BASE))),
            ("#/components/schemas/Lead", BASE, Some(("/components/schemas/Lead", BASE))),
            ("#/enum/0", BASE, Some(("/enum/0", BASE))),
            ("#/enum", BASE, None),
            ("#/enum/1", BASE, None),
            ("#/enum/00", BASE, None),
            ("#/enum/+0", BASE, None),
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
