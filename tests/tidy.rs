//! House rules that neither the compiler nor clippy checks: layers, cycles, a pure domain, short files, migrations that
//! stop nobody, tables with sources, and texts that must not be in the tree. `ARCHITECTURE.md` has the reasons.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "tidy/cycles.rs"]
mod cycles;
#[path = "tidy/image.rs"]
mod image;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/migrations.rs"]
mod migrations;
#[path = "tidy/tables.rs"]
mod tables;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use imports::{Import, Module, imports};
use lexer::{blank, without_tests};

/// The layers, from the bottom up. A module imports from lower layers and from itself, never from its own layer.
const LAYERS: [&[&str]; 7] = [
    &["domain"],
    &["amqp", "postgres", "http_client"],
    &["operator"],
    &["workers"],
    &["console", "dev"],
    &["app"],
    &["cli"],
];

/// Modules that every layer above the domain may use. They use the domain and each other.
const LEAVES: [&str; 4] = ["settings", "telemetry", "health", "metrics"];

/// The modules of the domain, from the bottom up. Each imports from its own line and the lines above it.
const DOMAIN: [&[&str]; 6] = [
    &["event", "fault", "json", "trace_context"],
    &["value"],
    &["contact"],
    &["webhook"],
    &["trigger"],
    &["chain"],
];

/// Signs of waiting, the outside world, clocks, randomness and logs.
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

/// Attributes that clippy accepts once they have a reason.
const BANNED_ATTRIBUTES: [(&str, &str); 2] = [
    ("#![allow(", "use #![expect(lint, reason = \"…\")], which reports when it is no longer needed"),
    ("#[ignore", "fix the test or delete it"),
];

const MAX_FILE_LINES: usize = 400;

struct Source {
    path: PathBuf,
    text: String,
    /// The text with comments and literals blanked out. Lines stay.
    code: String,
    /// The code without tests; empty for a file of tests.
    untested: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// `["workers", "webhook"]` for `src/workers/webhook.rs`. Empty for the crate's roots and outside of `src`.
    fn module(&self) -> Module {
        let inside = self.path.strip_prefix("src").unwrap_or(Path::new("")).with_extension("");
        let module: Module = inside.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        if module == ["lib"] || module == ["main"] { Module::new() } else { module }
    }

    fn is_below(&self, top: &str) -> bool {
        self.module().first().is_some_and(|first| first == top)
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
    let mut test_modules = BTreeSet::new();
    let mut read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = blank(&text);
        let (untested, tests) = without_tests(&code);
        let tests: Vec<_> = tests.into_iter().map(str::to_owned).collect();
        let source = Source { path, text, code, untested };
        test_modules.extend(tests.into_iter().map(|name| [source.module(), vec![name]].concat()));
        source
    };
    let mut sources: Vec<Source> = tree().into_iter().filter(wanted).map(&mut read).collect();
    for source in &mut sources {
        let module = source.module();
        if (1..=module.len()).any(|length| test_modules.contains(&module[..length])) {
            source.untested.clear();
        }
    }
    sources
}

/// The imports among files below `src`, each with its source.
fn all_imports<'a>(sources: &'a [Source], code: fn(&Source) -> &str) -> Vec<(&'a Source, Import)> {
    let mut files: BTreeSet<Module> = sources.iter().map(Source::module).collect();
    files.remove(&[][..]);
    let of = |source: &'a Source| {
        let module = source.module();
        let found = if module.is_empty() { Vec::new() } else { imports(&module, code(source), &files) };
        found.into_iter().map(move |import| (source, import))
    };
    sources.iter().flat_map(of).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn level(levels: &[&[&str]], module: &str) -> Option<usize> {
    levels.iter().position(|level| level.contains(&module))
}

/// Whether `from` may use `to`. Nothing when one of them is in neither list.
fn allowed(from: &str, to: &str) -> Option<bool> {
    let is_leaf = |module: &str| LEAVES.contains(&module);
    Some(match (level(&LAYERS, from), level(&LAYERS, to)) {
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
    let sources = sources();
    let mut faults = Vec::new();
    for (source, import) in all_imports(&sources, |source| &source.code) {
        let (from, to) = (&import.from[0], &import.to[0]);
        let place = format!("{}:{}", source.name(), import.line);
        match allowed(from, to) {
            Some(true) => (),
            Some(false) => faults.push(format!("{place}: {from} must not use {to}")),
            None => faults.push(format!("{place}: {from} or {to} has no place in LAYERS or LEAVES")),
        }
    }
    assert_none(&faults);
}

#[test]
fn modules_of_the_domain_import_in_order() {
    let sources = sources();
    let mut faults = Vec::new();
    for (source, import) in all_imports(&sources, |source| &source.untested) {
        let ([domain, from, ..], [_, to, ..]) = (&*import.from, &*import.to) else { continue };
        if domain != "domain" || import.to[0] != "domain" {
            continue;
        }
        match (level(&DOMAIN, from), level(&DOMAIN, to)) {
            (Some(from), Some(to)) if to <= from => (),
            (Some(_), Some(_)) => {
                faults.push(format!("{}:{}: {from} must not use {to}", source.name(), import.line));
            }
            _ => faults.push(format!("{}: {from} or {to} has no place in DOMAIN", source.name())),
        }
    }
    assert_none(&faults);
}

#[test]
fn no_modules_import_each_other() {
    let sources = sources();
    let imports = all_imports(&sources, |source| &source.untested);
    let imports: Vec<Import> = imports.into_iter().map(|(_, import)| import).collect();
    assert_none(&[cycles::among_files(&imports), cycles::among_siblings(&imports)].concat());
}

#[test]
fn the_domain_is_pure() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_below("domain")) {
        // Tests of the domain may wait, read files and log.
        for word in IMPURE.iter().filter(|word| contains_word(&source.untested, word)) {
            faults.push(format!("{}: `{word}` has no place in the domain", source.name()));
        }
    }
    assert_none(&faults);
}

/// Whether the code contains the word, but not as the beginning of a longer one: `.await`, not `.awaited`.
fn contains_word(code: &str, word: &str) -> bool {
    let in_word = |symbol: char| symbol.is_alphanumeric() || symbol == '_';
    code.match_indices(word)
        .any(|(start, _)| !(word.ends_with(in_word) && code[start + word.len()..].starts_with(in_word)))
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines >= MAX_FILE_LINES {
            faults.push(format!("{}: {lines} lines; files stay under {MAX_FILE_LINES}", source.name()));
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
fn banned_attributes_are_nowhere() {
    let mut faults = Vec::new();
    for source in sources() {
        for (word, instead) in BANNED_ATTRIBUTES.iter().filter(|(word, _)| source.code.contains(word)) {
            faults.push(format!("{}: `{word}`: {instead}", source.name()));
        }
    }
    assert_none(&faults);
}

/// Each setting has a comment in `config/default.toml` and no second default in the code. Reading the embedded
/// file rejects a key that it lacks.
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
    for source in sources().iter().filter(|source| source.is_below("settings")) {
        if source.code.contains("serde(default") {
            faults.push(format!("{}: a default beside config/default.toml", source.name()));
        }
    }
    assert_none(&faults);
}

/// The first migration runs on an empty database.
#[test]
fn later_migrations_stop_no_worker() {
    let mut faults = Vec::new();
    for path in tree().iter().filter(|path| path.starts_with("migrations")) {
        if path.ends_with("0001_schema.sql") {
            continue;
        }
        let found = migrations::faults(&fs::read_to_string(path).unwrap());
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display())));
    }
    assert_none(&faults);
}

#[test]
fn tables_of_inputs_name_their_sources() {
    let names = tables::Names::read(&fs::read_to_string("docs/sources.md").unwrap());
    let (mut counts, mut faults) = ([0; tables::KINDS.len()], Vec::new());
    let tops = ["cli", "domain", "http_client"];
    for source in sources().iter().filter(|source| tops.iter().any(|top| source.is_below(top))) {
        let rows = tables::rows(&source.text, &source.code);
        for kind in tables::kinds(&source.path) {
            counts[kind] += rows.len();
        }
        for row in rows.iter().filter(|row| !names.explain(row)) {
            faults.push(format!("{}:{}: no source but {:?}", source.name(), row.line, row.source));
        }
    }
    for ((kind, _), count) in tables::KINDS.iter().zip(counts).filter(|(_, count)| *count < tables::MIN_ROWS)
    {
        faults.push(format!("{kind}: {count} rows only"));
    }
    assert_none(&faults);
    assert!(counts.iter().sum::<usize>() > 1_500, "found {counts:?} rows only");
}

#[test]
fn nothing_of_one_machine_is_in_the_tree() {
    // In two parts, or this file would contain them itself.
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

#[test]
fn words_are_matched_whole() {
    assert!(contains_word("now().await;", ".await"));
    assert!(!contains_word("plan.awaited", ".await"));
    assert!(contains_word("async fn f() {}", "async "));
}

#[test]
fn layers_allow_only_lower_ones() {
    assert_eq!(allowed("amqp", "domain"), Some(true));
    assert_eq!(allowed("amqp", "postgres"), Some(false));
    assert_eq!(allowed("amqp", "workers"), Some(false));
    assert_eq!(allowed("amqp", "settings"), Some(true));
    assert_eq!(allowed("settings", "amqp"), Some(false));
    assert_eq!(allowed("domain", "settings"), Some(false));
    assert_eq!(allowed("novelty", "domain"), None);
}
