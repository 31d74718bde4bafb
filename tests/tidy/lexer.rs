//! As much of Rust's grammar as the checks need: which text is code, and which code is tests.

/// The text with comments, strings and characters replaced by blanks. Lines stay.
pub(crate) fn blank(text: &str) -> String {
    let symbols: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&symbol) = symbols.get(at) {
        let rest = &symbols[at..];
        let after_word = at > 0 && (symbols[at - 1].is_alphanumeric() || symbols[at - 1] == '_');
        let length = match symbol {
            '/' if rest.starts_with(&['/', '/']) => rest.iter().take_while(|&&next| next != '\n').count(),
            '/' if rest.starts_with(&['/', '*']) => block_comment(rest),
            '"' => string(rest),
            'r' if !after_word || at > 0 && symbols[at - 1] == 'b' => raw_string(rest).unwrap_or(0),
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            code.push(symbol);
            at += 1;
            continue;
        }
        code.extend(rest[..length].iter().map(|&hidden| if hidden == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    code
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&next| next == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(())?;
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let start = hashes + 2;
    let length = rest[start..].windows(end.len()).position(|window| window == end)?;
    Some(start + length + end.len())
}

/// A character literal, but not a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    if rest.get(1) == Some(&'\\') {
        // The escaped character may itself be a quote.
        return Some(rest.iter().skip(3).position(|&next| next == '\'')? + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

/// The code without the items under `#[cfg(test)]`, and the names of the modules among these. Lines stay.
pub(crate) fn without_tests(code: &str) -> (String, Vec<&str>) {
    let mut kept = String::with_capacity(code.len());
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        let (item, after) = after.split_at(item_length(after));
        modules.extend(module_name(item));
        kept.push_str(before);
        kept.extend(item.chars().filter(|&symbol| symbol == '\n'));
        rest = after;
    }
    (kept + rest, modules)
}

/// The length of an item, up to its `;` or the end of its block.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    let end = code.find(|symbol| {
        depth += i32::from("([{".contains(symbol)) - i32::from(")]}".contains(symbol));
        depth == 0 && [';', '}'].contains(&symbol)
    });
    end.map_or(code.len(), |end| end + 1)
}

fn module_name(item: &str) -> Option<&str> {
    let mut words = item.split(|symbol: char| symbol != '_' && !symbol.is_alphanumeric());
    words.find(|word| *word == "mod")?;
    words.next()
}

#[test]
fn comments_and_literals_are_blanked() {
    for (text, code) in [
        ("a // b", "a     "),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a "b\"c" d"#, "a        d"),
        (r##"a r#"b"c"# d"##, "a          d"),
        ("a '\\'' b '\"' c", "a      b     c"),
        ("&'a str", "&'a str"),
        ("\"a\nb\"", "  \n  "),
    ] {
        assert_eq!(blank(text), code, "{text}");
    }
}

#[test]
fn tests_are_left_out() {
    let code = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\npub(crate) mod c { fn d([u8; 1]) {} }\ne";
    assert_eq!(without_tests(code), ("a\n\n\nb\n\n\ne".to_owned(), vec!["tests", "c"]));
}
