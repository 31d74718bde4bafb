//! Reads, layers and checks the settings: built-in defaults, then the file, then the environment.
//!
//! All faults are reported at once, each with its key and origin, and never with the value of a secret.

mod layers;
mod show;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use config::{Config, ConfigError, File, FileFormat, Value};

use super::{
    Settings,
    validate::{validate, weak},
};
use layers::{Layers, Override};

/// The built-in defaults: every setting with a description.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Settings whose values are redacted.
const SECRETS: [&str; 8] = [
    "amqp.url",
    "amqp.management_url",
    "postgres.url",
    "contacts.suppression_pepper",
    "webhook.signing_secrets",
    // Entries may contain signing secrets, and URLs whose path is a secret.
    "webhook.endpoints",
    "http.tokens",
    "telemetry.otlp_headers",
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in defaults.
    Default,
    /// This settings file.
    File(PathBuf),
    /// This environment variable, or the file that it names (`…_FILE`).
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One fault in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting as `section.key`; empty when the fault concerns a whole file or variable.
    pub key: String,
    /// Where the value comes from.
    pub origin: Origin,
    /// The fault; never the value of a secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.origin, self.message);
        }
        write!(f, "{} ({}): {}", self.key, self.origin, self.message)
    }
}

/// The settings are invalid. There is at least one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// All faults.
    pub faults: Vec<Fault>,
}

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [_] => f.write_str("bad configuration")?,
            all => write!(f, "bad configuration, {} faults", all.len())?,
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The effective value of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value as TOML, with secrets redacted.
    pub shown: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// The effective settings, and where each comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The typed settings.
    pub settings: Settings,
    /// Every setting by `section.key`.
    pub entries: BTreeMap<String, Entry>,
    /// Secrets in files that every user of the machine can read.
    pub exposed: Vec<Fault>,
    /// Secrets that can be guessed.
    pub weak: Vec<Fault>,
}

impl Effective {
    /// Allowed but unsafe values.
    pub fn warnings(&self) -> impl Iterator<Item = &Fault> {
        self.exposed.iter().chain(&self.weak)
    }
}

/// Reads the settings from the defaults, then `file`, then `environment`; each overrides the one before.
///
/// # Errors
/// With all faults at once.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Effective, LoadError> {
    load_and_check(file, environment, |_| Vec::new())
}

/// As [`load`], with further checks of settings that have the right types. They return faults, each with its key.
///
/// # Errors
/// With all faults at once.
pub fn load_and_check(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    further: impl FnOnce(&Settings) -> Vec<(&'static str, String)>,
) -> Result<Effective, LoadError> {
    let defaults = layers::defaults().map_err(|fault| LoadError { faults: vec![fault] })?;
    let mut layers = Layers::new(&defaults);
    if let Some(path) = file {
        layers.add_file(path);
    }
    layers.add_environment(environment);
    let Layers { overrides, mut faults, .. } = layers;
    let exposed = overrides.iter().filter_map(exposed).collect();

    let (good, bad): (Vec<_>, Vec<_>) = overrides
        .into_iter()
        .map(|written| {
            let trial = settings_with([(&written.key, &written.value)]);
            (written, trial.err())
        })
        .partition(|(_, error)| error.is_none());
    let known_bad: BTreeSet<String> = bad.iter().map(|(written, _)| written.key.clone()).collect();
    for (written, error) in bad {
        if let Some(error) = error {
            let message = describe(&written.key, &error);
            faults.push(Fault { key: written.key, origin: written.origin, message });
        }
    }

    let mut effective: BTreeMap<String, (Value, Origin)> =
        defaults.into_iter().map(|(key, value)| (key, (value, Origin::Default))).collect();
    for (written, _) in good {
        effective.insert(written.key, (written.value, written.origin));
    }
    let settings =
        settings_with(effective.iter().map(|(key, (value, _))| (key, value))).map_err(|error| {
            let message = describe("", &error);
            LoadError { faults: vec![Fault { key: String::new(), origin: Origin::Default, message }] }
        })?;
    let fault = |(key, message): (&'static str, String)| {
        let origin = effective.get(key).map_or(Origin::Default, |(_, origin)| origin.clone());
        Fault { key: key.to_owned(), origin, message }
    };
    // A bad value has been reported already; the default in its place must not add another fault.
    let found = validate(&settings).into_iter().chain(further(&settings));
    faults.extend(found.filter(|(key, _)| !known_bad.contains(*key)).map(fault));
    if !faults.is_empty() {
        return Err(LoadError { faults });
    }
    let weak = weak(&settings).into_iter().map(fault).collect();
    let entries = effective
        .into_iter()
        .map(|(key, (value, origin))| {
            let shown = show::value(&key, &value);
            (key, Entry { shown, origin })
        })
        .collect();
    Ok(Effective { settings, entries, exposed, weak })
}

/// Reports a secret in a file that every user can read.
fn exposed(written: &Override) -> Option<Fault> {
    let path = written.file.as_deref().filter(|_| show::is_secret(&written.key, &written.value))?;
    let mode = path.metadata().ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o004 != 0).then(|| Fault {
        key: written.key.clone(),
        origin: written.origin.clone(),
        message: format!("every user of this machine can read the secret in {path}; run `chmod o-r {path}`"),
    })
}

/// The defaults with some values overridden, as settings.
fn settings_with<'a>(
    values: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> Result<Settings, ConfigError> {
    let builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    values
        .into_iter()
        .try_fold(builder, |builder, (key, value)| builder.set_override(key, value.clone()))?
        .build()?
        .try_deserialize()
}

/// The fault of the value of `key`. For a secret, the library's message is replaced: it may repeat the value.
fn describe(key: &str, error: &ConfigError) -> String {
    match key {
        "amqp.url" | "postgres.url" => "expected a URL, as text".to_owned(),
        "contacts.suppression_pepper" => "expected a string".to_owned(),
        "webhook.signing_secrets" => {
            "expected a list of strings, each whsec_ or whsk_ followed by base64".to_owned()
        }
        "webhook.endpoints" => endpoints_fault(error),
        "telemetry.otlp_headers" => "expected a list of strings, each name=value".to_owned(),
        "http.tokens" => {
            "expected a list of name:role:token, role one of viewer, operator, editor, admin".to_owned()
        }
        _ => match error {
            ConfigError::Type { unexpected, expected, .. } => {
                format!("expected {expected}, found {unexpected}")
            }
            ConfigError::At { error, .. } => describe(key, error),
            other => other.to_string(),
        },
    }
}

/// Only our own messages and names of settings: a value may be a secret.
fn endpoints_fault(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => endpoints_fault(error),
        ConfigError::Message(message)
            if [
                "unknown field",
                "missing field",
                "rate must",
                "profile must",
                "a duration",
                "expected a duration",
            ]
            .iter()
            .any(|known| message.starts_with(known)) =>
        {
            message.clone()
        }
        ConfigError::Type { expected, .. } => format!("expected {expected}"),
        _ => "expected a list of entries, each with at least `url`; see `contact-relay config example`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
