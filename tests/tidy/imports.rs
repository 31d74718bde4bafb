//! Which source file imports which: the paths that code names, resolved to files.

use std::{collections::BTreeSet, mem::take};

/// The names of a module from the crate's root: `["postgres", "deliveries"]`.
pub(crate) type Module = Vec<String>;

/// One file that names an item of another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Import {
    pub(crate) from: Module,
    pub(crate) to: Module,
    pub(crate) line: usize,
}

/// The imports of the file `from`: its paths that lead to other `files`. `mod x;` does not count, nor does
/// the bare name of a file's own child, `x::f()`: both only assemble the module.
pub(crate) fn imports(from: &Module, code: &str, files: &BTreeSet<Module>) -> Vec<Import> {
    let to_file = |(line, path): (usize, Module)| {
        let lengths = (1..=path.len()).rev();
        let to = lengths.map(|length| path[..length].to_vec()).find(|prefix| files.contains(prefix))?;
        (to != *from).then(|| Import { from: from.clone(), to, line })
    };
    paths(from, code).into_iter().filter_map(to_file).collect()
}

/// Every path in the code that begins with `crate`, `super` or `self`, as names from the crate's root, with
/// its line. A group yields one path for each of its items. The path in `pub(in …)` is left out: it uses nothing.
fn paths(module: &Module, code: &str) -> Vec<(usize, Module)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    // For each open brace the name of the module that it opens, if it opens one.
    let mut braces: Vec<Option<&str>> = Vec::new();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" => braces.push((at > 1 && text(at - 2) == "mod").then(|| text(at - 1))),
            "}" => drop(braces.pop()),
            start @ ("crate" | "super" | "self")
                if text(at + 1) == "::"
                    && (at == 0 || !["::", "$"].contains(&text(at - 1)))
                    && (at < 3 || [text(at - 3), text(at - 2), text(at - 1)] != ["pub", "(", "in"]) =>
            {
                let mut base = if start == "crate" { Module::new() } else { module.clone() };
                if start != "crate" {
                    base.extend(braces.iter().flatten().map(|&name| name.to_owned()));
                }
                at = tree(&tokens, at, &base, &mut found);
                continue;
            }
            _ => (),
        }
        at += 1;
    }
    found
}

/// Reads one path, which may end in a group, and returns the index of the token after it.
fn tree(tokens: &[(usize, &str)], start: usize, base: &Module, found: &mut Vec<(usize, Module)>) -> usize {
    let mut path = base.clone();
    let mut at = start;
    while let Some(&(line, name)) = tokens.get(at) {
        at += 1;
        match name {
            "{" => return group(tokens, at, &path, found),
            "super" => drop(path.pop()),
            "crate" | "self" | "*" => (),
            _ => path.push(name.to_owned()),
        }
        if tokens.get(at).is_none_or(|next| next.1 != "::") {
            found.push((line, path));
            break;
        }
        at += 1;
    }
    at
}

fn group(tokens: &[(usize, &str)], start: usize, base: &Module, found: &mut Vec<(usize, Module)>) -> usize {
    let mut at = start;
    while let Some(&(_, next)) = tokens.get(at) {
        match next {
            "}" => return at + 1,
            "," => at += 1,
            "as" => at += 2,
            _ => at = tree(tokens, at, base, found),
        }
    }
    at
}

/// Words, `::` and single symbols, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, mut rest) in code.lines().enumerate() {
        loop {
            rest = rest.trim_start();
            let is_word = |symbol: char| symbol.is_alphanumeric() || symbol == '_';
            let length = match rest.chars().next() {
                None => break,
                Some(symbol) if is_word(symbol) => rest.find(|symbol| !is_word(symbol)).unwrap_or(rest.len()),
                Some(_) if rest.starts_with("::") => 2,
                Some(symbol) => symbol.len_utf8(),
            };
            let (token, after) = take(&mut rest).split_at(length);
            found.push((number + 1, token));
            rest = after;
        }
    }
    found
}

#[test]
fn paths_are_found_in_imports_and_in_code() {
    let code = "use crate::{\n    amqp::{self, a, b as c},\n    domain,\n};
        pub(crate) use super::{super::x::*, y};
        fn f(&self) { self.crate_(); crate::cli::x(); std::crate::z; $crate::q }
        mod inner { use super::near; fn g() { self::h() } }";
    let found: Vec<_> = paths(&names("one::two"), code)
        .into_iter()
        .map(|(line, path)| format!("{line} {}", path.join("::")))
        .collect();
    assert_eq!(
        found,
        [
            "2 amqp",
            "2 amqp::a",
            "2 amqp::b",
            "3 domain",
            "5 x",
            "5 one::y",
            "6 cli::x",
            "7 one::two::near",
            "7 one::two::inner::h",
        ]
    );
}

#[test]
fn imports_lead_to_files() {
    let files = ["a", "a::b", "c"].map(names).into();
    let of = |from: &str, code: &str| {
        let imports = imports(&names(from), code, &files).into_iter();
        imports.map(|import| import.to.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(of("a", "mod b; use self::b::X; use crate::{a::Y, c}; use std::fmt;"), ["a::b", "c"]);
    assert_eq!(of("a::b", "pub(in crate::a) fn f() { for x in crate::c::X {} }"), ["c"]);
    assert_eq!(of("a::b", "use super::{X, super::c::Y}; fn f() { super::g(); crate::h() }"), ["a", "c", "a"]);
}

#[cfg(test)]
pub(crate) fn names(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}
