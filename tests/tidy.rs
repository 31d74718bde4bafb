//! House rules that a machine can check: layers, purity of the domain, sizes, and what must not stand
//! in the tree. Rules with their reasons are in `ARCHITECTURE.md`; here is only the check.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "tidy/lexer.rs"]
mod lexer;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lexer::{blank, functions};

/// The layers, from the bottom up. A module imports from lower layers only, and from no other module
/// of its own.
const LAYERS: [&[&str]; 6] = [
    &["domain"],
    &["amqp", "postgres", "http_client"],
    &["workers", "operator"],
    &["console", "dev"],
    &["app"],
    &["cli"],
];

/// What every layer above the domain may use. They use the domain and each other.
const LEAVES: [&str; 5] = ["settings", "telemetry", "metrics", "health", "shutdown"];

/// What the domain is free of: waiting, the outside world, clocks, chance and logs.
const IMPURE: [&str; 25] = [
    "async ",
    ".await",
    "tokio",
    "tracing",
    "sqlx",
    "lapin",
    "hyper",
    "axum",
    "futures_util",
    "rand::",
    "now_v7",
    "new_v4",
    "now_utc",
    "now_local",
    "SystemTime",
    "Instant",
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
];

/// Neither in sources nor in tests, with what to do instead.
const NOWHERE: [(&str, &str); 4] = [
    ("#[allow(", "use #[expect(lint, reason = \"…\")], which says when it is no longer needed"),
    ("#![allow(", "use #![expect(lint, reason = \"…\")], which says when it is no longer needed"),
    ("#[ignore", "a test that is not run protects nothing: fix or delete it"),
    ("thread::sleep", "wait for a condition with a deadline"),
];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

struct Source {
    path: PathBuf,
    text: String,
    /// The text with comments and literals blanked out, line by line the same.
    code: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// `workers` for `src/workers.rs` and everything in `src/workers/`.
    fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src").ok()?.components().next()?.as_os_str().to_str()?;
        Some(rest.strip_suffix(".rs").unwrap_or(rest))
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let hidden_or_built = ["target", ".git"].iter().any(|name| path.ends_with(name));
        if hidden_or_built || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path.strip_prefix("./").unwrap().to_owned());
        }
    }
}

fn tree() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(Path::new("./"), &mut found);
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs")
            && ["src", "tests", "benches"].iter().any(|folder| path.starts_with(folder))
    };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Source { code: blank(&text), text, path }
    };
    tree().into_iter().filter(wanted).map(read).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The first name of every path that begins with `crate::`, groups included, with its line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, word) in code.match_indices("crate::") {
        if code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$')
        {
            continue;
        }
        let line = code[..start].matches('\n').count() + 1;
        let rest = &code[start + word.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, first_name(rest)));
            continue;
        };
        let (mut depth, mut at_item) = (0_i32, true);
        for (offset, symbol) in group.char_indices() {
            match symbol {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => at_item = true,
                _ if at_item && !symbol.is_whitespace() => {
                    found.push((line, first_name(&group[offset..])));
                    at_item = false;
                }
                _ => (),
            }
        }
    }
    found
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|symbol| symbol.is_alphanumeric() || *symbol == '_').collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Whether `from` may use `to`. Nothing when one of them has no place in the layers.
fn allowed(from: &str, to: &str) -> Option<bool> {
    let is_leaf = |module: &str| LEAVES.contains(&module);
    Some(match (layer(from), layer(to)) {
        _ if from == to => true,
        (Some(from), Some(to)) => to < from,
        (Some(from), None) if is_leaf(to) => from > 0,
        (None, Some(to)) if is_leaf(from) => to == 0,
        (None, None) if is_leaf(from) && is_leaf(to) => true,
        _ => return None,
    })
}

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some(module) = source.module().filter(|module| !["lib", "main"].contains(module)) else {
            continue;
        };
        for (line, used) in imports(&source.code) {
            let place = format!("{}:{line}", source.name());
            match allowed(module, &used) {
                Some(true) => (),
                Some(false) => faults.push(format!("{place}: {module} must not use {used}")),
                None => faults.push(format!("{place}: {module} or {used} has no place in LAYERS or LEAVES")),
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_domain_is_pure() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.module() == Some("domain")) {
        // Tests of the domain may do what they like; they stand at the end of a file or in one of their own.
        let code = source.code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let is_test = source.path.ends_with("tests.rs");
        for word in IMPURE.iter().filter(|word| !is_test && code.contains(**word)) {
            faults.push(format!("{}: `{word}` has no place in the domain", source.name()));
        }
    }
    assert_none(&faults);
}

#[test]
fn files_and_functions_are_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines >= MAX_FILE_LINES {
            faults.push(format!("{}: {lines} lines; files stay under {MAX_FILE_LINES}", source.name()));
        }
        for (name, line, lines) in functions(&source.code) {
            if lines >= MAX_FUNCTION_LINES {
                faults.push(format!(
                    "{}:{line}: {name} has {lines} lines; functions stay under {MAX_FUNCTION_LINES}",
                    source.name()
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let without = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    let faults: Vec<_> = without.map(|source| format!("{}: must open with `//! `", source.name())).collect();
    assert_none(&faults);
}

#[test]
fn modules_are_named_by_their_file() {
    let named_mod = tree().into_iter().filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"));
    let faults: Vec<_> =
        named_mod.map(|path| format!("{}: name it after its module", path.display())).collect();
    assert_none(&faults);
}

#[test]
fn shortcuts_are_nowhere() {
    let mut faults = Vec::new();
    for source in sources() {
        for (word, instead) in NOWHERE.iter().filter(|(word, _)| source.code.contains(word)) {
            faults.push(format!("{}: `{word}`: {instead}", source.name()));
        }
    }
    assert_none(&faults);
}

/// Every setting has its comment, and none has a second default: a key that the file does not
/// mention is refused when the embedded file is read.
#[test]
fn every_setting_is_described_once() {
    let mut faults = Vec::new();
    let mut previous = String::new();
    for line in fs::read_to_string("config/default.toml").unwrap().lines() {
        if line.contains(" = ") && !line.starts_with('#') && !previous.starts_with("# ") {
            faults.push(format!("config/default.toml: `{line}` has no comment above it"));
        }
        line.clone_into(&mut previous);
    }
    for source in sources().iter().filter(|source| source.module() == Some("settings")) {
        if source.code.contains("serde(default") {
            faults.push(format!("{}: a default beside config/default.toml", source.name()));
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_of_one_machine_is_in_the_tree() {
    // In two parts, or this file would be a fault itself.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("crates", ".io"),
        concat!("npmjs", ".org"),
        concat!("pypi", ".org"),
    ];
    let mut faults = Vec::new();
    for path in tree().iter().filter(|path| !path.ends_with("Cargo.lock")) {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        for word in words.iter().filter(|word| text.contains(**word)) {
            faults.push(format!("{}: names `{word}`", path.display()));
        }
    }
    assert_none(&faults);
}

/// The checks see what they are there for.
#[test]
fn the_checks_can_fail() {
    let code = blank(
        "use crate::{\n    amqp::{a, b},\n    domain,\n};\nfn f() { crate::cli::x(); \"crate::y\"; } // crate::z\n$crate::q",
    );
    let names: Vec<_> = imports(&code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["amqp", "domain", "cli"]);
    assert_eq!(allowed("amqp", "domain"), Some(true));
    assert_eq!(allowed("amqp", "postgres"), Some(false));
    assert_eq!(allowed("amqp", "workers"), Some(false));
    assert_eq!(allowed("amqp", "settings"), Some(true));
    assert_eq!(allowed("settings", "amqp"), Some(false));
    assert_eq!(allowed("domain", "settings"), Some(false));
    assert_eq!(allowed("novelty", "domain"), None);
}
