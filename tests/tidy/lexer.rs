//! As much of Rust's grammar as the checks need: what is code, and where functions begin and end.

/// The text with the insides of comments, strings and characters replaced by blanks; lines stay.
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
        // The escaped one may itself be a quote.
        return Some(rest.iter().skip(3).position(|&next| next == '\'')? + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

/// Name, first line and number of lines of every function that has a body.
pub(crate) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (start, word) in code.match_indices("fn ") {
        let rest = &code[start + word.len()..];
        let name: String = rest.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect();
        let is_word = !code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let Some(opening) = rest.find(['{', ';']).filter(|_| is_word && !name.is_empty()) else { continue };
        if rest[opening..].starts_with(';') {
            continue;
        }
        let mut depth = 0;
        let closing = rest[opening..].find(|symbol| {
            depth += i32::from(symbol == '{') - i32::from(symbol == '}');
            depth == 0
        });
        let end = opening + closing.unwrap_or(rest.len() - opening - 1);
        let line = code[..start].matches('\n').count() + 1;
        found.push((name, line, rest[..end].matches('\n').count() + 1));
    }
    found
}

#[test]
fn comments_and_literals_are_no_code() {
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
fn functions_have_lines() {
    let code = "trait T { fn a(&self); }\nfn b() {\n  { 1 }\n}\nconst fn c() { }\nlet f: fn (u8) = d;";
    let names: Vec<_> = functions(code).into_iter().collect();
    assert_eq!(names, [("b".to_owned(), 2, 3), ("c".to_owned(), 5, 1)]);
}
