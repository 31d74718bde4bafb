//! One pass over an expression: whether it is valid ECMA-262, and how the backtracking engine reads it. ECMA-262 is
//! read as browsers do (Annex B), except for escaped letters that mean something in other languages (`\h`).

use std::{ops::Range, str::Chars};

use super::width::{Alternatives, Piece};

mod escapes;

/// ECMA-262's `.`, without its line terminators.
const DOT: &str = "[^\n\r\u{2028}\u{2029}]";
/// What begins a group that captures nothing. `(?i:` is of ECMA-262 from 2025 on.
const GROUPS: [(&str, Kind); 7] = [
    ("?:", Kind::Plain),
    ("?i:", Kind::Plain),
    ("?-i:", Kind::Plain),
    ("?=", Kind::Ahead),
    ("?!", Kind::Ahead),
    ("?<=", Kind::Behind),
    ("?<!", Kind::Behind),
];
/// Groups within each other. The engines take no more.
const MAX_DEPTH: usize = 250;

pub(super) const UNUSABLE: &str =
    "is not checked: it is not a regular expression of ECMA-262, or is too large";
pub(super) const DELIMITED: &str =
    "is not checked: write the regular expression without delimiters and flags";
pub(super) const FOREIGN: &str = "is not of ECMA-262, and is read as other languages do; write `^` for `\\A`, `$` for \
                                  `\\z` and `\\Z`, `(?<name>` for `(?P<name>`, `[Aa]` for `(?i)a`";

/// What one pass over an expression finds.
#[derive(Default)]
pub(super) struct Scan {
    /// The same expression for the engine that backtracks.
    pub(super) text: String,
    /// Look-arounds and back-references.
    hard: usize,
    /// `\b` and `\B`.
    boundaries: usize,
    /// Whether the engines would read it in another way as it is written.
    pub(super) is_rewritten: bool,
    /// Whether it has back-references.
    pub(super) has_references: bool,
    /// Whether it has Unicode properties, which are large when compiled.
    pub(super) has_properties: bool,
    /// Why it cannot be checked.
    pub(super) fault: Option<&'static str>,
    /// What its author should know.
    pub(super) remark: Option<&'static str>,
    /// The whole expression.
    pub(super) whole: Piece,
}

impl Scan {
    pub(super) fn of(pattern: &str) -> Self {
        let mut scanner = Scanner {
            rest: pattern.chars(),
            scan: Self { text: String::with_capacity(pattern.len()), ..Self::default() },
            groups: vec![Group::new(Kind::Plain, 0)],
            captures: Vec::new(),
            references: Vec::new(),
            pending: None,
        };
        if is_delimited(pattern) {
            scanner.fault(DELIMITED);
        }
        while let Some(c) = scanner.rest.next() {
            scanner.read(c);
        }
        scanner.finish()
    }

    /// What only the engine that backtracks knows; with 0, the linear engine matches it.
    pub(super) const fn hard(&self) -> usize {
        if self.hard > 0 || self.is_rewritten { self.hard + self.boundaries } else { 0 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Ahead,
    Behind,
}

/// A group that is open, or the whole expression.
struct Group {
    kind: Kind,
    content: Alternatives,
    /// The first capture in it, itself included.
    first: usize,
    /// Whether it captures.
    captures: bool,
}

impl Group {
    const fn new(kind: Kind, first: usize) -> Self {
        Self { kind, content: Alternatives::new(), first, captures: false }
    }
}

/// A group that captures. ECMA-262 forgets what it has captured whenever a group around it is repeated; the engine does not.
struct Capture<'p> {
    name: Option<&'p str>,
    is_open: bool,
    /// Whether a match of the innermost group around it that is known can do without it.
    is_skippable: bool,
    /// Whether it may still have what an earlier repetition captured.
    is_stale: bool,
}

/// What a count applies to.
struct Pending {
    piece: Piece,
    is_look_around: bool,
    /// The captures strictly within it, and within it or itself.
    inside: Range<usize>,
    all: Range<usize>,
}

struct Scanner<'p> {
    rest: Chars<'p>,
    scan: Scan,
    /// Outermost first; never empty.
    groups: Vec<Group>,
    captures: Vec<Capture<'p>>,
    /// The captures that are referred to, counted from 1.
    references: Vec<usize>,
    pending: Option<Pending>,
}

impl<'p> Scanner<'p> {
    fn fault(&mut self, why: &'static str) {
        self.scan.fault.get_or_insert(why);
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.as_str().strip_prefix(text).map(str::chars);
        rest.map(|rest| self.rest = rest).is_some()
    }

    /// Takes `bytes` of the rest.
    fn take(&mut self, bytes: usize) -> &'p str {
        let (taken, rest) = self.rest.as_str().split_at_checked(bytes).unwrap_or_default();
        self.rest = rest.chars();
        taken
    }

    /// Takes what the rest begins with.
    fn leading(&mut self, is_part: impl Fn(char) -> bool) -> &'p str {
        let rest = self.rest.as_str();
        self.take(rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
    }

    fn read(&mut self, c: char) {
        match c {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.assertion("|");
                self.innermost(Alternatives::next);
            }
            '*' => self.repeat(0, None, "*"),
            '+' => self.repeat(1, None, "+"),
            '?' => self.repeat(0, Some(1), "?"),
            '{' => self.count(),
            '^' => {
                self.assertion("^");
                self.innermost(Alternatives::anchor);
            }
            '$' => self.assertion("$"),
            '.' => self.single(DOT, 1),
            c => self.single(c.encode_utf8(&mut [0; 4]), 1),
        }
    }

    fn innermost(&mut self, change: impl FnOnce(&mut Alternatives)) {
        if let Some(group) = self.groups.last_mut() {
            change(&mut group.content);
        }
    }

    /// Nothing more applies to the last piece.
    fn flush(&mut self) {
        if let Some(Pending { piece, is_look_around, .. }) = self.pending.take() {
            self.innermost(
                |content| {
                    if is_look_around { content.add_zero_width(&piece) } else { content.add(&piece) }
                },
            );
        }
    }

    /// Adds something that no count can apply to.
    fn assertion(&mut self, text: &str) {
        self.flush();
        self.scan.text.push_str(text);
    }

    /// Adds a piece that captures nothing.
    fn piece(&mut self, text: &str, piece: Piece) {
        self.assertion(text);
        let none = self.captures.len()..self.captures.len();
        self.pending = Some(Pending { piece, is_look_around: false, inside: none.clone(), all: none });
    }

    fn single(&mut self, text: &str, width: usize) {
        self.piece(text, Piece::single(width));
    }

    fn open(&mut self) {
        self.flush();
        if self.groups.len() > MAX_DEPTH {
            self.fault(UNUSABLE);
        }
        let first = self.captures.len();
        for flag in ["?i)", "?-i)"] {
            if self.eat(flag) {
                self.scan.text.extend(["(", flag]);
                self.scan.remark = Some(FOREIGN);
                return;
            }
        }
        if let Some((head, kind)) = GROUPS.iter().find(|(head, _)| self.eat(head)) {
            self.scan.text.extend(["(", *head]);
            self.scan.hard += usize::from(*kind != Kind::Plain);
            self.groups.push(Group::new(*kind, first));
            return;
        }
        // The engine does not take numbers for groups with names.
        self.scan.text.push('(');
        let name = self.name();
        self.captures.push(Capture { name, is_open: true, is_skippable: false, is_stale: false });
        self.groups.push(Group { captures: true, ..Group::new(Kind::Plain, first) });
    }

    /// The name of a group that was opened.
    fn name(&mut self) -> Option<&'p str> {
        if !self.rest.as_str().starts_with('?') {
            return None;
        }
        if self.eat("?P<") {
            self.scan.remark = Some(FOREIGN);
        } else if !self.eat("?<") {
            // Not of ECMA-262.
            self.fault(UNUSABLE);
            return None;
        }
        let name = self.rest.as_str().find('>').map(|end| self.take(end));
        let name = name.filter(|name| is_name(name) && self.eat(">"));
        if name.is_none() {
            self.fault(UNUSABLE);
        }
        name
    }

    fn close(&mut self) {
        self.assertion(")");
        if self.groups.len() < 2 {
            return self.fault(UNUSABLE);
        }
        let Some(group) = self.groups.pop() else { return };
        let all = group.first..self.captures.len();
        let inside = all.start + usize::from(group.captures)..all.end;
        if group.captures
            && let Some(own) = self.captures.get_mut(group.first)
        {
            own.is_open = false;
        }
        if group.content.are_several() {
            self.captured(&inside, |capture| capture.is_skippable = true);
        }
        let is_look_around = group.kind != Kind::Plain;
        self.pending = Some(Pending { piece: group.content.end(), is_look_around, inside, all });
    }

    fn captured(&mut self, range: &Range<usize>, change: impl FnMut(&mut Capture<'p>)) {
        self.captures.get_mut(range.clone()).into_iter().flatten().for_each(change);
    }

    /// Applies a count to the last piece.
    fn repeat(&mut self, least: usize, greatest: Option<usize>, text: &str) {
        self.scan.text.push_str(text);
        if self.eat("?") {
            self.scan.text.push('?');
        }
        // Nothing can be repeated, or it is already.
        let Some(mut pending) = self.pending.take() else { return self.fault(UNUSABLE) };
        if greatest.is_none_or(|greatest| greatest > 1) {
            self.captured(&pending.inside, |capture| capture.is_stale |= capture.is_skippable);
        }
        if least == 0 {
            self.captured(&pending.all, |capture| capture.is_skippable = true);
        }
        pending.piece.repeat(least, greatest);
        self.pending = Some(pending);
        self.flush();
    }

    /// `{2,3}`, of which the first brace is read.
    fn count(&mut self) {
        let Some((inside, _)) = self.rest.as_str().split_once('}') else { return self.brace() };
        let (least, greatest) =
            inside.split_once(',').map_or((inside, None), |(least, greatest)| (least, Some(greatest)));
        match (number(least), greatest, greatest.and_then(number)) {
            (Some(least), None, _) => self.counted(inside, least, Some(least)),
            (Some(least), Some(""), _) => self.counted(inside, least, None),
            (Some(least), _, Some(greatest)) if least <= greatest => {
                self.counted(inside, least, Some(greatest));
            }
            // `{,3}` and `{1, 3}`: the same characters to ECMA-262, a count to others.
            _ if inside.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b',' | b' ')) => {
                self.fault(UNUSABLE);
            }
            _ => self.brace(),
        }
    }

    fn counted(&mut self, inside: &str, least: usize, greatest: Option<usize>) {
        self.take(inside.len() + 1);
        self.repeat(least, greatest, &format!("{{{inside}}}"));
    }

    /// A brace that begins no count. The linear engine does not take it.
    fn brace(&mut self) {
        self.scan.is_rewritten = true;
        self.single("\\{", 1);
    }

    /// `\k<name>`, of which `\k` is read.
    fn named_reference(&mut self) {
        let name = if self.eat("<") { self.leading(|c| c != '>') } else { "" };
        let named = self.captures.iter().enumerate().filter(|(_, capture)| capture.name == Some(name));
        let numbers: Vec<usize> = named.map(|(index, _)| index + 1).collect();
        if name.is_empty() || !self.eat(">") || numbers.is_empty() {
            return self.fault(UNUSABLE);
        }
        self.reference(&numbers);
    }

    /// A reference to one of these captures, at most one of which takes part in a match. Without a match, it matches the
    /// empty text (ECMA-262, 22.2.2.9.2), as it always does within its group and before it.
    fn reference(&mut self, numbers: &[usize]) {
        self.scan.hard += 1;
        self.scan.has_references = true;
        // It is read backwards there.
        if self.groups.iter().any(|group| group.kind == Kind::Behind) {
            self.fault(UNUSABLE);
        }
        let is_complete = |number: &&usize| {
            number.checked_sub(1).and_then(|index| self.captures.get(index)).is_some_and(|one| !one.is_open)
        };
        let complete = numbers.iter().filter(is_complete);
        let text = complete.fold(String::new(), |text, number| format!("{text}(?({number})\\{number})"));
        self.references.extend(numbers);
        self.piece(&format!("(?:{text})"), Piece::REFERENCE);
    }

    fn finish(mut self) -> Scan {
        self.flush();
        let is_known = |number: &usize| {
            number.checked_sub(1).and_then(|index| self.captures.get(index)).is_some_and(|one| !one.is_stale)
        };
        if self.groups.len() > 1 || !self.references.iter().all(is_known) {
            self.fault(UNUSABLE);
        }
        if let Some(group) = self.groups.into_iter().next() {
            self.scan.whole = group.content.end();
        }
        self.scan
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
}

fn number(digits: &str) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More than anything can be repeated.
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

/// Whether it has delimiters, as in the source of other languages: `/^a$/i`. Nothing matches a `^` after a
/// character, or a `$` before one.
fn is_delimited(pattern: &str) -> bool {
    let Some(mark) = pattern.chars().next().filter(|c| "/#~@!%".contains(*c)) else { return false };
    let body = pattern.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let flags = pattern.strip_prefix(body).unwrap_or_default();
    let Some(inside) = body.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark)) else { return false };
    let has_flags = mark == '/' && !flags.is_empty() && flags.bytes().all(|flag| b"gimsuy".contains(&flag));
    inside.starts_with('^')
        || (inside.ends_with('$') && !inside.ends_with("\\$"))
        || (has_flags && inside.contains(['\\', '[', '(', '*', '+', '|']))
}
