//! Collects the values of the file and the environment, each with its key and origin. Unknown keys are faults here;
//! whether a value fits its setting is decided later.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Source as _, Value, ValueKind};

use super::{DEFAULTS, Fault, Origin};
use crate::domain::event::without_mark;

const PREFIX: &str = "CONTACT_RELAY__";

/// What is wrong with a variable that begins like ours.
const NO_SETTING: &str = "does not name a setting";

/// One value that overrides a default.
pub(super) struct Override {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The file that has it, if it is in one.
    pub(super) file: Option<PathBuf>,
}

/// The values that override defaults. For the same key, the later one wins.
pub(super) struct Layers<'a> {
    defaults: &'a BTreeMap<String, Value>,
    pub(super) overrides: Vec<Override>,
    pub(super) faults: Vec<Fault>,
}

/// The built-in defaults by key.
pub(super) fn defaults() -> Result<BTreeMap<String, Value>, Fault> {
    let sections = parse(DEFAULTS, &Origin::Default)?;
    Ok(sections
        .into_iter()
        .flat_map(|(section, value)| {
            let keys = value.into_table().unwrap_or_default();
            keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
        })
        .collect())
}

impl<'a> Layers<'a> {
    pub(super) fn new(defaults: &'a BTreeMap<String, Value>) -> Self {
        Self { defaults, overrides: Vec::new(), faults: Vec::new() }
    }

    /// Adds the values of the file.
    pub(super) fn add_file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        let sections = read(path)
            .map_err(|error| fault("", &origin, format!("could not be read: {error}")))
            .and_then(|text| parse(&text, &origin));
        let sections = match sections {
            Ok(sections) => sections,
            Err(fault) => return self.faults.push(fault),
        };
        for (section, value) in sections {
            let known: Vec<&str> = self.keys_of(&section).collect();
            if known.is_empty() {
                self.faults.push(fault(&section, &origin, "unknown section"));
                continue;
            }
            let ValueKind::Table(keys) = value.kind else {
                self.faults.push(fault(&section, &origin, format!("expected a section, [{section}]")));
                continue;
            };
            let known = known.join(", ");
            for (key, value) in keys {
                let key = format!("{section}.{key}");
                if self.defaults.contains_key(&key) {
                    self.push(key, value, origin.clone(), Some(path));
                } else {
                    let message = format!("unknown setting; [{section}] has {known}");
                    self.faults.push(fault(&key, &origin, message));
                }
            }
        }
    }

    /// Adds the values of the environment.
    pub(super) fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut ours: BTreeMap<String, OsString> = BTreeMap::new();
        for (name, value) in environment.into_iter().filter(|(name, _)| is_ours(name)) {
            match name.into_string() {
                Ok(name) => drop(ours.insert(name, value)),
                Err(name) => {
                    let origin = Origin::Environment(name.to_string_lossy().into_owned());
                    self.faults.push(fault("", &origin, NO_SETTING));
                }
            }
        }
        for (name, value) in &ours {
            let origin = Origin::Environment(name.clone());
            match self.variable(name) {
                Some((key, false)) => match value.to_str() {
                    Some(text) => self.push_text(key, text, origin, None),
                    None => self.faults.push(fault(&key, &origin, "not UTF-8")),
                },
                Some((key, true)) if ours.contains_key(name.trim_end_matches("_FILE")) => {
                    let message = "set both with and without _FILE; unset one of the two";
                    self.faults.push(fault(&key, &origin, message));
                }
                Some((key, true)) => match read(Path::new(value)) {
                    Ok(text) => {
                        let text = text.trim_end_matches(['\r', '\n']);
                        self.push_text(key, text, origin, Some(Path::new(value)));
                    }
                    Err(error) => {
                        let path = Path::new(value).display();
                        self.faults.push(fault(&key, &origin, format!("could not read {path}: {error}")));
                    }
                },
                None => self.faults.push(fault("", &origin, NO_SETTING)),
            }
        }
    }

    /// The key that a variable sets, and whether the variable names a file with the value.
    fn variable(&self, name: &str) -> Option<(String, bool)> {
        let variable = |key: &str| format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
        self.defaults.keys().find_map(|key| match name.strip_prefix(&variable(key)) {
            Some("") => Some((key.clone(), false)),
            Some("_FILE") => Some((key.clone(), true)),
            _ => None,
        })
    }

    fn keys_of(&self, section: &str) -> impl Iterator<Item = &str> {
        self.defaults.keys().filter_map(move |key| key.strip_prefix(section)?.strip_prefix('.'))
    }

    /// Adds a text from the environment; it becomes a list if the default is a list.
    fn push_text(&mut self, key: String, text: &str, origin: Origin, file: Option<&Path>) {
        let is_list = self.defaults.get(&key).is_some_and(|value| matches!(value.kind, ValueKind::Array(_)));
        let kind = match (is_list, text.trim()) {
            (false, _) => ValueKind::from(text),
            (true, "") => ValueKind::Array(Vec::new()),
            (true, entries) => match list(entries, &origin) {
                Some(list) => list,
                None => return self.faults.push(fault(&key, &origin, "expected a TOML list, [{…}, {…}]")),
            },
        };
        self.push(key, Value::new(None, kind), origin, file);
    }

    /// Adds a value, unless the library would have to convert it silently: it rounds fractions and reads `true`
    /// as 1.
    fn push(&mut self, key: String, value: Value, origin: Origin, file: Option<&Path>) {
        let mismatch = match (self.defaults.get(&key).map(|default| &default.kind), &value.kind) {
            (Some(ValueKind::I64(_)), ValueKind::I64(_))
            | (Some(ValueKind::Boolean(_)), ValueKind::Boolean(_)) => None,
            (Some(ValueKind::I64(_)), ValueKind::String(text)) if text.parse::<i64>().is_ok() => None,
            (Some(ValueKind::I64(_)), _) => Some("expected a whole number"),
            (Some(ValueKind::Boolean(_)), ValueKind::String(text))
                if ["true", "false"].contains(&text.as_str()) =>
            {
                None
            }
            (Some(ValueKind::Boolean(_)), _) => Some("expected true or false"),
            (Some(ValueKind::Float(_)), ValueKind::Boolean(_)) => Some("expected a number"),
            _ => None,
        };
        if let Some(message) = mismatch {
            self.faults.push(fault(&key, &origin, message));
        } else {
            self.overrides.push(Override { key, value, origin, file: file.map(Path::to_owned) });
        }
    }
}

/// Whether a variable begins like ours.
fn is_ours(name: &OsStr) -> bool {
    let start = name.as_encoded_bytes().get(..PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// A list from the environment. Commas cannot separate entries that have keys, so those are written in TOML. `None` if it
/// was meant as TOML, and is not.
fn list(text: &str, origin: &Origin) -> Option<ValueKind> {
    let by_commas = || ValueKind::Array(text.split(',').map(|item| Value::from(item.trim())).collect());
    let Some(inside) = text.strip_prefix('[') else { return Some(by_commas()) };
    match parse(&format!("list = {text}"), origin) {
        Ok(mut parsed) => Some(parsed.remove("list").map_or(ValueKind::Nil, |list| list.kind)),
        Err(_) if inside.trim_start().starts_with(['"', '\'', '{']) => None,
        // An IPv6 network with a port begins with a bracket, too.
        Err(_) => Some(by_commas()),
    }
}

/// A file as text, without the byte order mark that some editors put first.
fn read(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    let text = String::from_utf8(without_mark(&bytes).to_vec());
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn parse(text: &str, origin: &Origin) -> Result<BTreeMap<String, Value>, Fault> {
    let sections = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
        // Between place and reason the library quotes the line, which may contain a secret.
        let error = error.to_string();
        let mut lines = error.lines().filter(|line| !line.trim().is_empty());
        let place = lines.next().unwrap_or("not TOML");
        let reason = lines.next_back().unwrap_or("not TOML");
        fault("", origin, format!("{place}: {reason}"))
    })?;
    Ok(sections.into_iter().collect())
}

fn fault(key: &str, origin: &Origin, message: impl Into<String>) -> Fault {
    Fault { key: key.to_owned(), origin: origin.clone(), message: message.into() }
}
