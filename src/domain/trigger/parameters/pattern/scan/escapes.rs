//! Characters that are escaped, and classes.

use super::{Alternatives, FOREIGN, Scanner, UNUSABLE};

/// ECMA-262's classes without the brackets around them.
const CLASSES: [(char, &str); 6] = [
    ('d', "0-9"),
    ('D', "\\x00-/:-\u{10ffff}"),
    ('w', "A-Za-z0-9_"),
    ('W', "\\x00-/:-@\\[-\\^`\\{-\u{10ffff}"),
    ('s', "\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}"),
    (
        'S',
        "\\x00-\\x08\\x0e-\\x1f!-\u{9f}\u{a1}-\u{167f}\u{1681}-\u{1fff}\u{200b}-\u{2027}\u{202a}-\u{202e}\
         \u{2030}-\u{205e}\u{2060}-\u{2fff}\u{3001}-\u{fefe}\u{ff00}-\u{10ffff}",
    ),
];
/// ECMA-262's `[^]`.
const ANY: &str = "[\\x00-\u{10ffff}]";
/// ECMA-262's `\b` and `\B`, which know the letters of ASCII only.
const BOUNDARY: &str = "(?:(?<=[A-Za-z0-9_])(?![A-Za-z0-9_])|(?<![A-Za-z0-9_])(?=[A-Za-z0-9_]))";
const NO_BOUNDARY: &str = "(?:(?<=[A-Za-z0-9_])(?=[A-Za-z0-9_])|(?<![A-Za-z0-9_])(?![A-Za-z0-9_]))";

/// A Unicode class is as large as this many others.
const PROPERTY: usize = 16;

impl<'p> Scanner<'p> {
    pub(super) fn escape(&mut self) {
        let Some(c) = self.rest.next() else { return self.fault(UNUSABLE) };
        match c {
            'b' | 'B' => {
                self.scan.boundaries += 1;
                self.assertion(if c == 'b' { BOUNDARY } else { NO_BOUNDARY });
            }
            'A' => {
                self.foreign("^");
                self.innermost(Alternatives::anchor);
            }
            'z' => self.foreign("$"),
            // Python's `\Z` is the end, that of others may have a line feed after it.
            'Z' => self.foreign("\n?$"),
            'k' => self.named_reference(),
            '1'..='9' => {
                let more = self.leading(|c| c.is_ascii_digit());
                // More digits than a number can have are too many.
                let number = format!("{c}{more}").parse().unwrap_or(usize::MAX);
                self.reference(&[number]);
            }
            c => {
                if let Some(class) = class(c) {
                    return self.single(&format!("[{class}]"), 1);
                }
                let mut text = String::new();
                let width = self.character(c, &mut text);
                self.single(&text, width);
            }
        }
    }

    /// An anchor of other languages.
    fn foreign(&mut self, text: &str) {
        self.scan.remark = Some(FOREIGN);
        self.scan.is_rewritten = true;
        self.assertion(text);
    }

    /// An escaped character, in a class or not. Returns its width.
    fn character(&mut self, c: char, text: &mut String) -> usize {
        match c {
            'f' | 'n' | 'r' | 't' | 'v' => text.extend(['\\', c]),
            'x' => text.extend(["\\x", self.code(2)]),
            'u' => {
                let code = self.code(4);
                match self.pair(code) {
                    Some(c) => {
                        self.scan.is_rewritten = true;
                        text.push(c);
                    }
                    None => text.extend(["\\u", code]),
                }
            }
            'p' | 'P' => {
                self.scan.has_properties = true;
                text.extend(['\\', c]);
                text.push_str(self.code(1));
                return PROPERTY;
            }
            'c' => {
                self.scan.is_rewritten = true;
                let letter = self.rest.next().filter(char::is_ascii_alphabetic);
                match letter.and_then(|letter| char::from_u32(u32::from(letter) % 32)) {
                    Some(control) => text.extend(control.escape_unicode()),
                    None => self.fault(UNUSABLE),
                }
            }
            '0' if !self.rest.as_str().starts_with(|c: char| c.is_ascii_digit()) => {
                self.scan.is_rewritten = true;
                text.push_str("\\x00");
            }
            '/' => text.push(c),
            // The engines have other meanings for these.
            '<' | '>' => {
                self.scan.is_rewritten = true;
                text.push(c);
            }
            // Letters that mean themselves to ECMA-262 at best, and something else to others.
            c if c.is_ascii_alphanumeric() => self.fault(UNUSABLE),
            c if c.is_ascii() => text.extend(['\\', c]),
            c => {
                self.scan.is_rewritten = true;
                text.push(c);
            }
        }
        1
    }

    /// The digits or the name after `\x`, `\u` or `\p`, in braces or of a fixed length.
    fn code(&mut self, digits: usize) -> &'p str {
        let rest = self.rest.as_str();
        let end = if rest.starts_with('{') {
            rest.find('}').map_or(rest.len(), |end| end + 1)
        } else {
            rest.char_indices().nth(digits).map_or(rest.len(), |(end, _)| end)
        };
        self.take(end)
    }

    /// The character of two surrogates (ECMA-262, 22.2.1, `RegExpUnicodeEscapeSequence`), of which the first has this code. Takes
    /// the second. JSON in ASCII that was written twice has an emoji as `\ud83d\ude00`.
    fn pair(&mut self, first: &str) -> Option<char> {
        let rest = self.rest.as_str().strip_prefix("\\u")?;
        let second = rest.get(..4)?;
        let unit = |code: &str| u16::from_str_radix(code, 16).ok();
        let mut characters = char::decode_utf16([unit(first)?, unit(second)?]);
        let character = characters.next()?.ok()?;
        if characters.next().is_some() {
            return None;
        }
        self.take("\\u".len() + second.len());
        Some(character)
    }

    /// A class, of which the first bracket is read.
    pub(super) fn class(&mut self) {
        let is_negated = self.eat("^");
        let mut text = String::from(if is_negated { "[^" } else { "[" });
        if self.eat("]") {
            // Others take the bracket for a part of the class.
            let is_clear = !self.rest.as_str().split('[').next().is_some_and(|rest| rest.contains(']'));
            if !is_negated || !is_clear {
                self.fault(UNUSABLE);
            }
            self.scan.is_rewritten = true;
            return self.single(ANY, 1);
        }
        let mut width = 1;
        // Whether the last character ends an inserted class, so that a hyphen would be a range from there.
        let mut after_class = false;
        loop {
            let is_after_class = std::mem::take(&mut after_class);
            match self.rest.next() {
                None => return self.fault(UNUSABLE),
                Some(']') => break,
                Some('\\') => {
                    let Some(c) = self.rest.next() else { return self.fault(UNUSABLE) };
                    match class(c) {
                        Some(class) => {
                            // It would be a range up to the inserted class. The linear engine refuses it as well,
                            // but for a hyphen that comes first.
                            if text.ends_with('-') && !text.ends_with("\\-") {
                                self.scan.is_rewritten |= !matches!(text.as_str(), "[-" | "[^-");
                                text.pop();
                                text.push_str("\\-");
                            }
                            text.push_str(class);
                            after_class = true;
                        }
                        None if c == 'b' => text.push_str("\\x08"),
                        None => width = width.max(self.character(c, &mut text)),
                    }
                }
                Some('[') => {
                    // Classes of POSIX.
                    if self.rest.as_str().starts_with(':') {
                        self.fault(UNUSABLE);
                    }
                    text.push_str("\\[");
                }
                Some('-') if is_after_class => {
                    text.push_str("\\-");
                    after_class = self.rest.as_str().starts_with('-');
                    self.scan.is_rewritten |= !self.rest.as_str().starts_with(']');
                }
                Some(c) => text.push(c),
            }
        }
        text.push(']');
        self.single(&text, width);
    }
}

fn class(letter: char) -> Option<&'static str> {
    CLASSES.iter().find(|(known, _)| *known == letter).map(|(_, class)| *class)
}
