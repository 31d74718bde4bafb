//! Which trace an event belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).
//! What came with a message goes into messages and requests to others, so it is passed on only if it
//! is well-formed.

/// The `traceparent` and `tracestate` of a message, as far as they can be passed on. Without a
/// `traceparent` there is no `tracestate` (section 3.3.1).
#[must_use]
pub fn passed_on<'a>(
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    let traceparent = traceparent.filter(|text| is_traceparent(text));
    (traceparent, traceparent.and(tracestate).filter(|text| is_tracestate(text)))
}

/// Section 3.2: version, trace id, parent id and flags in small hex digits.
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

/// Section 3.3: printable ASCII, and at least 512 characters are to be passed on.
fn is_tracestate(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_well_formed_is_passed_on() {
        assert_eq!(passed_on(Some(TRACEPARENT), Some("a=b")), (Some(TRACEPARENT), Some("a=b")));
        assert_eq!(passed_on(Some(TRACEPARENT), None), (Some(TRACEPARENT), None));
        for bad in ["", "a\r\nb: c", "é=1", &"x".repeat(513)] {
            assert_eq!(passed_on(Some(TRACEPARENT), Some(bad)), (Some(TRACEPARENT), None), "{bad}");
        }
    }

    #[test]
    fn without_a_trace_there_is_no_state_of_it() {
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
            assert_eq!(passed_on(bad, Some("a=b")), (None, None), "{bad:?}");
        }
    }
}
