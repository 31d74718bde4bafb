//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the trace that an event belongs to.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The flag of a `traceparent` that says that its trace is recorded (section 3.2.2.5.1).
const SAMPLED: u8 = 1;

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

    /// The ids in the `traceparent`.
    #[must_use]
    pub fn ids(&self) -> Option<Ids> {
        // Each part has its place: it was checked when it came.
        let parent = self.parent.as_deref()?;
        let trace = u128::from_str_radix(parent.get(3..35)?, 16).ok()?;
        let span = u64::from_str_radix(parent.get(36..52)?, 16).ok()?;
        let flags = u8::from_str_radix(parent.get(53..55)?, 16).ok()?;
        Some(Ids { trace, span, flags })
    }

    /// The same trace, with a span of this service as the one that causes what follows.
    #[must_use]
    pub fn with(&self, ids: Ids) -> Self {
        let Ids { trace, span, flags } = ids;
        Self { parent: Some(format!("00-{trace:032x}-{span:016x}-{flags:02x}")), state: self.state.clone() }
    }
}

/// The ids of a span, and the flags of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Of the trace; never 0.
    pub trace: u128,
    /// Of the span; never 0.
    pub span: u64,
    /// `trace-flags` of the `traceparent`.
    pub flags: u8,
}

impl Ids {
    /// Whether the trace is recorded, as its first participant decided.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// A recorded trace for something that came without one. It follows from what it is about, so a redelivery or a replay joins it.
#[must_use]
pub fn derived_trace(about: Uuid) -> u128 {
    let hash = Sha256::new().chain_update(b"trace of ").chain_update(about.as_bytes()).finalize();
    let trace = hash.iter().take(16).fold(0, |trace, byte| (trace << 8) | u128::from(*byte));
    trace.max(1)
}

/// Whether a trace is among the `ratio` of all derived traces that are recorded.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits decide, and an f64 holds them exactly")]
pub fn is_among(trace: u128, ratio: f64) -> bool {
    /// 2⁵³.
    const ALL: f64 = 9_007_199_254_740_992.0;
    let share = u64::try_from(trace & ((1 << 53) - 1)).unwrap_or_default();
    (share as f64) < ratio * ALL
}

/// The flags of a trace that this service begins.
pub const BEGUN: u8 = SAMPLED;

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
    fn ids_are_read_and_replaced() {
        let context = TraceContext::new(Some(TRACEPARENT), Some("a=b"));
        let ids = context.ids().unwrap();
        assert!(ids.is_sampled());
        assert_eq!(context.with(ids), context);
        let other = context.with(Ids { span: 1, flags: 2, ..ids });
        assert_eq!(other.traceparent(), Some("00-0af7651916cd43dd8448eb211c80319c-0000000000000001-02"));
        assert_eq!(other.tracestate(), Some("a=b"));
        assert_eq!(other.ids().map(Ids::is_sampled), Some(false));
        assert_eq!(TraceContext::default().ids(), None);
    }

    #[test]
    fn derived_traces_are_sampled_by_ratio_and_always_alike() {
        let traces: Vec<u128> = (0..10_000).map(|id| derived_trace(Uuid::from_u128(id))).collect();
        let sampled = |ratio| traces.iter().filter(|trace| is_among(**trace, ratio)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, traces.len()));
        assert!((900..1100).contains(&sampled(0.1)), "{}", sampled(0.1));
        assert_eq!(derived_trace(Uuid::from_u128(7)), traces[7]);
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
