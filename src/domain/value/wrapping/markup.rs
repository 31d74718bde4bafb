//! What chats and web pages put around or within a text to show it differently: tags, emphasis, escapes.

use crate::domain::value::text::after_prefix;

/// Elements that change how text looks.
const INLINE: [&str; 34] = [
    "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "mark", "code", "tt", "sup", "sub",
    "ins", "del", "abbr", "bdi", "bdo", "nobr", "wbr", "o:p", "label", "img", "meta", "link", "q", "cite",
    "kbd", "samp", "strike", "button", "input",
];
/// Elements that begin and end a line.
const BLOCK: [&str; 35] = [
    "p",
    "br",
    "div",
    "li",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "td",
    "th",
    "tr",
    "table",
    "tbody",
    "thead",
    "tfoot",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "html",
    "head",
    "body",
    "blockquote",
    "center",
    "hr",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "form",
];

/// A line break, a return and a tab after JSON, SQL or a shell has escaped them.
const ESCAPED_BREAKS: [&str; 3] = ["\\n", "\\r", "\\t"];
/// At both ends of a text.
const MAX_BREAKS: usize = 8;

/// Of elements around each other.
const MAX_ELEMENTS: usize = 4;

/// Removes known tags; those of a block become line breaks. `None` if there is none.
pub(super) fn without_tags(text: &str) -> Option<String> {
    if !text.contains('<') {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.find('<').and_then(|at| rest.split_at_checked(at)) {
        plain.push_str(before);
        if let Some((after, is_block)) = after_tag(tag) {
            plain.push_str(if is_block { "\n" } else { "" });
            rest = after;
        } else {
            plain.push('<');
            rest = tag.get(1..)?;
        }
    }
    plain.push_str(rest);
    (plain.len() < text.len()).then_some(plain)
}

/// Removes known tags at both ends. Within an identifier a tag would hide it from a search.
pub(super) fn without_tags_around(text: &str) -> Option<&str> {
    let mut inner = text.trim();
    while let Some((after, _)) = after_tag(inner) {
        inner = after.trim_start();
    }
    while let Some(at) = inner.rfind('<').filter(|_| inner.ends_with('>')) {
        let is_tag = |tag| after_tag(tag).is_some_and(|(after, _)| after.is_empty());
        match inner.split_at_checked(at) {
            Some((before, tag)) if is_tag(tag) => inner = before.trim_end(),
            _ => break,
        }
    }
    (inner.len() < text.len()).then_some(inner)
}

/// The text after the known tag or the comment at the start, and whether it is a block's.
fn after_tag(text: &str) -> Option<(&str, bool)> {
    let inner = text.strip_prefix('<')?;
    if let Some(comment) = inner.strip_prefix("!--") {
        return comment.split_once("-->").map(|(_, after)| (after, false));
    }
    if let Some(doctype) = after_prefix(inner, "!doctype") {
        return doctype.split_once('>').map(|(_, after)| (after, true));
    }
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let end = inner.find(['>', '/', ' ', '\u{a0}'])?;
    let name = inner.get(..end)?;
    let is_named = |known: &&str| known.eq_ignore_ascii_case(name);
    let is_block = BLOCK.iter().any(is_named);
    if !is_block && !INLINE.iter().any(is_named) {
        return None;
    }
    let (attributes, after) = inner.split_once('>')?;
    // An address in angle brackets is not a tag: `<b @x.example>`.
    (!attributes.contains(['<', '@'])).then_some((after, is_block))
}

/// The text within elements of XML that are around all of it: `<value>Ana</value>`. With another element beside it, it stays.
pub(super) fn without_elements(text: &str) -> Option<&str> {
    if !text.starts_with('<') || !text.ends_with('>') {
        return None;
    }
    let mut inner = text;
    for _ in 0..MAX_ELEMENTS {
        inner = within_element(inner)?;
        if !inner.contains("</") {
            return (!inner.contains("/>")).then_some(inner);
        }
    }
    None
}

fn within_element(text: &str) -> Option<&str> {
    let (tag, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
    let name = tag.split(' ').next()?;
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    let inner = rest.strip_suffix('>')?.strip_suffix(name)?.strip_suffix("</")?;
    (is_name && !tag.contains(['<', '@'])).then_some(inner)
}

/// Takes off XML's marks around a text without markup.
pub(super) fn without_cdata(text: &str) -> Option<&str> {
    text.strip_prefix("<![CDATA[")?.strip_suffix("]]>")
}

/// Takes off line breaks and tabs at both ends that were escaped twice, so that a backslash and a letter are left.
pub(super) fn without_escaped_breaks(text: &str) -> Option<&str> {
    if !text.contains('\\') {
        return None;
    }
    let mut inner = text;
    for _ in 0..MAX_BREAKS {
        if let Some(rest) = ESCAPED_BREAKS.iter().find_map(|escape| inner.strip_suffix(escape)) {
            inner = rest.trim_end();
        } else if let Some(escape) = ESCAPED_BREAKS.iter().find(|escape| inner.starts_with(**escape)) {
            inner = inner.get(escape.len()..)?.trim_start();
        } else {
            break;
        }
    }
    (inner.len() < text.len()).then_some(inner)
}

/// Removes the backslashes before punctuation that Telegram, Markdown, PHP and JSON put there, and decodes JSON's
/// `\u00e9`. Other letters after a backslash stay: `AC\DC`.
pub(super) fn without_escapes(text: &str) -> Option<String> {
    let (start, mut rest) = text.split_once('\\')?;
    let mut plain = start.to_owned();
    loop {
        if let Some((c, after)) = json_escape(rest) {
            plain.push(c);
            rest = after;
        } else if !rest.starts_with(|next: char| "_*[]()~`>#+-=|{}.!'\"@&/:<,;".contains(next)) {
            plain.push('\\');
        }
        let Some((before, after)) = rest.split_once('\\') else { break };
        plain.push_str(before);
        rest = after;
    }
    plain.push_str(rest);
    (plain.len() < text.len()).then_some(plain)
}

/// The character of `u00e9`, or of `ud83d\ude00` with its second half, and the text after it.
fn json_escape(text: &str) -> Option<(char, &str)> {
    let (first, after) = utf16_unit(text)?;
    let second = after.strip_prefix('\\').and_then(utf16_unit);
    let (units, after) = match second.filter(|_| (0xd800..0xdc00).contains(&first)) {
        Some((second, after)) => (vec![first, second], after),
        None => (vec![first], after),
    };
    let c = char::decode_utf16(units).next()?.ok()?;
    Some((c, after))
}

fn utf16_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, after) = text.strip_prefix('u')?.split_at_checked(4)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u16::from_str_radix(digits, 16).ok())?.map(|unit| (unit, after))
}

/// Takes off asterisks, underscores or tildes around the text. In free text the same mark must not be within,
/// because the text is then more than one emphasized part.
pub(super) fn without_emphasis(text: &str, is_free_text: bool) -> Option<&str> {
    let mark = text.chars().next().filter(|c| matches!(c, '*' | '_' | '~'))?;
    let inner = text.trim_start_matches(mark);
    let before = text.len() - inner.len();
    let inner = inner.trim_end_matches(mark);
    let after = text.len() - before - inner.len();
    let is_pair = before == after && before <= 3;
    let is_tight = !inner.is_empty() && inner.trim() == inner;
    (is_pair && is_tight && !(is_free_text && inner.contains(mark))).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_removed() {
        for (text, expected) in [
            ("<p>Ana</p>", Some("\nAna\n")),
            ("Ana<br>Souza<BR/>", Some("Ana\nSouza\n")),
            ("<span style=\"color: red\">Ana</span>", Some("Ana")),
            ("<b>Ana</b> <i>Souza</i>", Some("Ana Souza")),
            ("<o:p>Ana</o:p>", Some("Ana")),
            ("<!--StartFragment-->Ana<!--EndFragment-->", Some("Ana")),
            ("<meta charset='utf-8'><span>Ana</span>", Some("Ana")),
            ("<!DOCTYPE html><html><body>Ana</body></html>", Some("\n\n\nAna\n\n")),
            ("<center><h5>Ana</h5></center>", Some("\n\nAna\n\n")),
            ("<label>Ana</label>", Some("Ana")),
            ("Ana <!-- b", None),
            ("<!x>", None),
            ("<3 Ana", None),
            ("<name>", None),
            ("<br", None),
            ("a < b > c", None),
            ("<base>", None),
            ("Ana <b@x.example>", None),
            ("Ana", None),
        ] {
            assert_eq!(without_tags(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn tags_around_are_removed() {
        for (text, expected) in [
            ("<div><b>85</b></div>", Some("85")),
            ("<p>85 <b>99999</b>-0001</p>", Some("85 <b>99999</b>-0001")),
            ("85<br>", Some("85")),
            ("85 <b>", Some("85")),
            ("85", None),
            ("Ana <ada@x.example>", None),
            ("<b@x.example>", None),
            ("<!--StartFragment-->85<!--EndFragment-->", Some("85")),
        ] {
            assert_eq!(without_tags_around(text), expected, "{text}");
        }
    }

    #[test]
    fn elements_around_are_removed() {
        for (text, expected) in [
            ("<value>Ana Souza</value>", Some("Ana Souza")),
            ("<name xsi:type=\"x\">Ana</name>", Some("Ana")),
            ("<ns:answer>Ana</ns:answer>", Some("Ana")),
            ("<lead><name>Ana</name></lead>", Some("Ana")),
            ("<email>ada@x.example</email>", Some("ada@x.example")),
            ("<email><ada@x.example></email>", Some("<ada@x.example>")),
            ("<value></value>", Some("")),
            ("<name>Ana</name><email>x</email>", None),
            ("<lead><name>Ana</name><email>x</email></lead>", None),
            ("<email>ada@x.example</mail>", None),
            ("<value>Ana", None),
            ("<value>Ana<br/></value>", None),
            ("<ada@x.example>", None),
            ("Ana <value>Bia</value>", None),
            ("<3>Ana</3>", None),
            ("Ana", None),
        ] {
            assert_eq!(without_elements(text), expected, "{text}");
        }
    }

    #[test]
    fn escapes_are_removed() {
        for (text, expected) in [
            ("ada\\_l@x\\.example", Some("ada_l@x.example")),
            ("\\+55 85 99999\\-0001", Some("+55 85 99999-0001")),
            ("O\\'Neil", Some("O'Neil")),
            ("Jos\\u00e9 \\ud83d\\ude00", Some("José 😀")),
            ("AC\\DC \\unit \\ud83d \\u12", None),
            ("a\\b\\", None),
            ("\\\\", None),
            ("Ana", None),
        ] {
            assert_eq!(without_escapes(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn marks_of_xml_and_escaped_breaks_are_taken_off() {
        assert_eq!(without_cdata("<![CDATA[Ana]]>"), Some("Ana"));
        assert_eq!(without_cdata("<![CDATA[Ana"), None);
        for (text, expected) in [
            ("Ana\\n", Some("Ana")),
            ("\\r\\nAna \\t", Some("Ana")),
            ("Ana\\nSouza", None),
            ("C:\\new", None),
            ("Ana", None),
        ] {
            assert_eq!(without_escaped_breaks(text), expected, "{text}");
        }
    }

    #[test]
    fn emphasis_is_taken_off() {
        for (text, expected) in [
            ("*Ana*", Some("Ana")),
            ("**Ana Souza**", Some("Ana Souza")),
            ("***Ana***", Some("Ana")),
            ("_Ana_", Some("Ana")),
            ("~~Ana~~", Some("Ana")),
            ("*Ana* e *Bia*", None),
            ("*Ana", None),
            ("50% off*", None),
            ("**Ana*", None),
            ("* Ana *", None),
            ("***", None),
            ("_", None),
            ("Ana", None),
        ] {
            assert_eq!(without_emphasis(text, true), expected, "{text}");
        }
        assert_eq!(without_emphasis("_ada_l@x.example_", false), Some("ada_l@x.example"));
    }
}
