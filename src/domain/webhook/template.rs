//! Text with `$variable`s in it: where the variables stand, and how long their names may be.
//! What a name means is in [`super::variables`]; how a value is written into its place is in
//! [`super::action::render`]. A template is parsed once and rendered often.
//!
//! A `$` begins a variable when a letter or `_` follows it; any other `$` is plain text, so `$$` and
//! `$5` need no escape and have none. A name is the longest run of letters, digits and `_`, followed by
//! any number of `.more`, `-more` or `[0]`. Those tails belong to the name only where such a name
//! exists: `$name.` ends a sentence, `$name-x` is `$name` and `-x`, `$contact.id` is one name. The
//! run itself is never cut short: `$names` is not `$name` and an `s`.

/// A text, cut into plain pieces and references to variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Written as it is.
    Text(Box<str>),
    /// Replaced by a variable's value.
    Variable(Reference),
}

/// A place in a template where a `$variable` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// With the `$`, tails included.
    written: Box<str>,
    /// Where a name may end in `written`, longest first. Each is a character boundary.
    ends: Box<[usize]>,
}

impl Reference {
    /// The reference as the author wrote it, with the `$` and every possible tail.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The names that this may be, longest first, each with the text that would follow it.
    pub fn candidates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends.iter().filter_map(|end| Some((self.written.get(1..*end)?, self.written.get(*end..)?)))
    }
}

impl Template {
    /// Parses a text. Every text is a template.
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

    /// The parts, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether there is a variable in it.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable(_)))
    }

    /// The text, when there is no variable in it.
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
    while let Some(tail) = text.get(end..).and_then(tail) {
        end += tail;
        ends.push(end);
    }
    ends.reverse();
    Some(Reference { written: text.get(..end)?.into(), ends: ends.into() })
}

/// How long a `.more`, `-more` or `[0]` at the start of `text` is.
fn tail(text: &str) -> Option<usize> {
    let rest = text.get(1..)?;
    match text.chars().next()? {
        '.' | '-' => Some(run(rest)).filter(|length| *length > 0).map(|length| 1 + length),
        '[' => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (digits > 0 && rest.get(digits..)?.starts_with(']')).then_some(digits + 2)
        }
        _ => None,
    }
}

/// How many bytes of letters, digits and `_` (and the combining accents of decomposed letters) come first.
fn run(text: &str) -> usize {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || ('\u{300}'..='\u{36f}').contains(&c);
    text.find(|c| !is_inside(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn names_are_found() {
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
    }

    #[test]
    fn other_dollars_are_text() {
        check("$", &["$"]);
        check("$$", &["$$"]);
        check("$$name", &["$", "<name>"]);
        check("$5 and $ 6", &["$5 and $ 6"]);
        check("a$", &["a$"]);
        check("${name}", &["${name}"]);
        check("{{name}}", &["{{name}}"]);
    }

    #[test]
    fn what_follows_a_shorter_name_is_kept() {
        let template = Template::parse("$a.b-c");
        let [Piece::Variable(reference)] = template.pieces() else { panic!("one reference") };
        let candidates: Vec<_> = reference.candidates().collect();
        assert_eq!(candidates, [("a.b-c", ""), ("a.b", "-c"), ("a", ".b-c")]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(text in "[$a-c_.\\[\\]0 é-]{0,30}") {
            let written: String = Template::parse(&text).pieces().iter().map(|piece| match piece {
                Piece::Text(text) => text.as_ref(),
                Piece::Variable(reference) => reference.as_written(),
            }).collect();
            proptest::prop_assert_eq!(written, text);
        }
    }
}
