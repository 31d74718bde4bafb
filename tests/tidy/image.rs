//! The image is built from what `.dockerignore` lets through, so that must be all that the build reads.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// What cargo, sqlx and askama read besides the sources.
const READ: [&str; 5] = ["Cargo.toml", "Cargo.lock", "askama.toml", ".sqlx", "migrations"];

/// Paths without `..`, which `include_str!` and its like resolve from their file.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
        path
    })
}

/// The files that a source includes.
fn included(file: &Path, text: &str) -> BTreeSet<PathBuf> {
    let folder = file.parent().unwrap();
    let mut found = BTreeSet::new();
    for call in ["include_str!(", "include_bytes!(", "query_file!("] {
        for after in text.split(call).skip(1) {
            // The argument of a macro has no quotes.
            let quoted = after.trim_start().strip_prefix('"').and_then(|text| text.split('"').next());
            let Some(path) = quoted else { continue };
            // Queries are named from the root.
            found.insert(if call.starts_with("query") { path.into() } else { normal(&folder.join(path)) });
        }
    }
    found
}

#[test]
fn image_is_built_from_all_that_the_build_reads() {
    let ignore = fs::read_to_string(".dockerignore").unwrap();
    let allowed: Vec<&Path> =
        ignore.lines().filter_map(|line| line.strip_prefix('!')).map(Path::new).collect();
    let mut read: BTreeSet<PathBuf> = READ.iter().map(PathBuf::from).collect();
    let sources = super::sources();
    for source in
        sources.iter().filter(|source| source.path.starts_with("src") && !source.untested.is_empty())
    {
        read.extend(included(&source.path, &source.text));
        read.insert(source.path.clone());
    }
    assert!(read.iter().any(|path| path.ends_with("openapi.json")), "{read:?}");
    for path in &read {
        assert!(path.exists(), "{}", path.display());
        let is_there = allowed.iter().any(|allowed| path.starts_with(allowed));
        assert!(is_there, "{} is not in .dockerignore, so the image cannot be built", path.display());
    }
}
