//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the trace that an event belongs to.

/// A `traceparent` and its `tracestate`, each well-formed or absent.
///
/// Only [`TraceContext::new`] makes one, so a stranger's header cannot break the messages and requests that
/// carry it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    parent: Option<String>,
    state: Option<String>,
}

impl TraceContext {
    /// Drops a header that is not well-formed, and a `tracestate` without a `traceparent` (section 3.3.1).
    #[must_use]
    pub fn new(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        let parent = traceparent.filter(|text| is_traceparent(text));
        let state = parent.and(tracestate).filter(|text| is_tracestate(text));
        Self { parent: parent.map(str::to_owned), state: state.map(str::to_owned) }
    }

    /// The trace and the span that caused the event.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    /// Vendors' data about the trace.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Section 3.2: version, trace id, parent id and flags in lower-case hex digits.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    match text.split('-').collect::<Vec<_>>().as_slice() {
        [version, trace, parent, flags] => {
            [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2]
                && [version, trace, parent, flags].into_iter().all(|part| is_hex(part))
                && *version != "ff"
                && !is_zero(trace)
                && !is_zero(parent)
        }
        _ => false,
    }
}

/// Section 3.3: printable ASCII. 512 characters is the minimum that everyone should pass on.
fn is_tracestate(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn check(given: (Option<&str>, Option<&str>), expected: (Option<&str>, Option<&str>)) {
        let context = TraceContext::new(given.0, given.1);
        assert_eq!((context.traceparent(), context.tracestate()), expected, "{given:?}");
    }

    #[test]
    fn well_formed_headers_are_kept() {
        check((Some(TRACEPARENT), Some("a=b")), (Some(TRACEPARENT), Some("a=b")));
        check((Some(TRACEPARENT), None), (Some(TRACEPARENT), None));
        for bad in ["", "a\r\nb: c", "é=1", &"x".repeat(513)] {
            check((Some(TRACEPARENT), Some(bad)), (Some(TRACEPARENT), None));
        }
    }

    #[test]
    fn tracestate_is_dropped_without_a_valid_traceparent() {
        for bad in [
            None,
            Some(""),
            Some("00-x"),
            Some("a\r\nb: c"),
            Some(&TRACEPARENT.replace("00-", "ff-")),
            Some(&TRACEPARENT.to_uppercase()),
            Some(&format!("{TRACEPARENT}-00")),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            Some("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
        ] {
            check((bad, Some("a=b")), (None, None));
        }
    }
}
