//! The trace that an event itself names: `traceparent` and `tracestate` of its envelope (CloudEvents, distributed tracing
//! extension).

use crate::domain::{
    event::{MAX_BODY, without_mark},
    json,
    trace_context::TraceContext,
    trigger::spelling,
};

/// The trace in the envelope. What is not well-formed counts as absent: no trace is worth an event.
///
/// Headers of the message come first: they name the last one who passed the event on, and so the cause of its processing,
/// while the envelope names the trace in which the event began.
#[must_use]
pub fn trace_of(body: &[u8]) -> TraceContext {
    let text = if body.len() > MAX_BODY { None } else { std::str::from_utf8(without_mark(body)).ok() };
    let named = text.filter(|text| text.contains("traceparent") && json::is_shallow(text));
    named.and_then(|text| read(text).or_else(|| read(&spelling::event(text)?))).unwrap_or_default()
}

/// `None` if it is not JSON.
fn read(text: &str) -> Option<TraceContext> {
    let members = json::members(text).ok()?;
    let texts = |name: &str| {
        let named = members.iter().filter(|(key, _)| key == name);
        named.filter_map(|(_, value)| serde_json::from_str::<String>(value.get()).ok()).collect::<Vec<_>>()
    };
    let (parents, states) = (texts("traceparent"), texts("tracestate"));
    // Two of a kind contradict each other.
    let only = |texts: &[String]| if let [text] = texts { Some(text.clone()) } else { None };
    Some(TraceContext::new(only(&parents).as_deref(), only(&states).as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn check(body: &str, expected: (Option<&str>, Option<&str>)) {
        let trace = trace_of(body.as_bytes());
        assert_eq!((trace.traceparent(), trace.tracestate()), expected, "{body}");
    }

    #[test]
    fn trace_of_the_envelope_is_read() {
        let parent = format!(r#""traceparent": "{PARENT}""#);
        check(
            &format!(r#"{{{parent}, "data": {{"a": 1}}, "tracestate": "a=b"}}"#),
            (Some(PARENT), Some("a=b")),
        );
        check(&format!("\u{feff}{{{parent}}}"), (Some(PARENT), None));
        check(&format!(r#"{{{parent}, "tracestate": 1}}"#), (Some(PARENT), None));
        check(&format!(r#"{{{parent}, "data": {{"a": NaN}}}}"#), (Some(PARENT), None));
    }

    #[test]
    fn what_is_no_trace_of_the_envelope_is_left_out() {
        let parent = format!(r#""traceparent": "{PARENT}""#);
        for body in [
            r#"{"tracestate": "a=b"}"#.to_owned(),
            r#"{"traceparent": "00-x", "tracestate": "a=b"}"#.to_owned(),
            r#"{"traceparent": 1}"#.to_owned(),
            format!(r#"{{"data": {{{parent}}}}}"#),
            format!(r"[{{{parent}}}]"),
            format!(r"{{{parent}, {parent}}}"),
            format!(r"{{{parent}"),
            format!(r#"{{{parent}, "data": {}}}"#, "[".repeat(100_000)),
            format!(r#"{{{parent}, "data": "{}"}}"#, "x".repeat(MAX_BODY)),
            String::new(),
        ] {
            check(&body, (None, None));
        }
    }
}
