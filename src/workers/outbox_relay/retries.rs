//! How many messages may be published once more that a queue has not taken before. Other queues get each of them again, so while
//! they fail only a few are, as probes. Once a queue takes its messages, the rest follow ever faster.

/// Messages of a portion while they fail.
const PROBES: usize = 10;

/// Maximum messages of a portion.
const MAX: usize = 500;

/// The retries in flight. The next portion waits until the end of each is known.
pub(super) struct Retries {
    /// How many the next portion may have.
    limit: usize,
    open: usize,
    /// Those of the portion that were published.
    published: usize,
    /// Whether all of them were, and nobody has asked.
    has_succeeded: bool,
    has_failed: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self { limit: PROBES, open: 0, published: 0, has_succeeded: false, has_failed: false }
    }
}

impl Retries {
    /// How many may be published now.
    pub(super) const fn limit(&self) -> usize {
        if self.open == 0 { self.limit } else { 0 }
    }

    /// Counts one, unless the portion is full.
    pub(super) const fn begin(&mut self) -> bool {
        let fits = self.open < self.limit;
        if fits {
            self.open += 1;
        }
        fits
    }

    /// One of them has ended.
    pub(super) fn end(&mut self, is_published: bool) {
        self.open = self.open.saturating_sub(1);
        self.published += usize::from(is_published);
        self.has_failed |= !is_published;
        if self.open == 0 {
            // So no more fail than succeed, apart from the probes.
            self.limit = (self.published * 2).clamp(PROBES, MAX);
            self.has_succeeded = !self.has_failed;
            (self.published, self.has_failed) = (0, false);
        }
    }

    /// None are left, so the next ones are probes again.
    pub(super) const fn rest(&mut self) {
        if self.open == 0 {
            self.limit = PROBES;
        }
    }

    /// Whether a portion was published whole, so that the next one need not wait for the next sweep. Asks once.
    pub(super) const fn has_succeeded(&mut self) -> bool {
        std::mem::replace(&mut self.has_succeeded, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes a portion of retries, of which so many succeed. Returns its size.
    fn portion(retries: &mut Retries, succeed: usize) -> usize {
        let mut size = 0;
        while retries.begin() {
            size += 1;
        }
        assert_eq!(retries.limit(), 0, "the next portion waits");
        for number in 0..size {
            retries.end(number < succeed);
        }
        assert_eq!(retries.has_succeeded(), succeed >= size);
        assert!(!retries.has_succeeded(), "asked twice");
        size
    }

    #[test]
    fn few_fail_and_many_succeed() {
        let mut retries = Retries::default();
        let sizes = [0, 0, 5, 10, 20, 40, 80, 160, 320, 500, 500, 250, 100, 0, 0];
        let found: Vec<_> = sizes.iter().map(|succeed| portion(&mut retries, *succeed)).collect();
        assert_eq!(found, [10, 10, 10, 10, 20, 40, 80, 160, 320, 500, 500, 500, 500, 200, 10]);
    }
}
