//! Text with `$variable`s: where they are, and how far their names reach. [`super::variables`] resolves the
//! names; [`super::action::render`] inserts the values. A template is parsed once and rendered often.
//!
//! A `$` begins a variable if a letter or `_` follows. Any other `$` is plain text, so `$$` and `$5` need no
//! escape, and there is none. A name is the longest run of letters with their marks, digits and `_`, followed by any number of
//! `.more`, `-more` or `[0]`, or a joiner and more letters, which in Persian may be a suffix. Such a tail belongs to the name only if a
//! variable with that name exists: `$name.` ends a sentence, `$name-x` is `$name` and `-x`, `$contact.id` is one name. After sixteen tails
//! comes text. The run itself is never cut short: `$names` is not `$name` and an `s`.

use crate::domain::value::text::{is_joiner, is_mark};

/// Tails of a name. No variable has more.
const MAX_TAILS: usize = 16;

/// A text, split into plain pieces and references to variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Copied as it is.
    Text(Box<str>),
    /// Replaced by a variable's value.
    Variable(Reference),
}

/// A `$variable` in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// With the `$`, tails included.
    written: Box<str>,
    /// Possible ends of the name in `written`, longest first. Each is a character boundary.
    ends: Box<[usize]>,
}

impl Reference {
    /// The reference as the author wrote it, with the `$` and every possible tail.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The possible names, longest first, each with the text that would follow it.
    pub fn candidates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends.iter().filter_map(|end| Some((self.written.get(1..*end)?, self.written.get(*end..)?)))
    }
}

impl Template {
    /// Never fails: every text is a template.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let (mut plain_from, mut at) = (0, 0);
        while let Some(offset) = text.get(at..).and_then(|rest| rest.find('$')) {
            let dollar = at + offset;
            let Some(reference) = text.get(dollar..).and_then(reference) else {
                at = dollar + 1;
                continue;
            };
            push_text(&mut pieces, text.get(plain_from..dollar));
            at = dollar + reference.written.len();
            plain_from = at;
            pieces.push(Piece::Variable(reference));
        }
        push_text(&mut pieces, text.get(plain_from..));
        Self { pieces }
    }

    /// In the order of the text.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether rendering depends on values.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable(_)))
    }

    /// The text, if it has no variables.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        pieces.push(Piece::Text(text.into()));
    }
}

/// The reference at the start of `text`, which begins with `$`.
fn reference(text: &str) -> Option<Reference> {
    let first = text.get(1..)?.chars().next()?;
    if !first.is_alphabetic() && first != '_' {
        return None;
    }
    let mut end = 1 + run(text.get(1..)?);
    let mut ends = vec![end];
    while let Some(tail) = text.get(end..).filter(|_| ends.len() <= MAX_TAILS).and_then(tail) {
        end += tail;
        ends.push(end);
    }
    ends.reverse();
    Some(Reference { written: text.get(..end)?.into(), ends: ends.into() })
}

/// The length of a `.more`, `-more` or `[0]`, or of a joiner and more letters, at the start of `text`.
fn tail(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let rest = text.get(first.len_utf8()..)?;
    match first {
        _ if matches!(first, '.' | '-') || is_joiner(first) => {
            Some(run(rest)).filter(|length| *length > 0).map(|length| first.len_utf8() + length)
        }
        '[' => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (digits > 0 && rest.get(digits..)?.starts_with(']')).then_some(digits + 2)
        }
        _ => None,
    }
}

/// The number of leading bytes that are letters, digits, `_`, or what stands on letters: accents, vowel signs, tone marks.
fn run(text: &str) -> usize {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || is_mark(c);
    text.find(|c| !is_inside(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::matching;

    fn check(text: &str, expected: &[&str]) {
        let show = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Variable(reference) => {
                format!("<{}>", reference.candidates().map(|(name, _)| name).collect::<Vec<_>>().join(" "))
            }
        };
        let shown: Vec<_> = Template::parse(text).pieces().iter().map(show).collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn variables_are_found_with_their_longest_names() {
        check("", &[]);
        check("plain", &["plain"]);
        check("$name", &["<name>"]);
        check("New $name lead", &["New ", "<name>", " lead"]);
        check("$name, $email.", &["<name>", ", ", "<email>", "."]);
        check("($name)", &["(", "<name>", ")"]);
        check("$a$b", &["<a>", "<b>"]);
        check("$session.id", &["<session.id session>"]);
        check("$images[0]", &["<images[0] images>"]);
        check("$images[0].x", &["<images[0].x images[0] images>"]);
        check("$images[]", &["<images>", "[]"]);
        check("$images[x]", &["<images>", "[x]"]);
        check("$images[1", &["<images>", "[1"]);
        check("$a-b", &["<a-b a>"]);
        check("$first_name2", &["<first_name2>"]);
        check("$_x", &["<_x>"]);
        check("$preço!", &["<preço>", "!"]);
        check("$prec\u{327}o!", &["<prec\u{327}o>", "!"]);
        check("$名前。", &["<名前>", "。"]);
        // Marks that are no letters: Thai, Hindi, Tamil, Malayalam, Persian.
        check("$ชื่อ!", &["<ชื่อ>", "!"]);
        check("$फ़ोन $नाम्", &["<फ़ोन>", " ", "<नाम्>"]);
        check("$பெயர்.", &["<பெயர்>", "."]);
        check("$പേര്", &["<പേര്>"]);
        check("$نام\u{200c}ها", &["<نام\u{200c}ها نام>"]);
        check("$name\u{200c}ها.", &["<name\u{200c}ها name>", "."]);
        check("$name\u{200d}", &["<name>", "\u{200d}"]);
    }

    #[test]
    fn names_have_few_tails() {
        let template = Template::parse(&format!("$x{}!", ".a".repeat(100_000)));
        let [Piece::Variable(reference), Piece::Text(rest)] = template.pieces() else { panic!("two pieces") };
        assert_eq!(reference.candidates().count(), 1 + MAX_TAILS);
        assert_eq!(reference.as_written().len() + rest.len(), 200_003);
    }

    #[test]
    fn dollars_without_a_name_are_text() {
        check("$", &["$"]);
        check("$$", &["$$"]);
        check("$$name", &["$", "<name>"]);
        check("$5 and $ 6", &["$5 and $ 6"]);
        check("a$", &["a$"]);
        check("${name}", &["${name}"]);
        check("{{name}}", &["{{name}}"]);
    }

    #[test]
    fn candidates_keep_the_text_after_the_name() {
        let template = Template::parse("$a.b-c");
        let [Piece::Variable(reference)] = template.pieces() else { panic!("one reference") };
        let candidates: Vec<_> = reference.candidates().collect();
        assert_eq!(candidates, [("a.b-c", ""), ("a.b", "-c"), ("a", ".b-c")]);
    }

    proptest::proptest! {
        #[test]
        fn pieces_add_up_to_the_text(text in matching("[$a-c_.\\[\\]0 é-]{0,30}")) {
            let written: String = Template::parse(&text).pieces().iter().map(|piece| match piece {
                Piece::Text(text) => text.as_ref(),
                Piece::Variable(reference) => reference.as_written(),
            }).collect();
            proptest::prop_assert_eq!(written, text);
        }
    }
}
