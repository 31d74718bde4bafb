//! Which queues may receive the result of a chain.

/// The queues that a message may name in `reply_to`.
#[derive(Clone, Debug)]
pub struct ReplyQueues {
    /// The service's own queues: it would consume its own answer as a message.
    own: Vec<String>,
    allowed: Vec<String>,
}

impl ReplyQueues {
    /// Allows the queues that one of `allowed` describes, names that may end in `*`, and never one of `own`.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = String>, allowed: &[String]) -> Self {
        Self { own: own.into_iter().collect(), allowed: allowed.to_vec() }
    }

    /// Whether an answer may be published to this queue.
    #[must_use]
    pub fn allow(&self, queue: &str) -> bool {
        let describes = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => queue.starts_with(start),
            None => queue == allowed,
        };
        !self.own.iter().any(|own| own == queue) && self.allowed.iter().any(describes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &[&str], queue: &str) -> bool {
        let allowed: Vec<String> = allowed.iter().copied().map(str::to_owned).collect();
        ReplyQueues::new(["ns.webhook".to_owned()], &allowed).allow(queue)
    }

    #[test]
    fn queues_are_allowed_by_name_or_by_its_beginning() {
        assert!(allows(&["*"], "any"));
        assert!(allows(&["a", "replies"], "replies"));
        assert!(allows(&["amq.gen-*"], "amq.gen-x1"));
        assert!(allows(&["replies.*"], "replies."));
        assert!(!allows(&["replies"], "replies.1"));
        assert!(!allows(&["replies.*"], "replies"));
        assert!(!allows(&["a*c"], "abc"), "only a final asterisk has a meaning");
        assert!(!allows(&[], "any"));
    }

    #[test]
    fn own_queues_are_never_allowed() {
        for allowed in ["*", "ns.*", "ns.webhook"] {
            assert!(!allows(&[allowed], "ns.webhook"), "{allowed}");
        }
    }
}
