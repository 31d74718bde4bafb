//! How much of an expression can be tried at one position of a text. Linear engines take that many steps per byte,
//! and compiled expressions have that many parts.

/// A part of an expression, to which a count may apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    /// Characters and classes that can be tried at once if the piece begins at one place only.
    pub(super) narrow: usize,
    /// The same if it can begin anywhere: all of its characters and classes, counted as often as they are repeated by
    /// counts.
    pub(super) wide: usize,
    /// Whether it can match texts of different lengths, so that what follows begins at several places.
    pub(super) varies: bool,
    /// How often its groups are repeated by counts within counts: 6 times for `((?:ab){2}){1,3}`. A part that only the
    /// engine that backtracks knows counts as a group.
    pub(super) copies: usize,
    /// Whether its counts multiply `copies`.
    pub(super) is_group: bool,
    /// Whether it only matches at the start of a text.
    pub(super) is_anchored: bool,
}

impl Piece {
    /// A character or a class.
    pub(super) const fn single(width: usize) -> Self {
        Self { narrow: width, wide: width, varies: false, copies: 1, is_group: false, is_anchored: false }
    }

    /// A back-reference.
    pub(super) const REFERENCE: Self =
        Self { narrow: 1, wide: 1, varies: true, copies: 1, is_group: true, is_anchored: false };

    /// Applies a count; without a greatest one, it may be repeated for ever.
    pub(super) fn repeat(&mut self, least: usize, greatest: Option<usize>) {
        let times = greatest.unwrap_or(least).max(1);
        let wide = self.wide.saturating_mul(times);
        self.narrow = match greatest {
            _ if !self.varies => self.narrow,
            None => wide,
            Some(_) => self.narrow.saturating_add(wide - self.wide),
        };
        self.wide = wide;
        self.varies |= greatest != Some(least);
        if self.is_group {
            self.copies = self.copies.saturating_mul(times);
        }
        self.is_anchored &= least > 0;
    }
}

/// The contents of two parentheses, or the whole expression.
#[derive(Debug)]
pub(super) struct Alternatives {
    /// All that are complete.
    complete: Option<Piece>,
    narrow: usize,
    wide: usize,
    varies: bool,
    copies: usize,
    /// `None` as long as it has nothing that says so.
    is_anchored: Option<bool>,
}

impl Alternatives {
    pub(super) const fn new() -> Self {
        Self { complete: None, narrow: 0, wide: 0, varies: false, copies: 1, is_anchored: None }
    }

    /// Adds a piece to the last alternative.
    pub(super) fn add(&mut self, piece: &Piece) {
        self.is_anchored.get_or_insert(piece.is_anchored);
        self.add_zero_width(piece);
        self.varies |= piece.varies;
    }

    /// Adds a look-around to the last alternative.
    pub(super) fn add_zero_width(&mut self, piece: &Piece) {
        if self.varies {
            self.narrow = self.narrow.saturating_add(piece.wide);
        } else {
            self.narrow = self.narrow.max(piece.narrow);
        }
        self.wide = self.wide.saturating_add(piece.wide);
        self.copies = self.copies.max(piece.copies);
    }

    /// The last alternative begins with `^`, unless something comes before it.
    pub(super) fn anchor(&mut self) {
        self.is_anchored.get_or_insert(true);
    }

    /// Begins another alternative.
    pub(super) fn next(&mut self) {
        let complete = self.complete.take();
        let last = std::mem::replace(self, Self::new());
        let mut piece = last.end();
        if let Some(complete) = complete {
            piece = complete.or(&piece);
        }
        self.complete = Some(piece);
    }

    /// Whether there is more than one.
    pub(super) const fn are_several(&self) -> bool {
        self.complete.is_some()
    }

    /// All of them as a group.
    pub(super) fn end(self) -> Piece {
        let last = Piece {
            narrow: self.narrow,
            wide: self.wide,
            varies: self.varies,
            copies: self.copies,
            is_group: true,
            is_anchored: self.is_anchored.unwrap_or(false),
        };
        self.complete.map_or(last.clone(), |complete| complete.or(&last))
    }
}

impl Piece {
    /// One or the other.
    fn or(self, other: &Self) -> Self {
        Self {
            narrow: self.narrow.saturating_add(other.narrow),
            wide: self.wide.saturating_add(other.wide),
            varies: true,
            copies: self.copies.max(other.copies),
            is_group: true,
            is_anchored: self.is_anchored && other.is_anchored,
        }
    }
}
