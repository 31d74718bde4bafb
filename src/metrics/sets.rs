//! Closed sets of labels: every combination is known when the metric is registered, and has a place.

use strum::VariantArray;

/// A label with a closed list of values.
pub trait Label: Copy + Into<&'static str> + VariantArray + Send + Sync {
    /// Its name.
    const NAME: &'static str;

    /// The place of a value among all of them.
    fn place(self) -> usize;
}

/// The labels of a metric.
pub trait Labels: Copy + Send + Sync + 'static {
    /// Every combination that exists.
    fn all() -> Vec<Self>;

    /// The place of a combination among them.
    fn place(self) -> usize;

    /// Names and values.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

impl Labels for () {
    fn all() -> Vec<Self> {
        vec![()]
    }

    fn place(self) -> usize {
        0
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl<A: Label> Labels for A {
    fn all() -> Vec<Self> {
        A::VARIANTS.to_vec()
    }

    fn place(self) -> usize {
        Label::place(self)
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(A::NAME, self.into())]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn all() -> Vec<Self> {
        A::VARIANTS.iter().flat_map(|a| B::VARIANTS.iter().map(|b| (*a, *b))).collect()
    }

    fn place(self) -> usize {
        Label::place(self.0) * B::VARIANTS.len() + Label::place(self.1)
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(A::NAME, self.0.into()), (B::NAME, self.1.into())]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn all() -> Vec<Self> {
        let pairs = <(A, B)>::all().into_iter();
        pairs.flat_map(|(a, b)| C::VARIANTS.iter().map(move |c| (a, b, *c))).collect()
    }

    fn place(self) -> usize {
        let (a, b, c) = self;
        (a, b).place() * C::VARIANTS.len() + Label::place(c)
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        let (a, b, c) = self;
        [(a, b).pairs(), vec![(C::NAME, c.into())]].concat()
    }
}
