//! Lists and objects that a program has printed: `['Ana', None]`, `{"name":"Ana","email":null}`, `Lead(name='Ana')`. All of
//! the text must be one and be understood; otherwise it stays whole.

mod parts;

use std::borrow::Cow;

use super::quotes;
pub(in crate::domain) use parts::numbers_of_members;

/// What a program calls the only thing that it returns.
const ONLY: [&str; 5] = ["value", "output", "text", "result", "raw"];
/// What languages print for nothing.
const NOTHING: [&str; 10] =
    ["null", "NULL", "None", "nil", "undefined", "undef", "NaN", "nan", "<NA>", "Nothing"];

/// What ends a text in quotes or a word without them.
const DELIMITERS: [char; 6] = [',', ']', ')', '}', ':', '='];

const BRACKETS: [(char, char); 3] = [('[', ']'), ('(', ')'), ('{', '}')];

/// Whether this is what a language prints for nothing.
pub(super) fn is_nothing(text: &str) -> bool {
    NOTHING.contains(&text)
}

/// The items of a printed list of several, at least one of them in quotes. Empty items are nothing.
pub(in crate::domain) fn printed_items(text: &str) -> Option<Vec<&str>> {
    if !text.ends_with([']', ')', '}']) {
        return None;
    }
    let inner = BRACKETS.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))?;
    let (mut items, mut has_quotes) = (Vec::new(), false);
    let mut rest = inner.trim_end_matches([',', ' ']);
    loop {
        has_quotes |= rest.trim_start().trim_start_matches(['u', 'b']).starts_with(['\'', '"']);
        let (item, after) = literal(rest)?;
        items.push(item);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => break,
            None => return None,
        }
    }
    (has_quotes && items.len() > 1).then_some(items)
}

/// The value of the one member of a printed object that has one of these names, lists of `label`, or of its only member, or
/// of members that are parts of a value. Empty if it is nothing.
pub(super) fn member<'a>(names: &[&str], text: &'a str) -> Option<Cow<'a, str>> {
    let mut rest = body(text)?;
    let mut members = Vec::new();
    loop {
        let (name, after) = member_name(rest)?;
        let (value, after) = literal(after)?;
        members.push((name, value));
        match after.strip_prefix(',').map(str::trim_start) {
            None if !after.is_empty() => return None,
            None | Some("") => break,
            Some(after) => rest = after,
        }
    }
    let mut found = members.iter().filter(|(name, _)| parts::is_named(names, name));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(Cow::Borrowed(value)),
        (Some(_), Some(_)) => parts::joined(names, &members).map(Cow::Owned),
        (None, _) => match members.as_slice() {
            [(name, value)] if ONLY.contains(name) && !text.starts_with(['"', '\'']) => {
                Some(Cow::Borrowed(value))
            }
            _ => None,
        },
    }
}

/// Whether what follows a name in an object or a line of one is all of a value, not the rest of the object.
pub(super) fn is_whole(value: &str) -> bool {
    let value = value.trim();
    !value.contains([':', '=', '{'])
        && (!value.starts_with(['"', '\'']) || quotes::without_quotes(value).is_some())
}

/// What is in the braces of an object, also in a list of one or after its class; or a line of one: `"name": "Ana",`.
fn body(text: &str) -> Option<&str> {
    if !text.ends_with(['}', ')', ']', '"', '\'', ',']) {
        return None;
    }
    if text.starts_with(['"', '\'']) {
        return text.contains(':').then_some(text);
    }
    let text = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(object) => object.trim(),
        None => text,
    };
    let class = text.find(['{', '(', '['])?;
    let (class, object) = text.split_at_checked(class)?;
    let is_class = class.starts_with(|c: char| c.is_ascii_uppercase())
        && class.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    BRACKETS.iter().find_map(|(open, close)| {
        let inner = object.strip_prefix(*open)?.strip_suffix(*close)?;
        (is_class || class.is_empty() && *open == '{').then_some(inner)
    })
}

/// The name of the member at the start, and what follows its colon, equals sign or arrow.
fn member_name(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    // Ruby's symbols.
    let text = text.strip_prefix(':').unwrap_or(text);
    let (name, after) = if text.starts_with(['"', '\'']) {
        literal(text)?
    } else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        text.split_at_checked(end)?
    };
    let after = after.trim_start();
    let value = after.strip_prefix("=>").or_else(|| after.strip_prefix([':', '=']))?;
    (!name.is_empty()).then_some((name, value))
}

/// The text in quotes, the number or the word for nothing at the start, and what follows it, without spaces between.
fn literal(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    // Python's prefixes for bytes and Unicode.
    let quoted = text.strip_prefix(['u', 'b']).filter(|rest| rest.starts_with(['\'', '"'])).unwrap_or(text);
    if let Some(quote) = quoted.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inner = quoted.get(1..)?;
        let (value, after) = inner.split_at_checked(closing(inner, quote)?)?;
        return Some((value, after.get(1..)?.trim_start()));
    }
    let end = text.find(DELIMITERS).unwrap_or(text.len());
    let (word, after) = text.split_at_checked(end)?;
    let word = word.trim_end();
    let is_value = || matches!(word, "true" | "false" | "True" | "False") || is_number(word);
    if is_nothing(word) { Some(("", after)) } else { is_value().then_some((word, after)) }
}

/// Whether the text is a number as programs print it.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+'))
}

/// Where the quote is that ends the text: a delimiter follows it. Before it there are only escaped quotes and apostrophes.
fn closing(inner: &str, quote: char) -> Option<usize> {
    let (mut is_escaped, mut before) = (false, None);
    for (at, c) in inner.char_indices() {
        if c == quote && !is_escaped {
            let after = inner.get(at + 1..)?;
            let is_apostrophe = quote == '\''
                && before.is_some_and(char::is_alphanumeric)
                && after.starts_with(char::is_alphanumeric);
            if !is_apostrophe {
                let after = after.trim_start();
                return (after.is_empty() || after.starts_with(DELIMITERS)).then_some(at);
            }
        }
        is_escaped = c == '\\' && !is_escaped;
        before = Some(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::label;

    #[test]
    fn members_of_objects_are_found() {
        for (text, expected, source) in [
            ("{\"name\":\"Ana Souza\"}", "Ana Souza", "RFC 8259, 4: an object as text"),
            ("{\"nome\":\"Ana Souza\",\"email\":\"x\"}", "Ana Souza", "as above: two members"),
            ("{ \"email\": null, \"name\": \"Ana Souza\" }", "Ana Souza", "as above: with spaces"),
            ("[{\"name\":\"Ana Souza\",\"age\":30}]", "Ana Souza", "as above: a list of one"),
            ("{\"name\":null}", "", "as above: null"),
            ("\"name\": \"Ana Souza\",", "Ana Souza", "RFC 8259, 4: a line of an object"),
            ("\"name\": \"Ana Souza\", \"email\": \"x\"", "Ana Souza", "as above: two members"),
            ("\"name\": null,", "", "as above: null"),
            ("{'name': 'Ana Souza', 'email': None}", "Ana Souza", "Python: a dictionary"),
            ("{'name': \"Ana O'Neil\"}", "Ana O'Neil", "Python: an apostrophe"),
            ("{'name': 'Ana O'Neil'}", "Ana O'Neil", "as above: not escaped"),
            ("{\"name\":\"Ana \\\"B\\\" Souza\"}", "Ana \\\"B\\\" Souza", "RFC 8259, 7: escaped quotes"),
            ("{'name': None}", "", "Python: a dictionary"),
            ("{'name': nan}", "", "pandas: a row as a dictionary"),
            (
                "{ name: 'Ana Souza', email: undefined }",
                "Ana Souza",
                "https://nodejs.org/api/util.html: inspect",
            ),
            ("{:name=>\"Ana Souza\", :email=>nil}", "Ana Souza", "Ruby: a hash"),
            ("{\"name\"=>\"Ana Souza\"}", "Ana Souza", "Ruby: a hash"),
            (
                "Lead(name='Ana Souza', email=None)",
                "Ana Souza",
                "https://docs.python.org/3/library/dataclasses.html",
            ),
            ("Lead(name=None)", "", "as above: nothing"),
            ("Lead{name='Ana Souza', age=30}", "Ana Souza", "Java: a class that prints its members"),
        ] {
            assert_eq!(member(&[label::NAME], text).as_deref(), Some(expected), "{text} ({source})");
        }
        for text in [
            "{\"email\":\"x\"}",
            "{\"name\":\"Ana\",\"nome\":\"Bia\"}",
            "{\"name\":{\"first\":\"Ana\"}}",
            "{\"name\":\"Ana\"",
            "{\"name\":\"Ana\" \"x\"}",
            "{name: Ana}",
            "{Ana}",
            "Ana (nome: 'Bia')",
            "ana(name='Bia')",
            "\"Teles\" e \"Filhos\"",
            "\"Ana\"",
            "Ana",
            "{}",
            "[]",
            "",
        ] {
            assert_eq!(member(&[label::NAME], text), None, "{text}");
        }
    }

    #[test]
    fn members_in_camel_case_and_parts_are_found() {
        for (text, expected, source) in [
            ("{\"fullName\":\"Ana Souza\"}", "Ana Souza", "JavaScript: camel case"),
            ("{\"firstName\":\"Ana\",\"lastName\":\"Souza\"}", "Ana Souza", "JavaScript: two parts"),
            (
                "{\"last_name\":\"Souza\",\"first_name\":\"Ana\"}",
                "Ana Souza",
                "Python: two parts in any order",
            ),
            ("{\"firstName\":\"Ana\",\"lastName\":null}", "Ana", "JavaScript: one part"),
            (
                "{\"nome\":\"Ana Souza\",\"sobrenome\":\"Souza\"}",
                "Ana Souza",
                "as above: the second in the first",
            ),
            ("{\"output\":\"Ana Souza\"}", "Ana Souza", "n8n: what an agent returns"),
            ("{\"value\":\"Ana\"}", "Ana", "n8n: the only member"),
        ] {
            assert_eq!(member(&[label::NAME], text).as_deref(), Some(expected), "{text} ({source})");
        }
        for (text, expected, source) in [
            (r#"{"ddd":"85","numero":"988124471"}"#, Some("85 988124471"), "RFC 8259, 4: an object as text"),
            (
                r#"{"ddi":"55","ddd":"85","numero":"988124471"}"#,
                Some("+55 85 988124471"),
                "as above: three parts",
            ),
            (r#"{"ddi":"055","numero":"988124471"}"#, Some("+55 988124471"), "as above: no area"),
            (r#"{"country_code":"","phone":"85988124471"}"#, Some("85988124471"), "as above: no country"),
            (r#"{"country_code":"55","phone":null}"#, Some(""), "as above: no number"),
            (r#"{"country_code":"BR","phone":"85988124471"}"#, None, "as above: no code"),
            (r#"{"ddd":"85","telefone":"33445567","celular":"988124471"}"#, None, "as above: two numbers"),
        ] {
            assert_eq!(member(&[label::PHONE], text).as_deref(), expected, "{text} ({source})");
        }
        let text = r#"{"emailAddress":"ana@firma.io"}"#;
        assert_eq!(member(&[label::EMAIL], text).as_deref(), Some("ana@firma.io"));
    }

    #[test]
    fn items_of_lists_are_found() {
        for (text, expected, source) in [
            ("['Ana Souza', 'N/A']", ["Ana Souza", "N/A"].as_slice(), "Python: a list"),
            ("('Ana Souza', None)", &["Ana Souza", ""], "Python: a tuple"),
            ("[\"5585999990001\", null]", &["5585999990001", ""], "RFC 8259, 5: an array as text"),
            ("[u'Ana', u'']", &["Ana", ""], "https://docs.python.org/2/library/functions.html#unicode"),
            ("{'Ana', nan, 3}", &["Ana", "", "3"], "Python: a set"),
            ("['Ana, Bia', 'Zé',]", &["Ana, Bia", "Zé"], "Python: commas within and at the end"),
        ] {
            assert_eq!(printed_items(text).as_deref(), Some(expected), "{text} ({source})");
        }
        for text in [
            "['Ana']",
            "[Ana, Bia]",
            "[1, 2]",
            "(null, null)",
            "['Ana', Bia]",
            "['Ana' 'Bia']",
            "['Ana', 'B",
            "",
            "[]",
        ] {
            assert_eq!(printed_items(text), None, "{text}");
        }
    }

    #[test]
    fn rests_of_objects_are_no_values() {
        for text in ["Ana", " Ana Souza", "\"Ana\"", "Bar 'Zé'"] {
            assert!(is_whole(text), "{text}");
        }
        for text in ["\"Ana\", \"email\"", "\"Ana\",\"email\":\"x\"", "Ana, email: x", "{\"first\":\"Ana\"}"]
        {
            assert!(!is_whole(text), "{text}");
        }
    }
}
