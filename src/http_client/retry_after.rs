//! The `Retry-After` header (RFC 9110, section 10.2.3): a number of seconds or a date in one of three forms.

use std::time::Duration;

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may send (RFC 9110, section 5.6.7). Read first, because
/// it does not compare the weekday with the date.
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The wait from `now`: zero for a date in the past, `None` for a value of no known form.
pub(super) fn parse(value: &[u8], now: OffsetDateTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is longer than any limit of ours.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let preferred = PrimitiveDateTime::parse(text, IMF_FIXDATE).map(PrimitiveDateTime::assume_utc).ok();
    let date = preferred.or_else(|| httpdate::parse_http_date(text).map(OffsetDateTime::from).ok())?;
    Some(Duration::try_from(date - now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};
    use time::macros::datetime;

    use super::*;

    const VALUES: &str = "\\PC{0,40}|[0-9]{0,30}|(Sun|Sunday),? [0-9]{1,2}[ -](Nov|Feb)[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|PST)?";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn any_value_is_a_wait_or_none(text in string_regex(VALUES).unwrap()) {
            let now = datetime!(1994-11-06 08:49:00 UTC);
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert!(!is_number || parse(text.as_bytes(), now).is_some());
        }
    }

    #[test]
    fn seconds_and_dates_are_parsed() {
        let now = datetime!(1994-11-06 08:49:00 UTC);
        let check = |value: &str, seconds: Option<u64>| {
            assert_eq!(parse(value.as_bytes(), now), seconds.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("99999999999999999999999999", Some(u64::MAX));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(37));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_059));
        // RFC 850, whose years have two digits (open-telemetry/opamp-go #131, go-resty/resty #1220).
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(37));
        check("Sunday, 06-Nov-94 08:00:00 GMT", Some(0));
        check("Tuesday, 06-Nov-35 08:49:00 GMT", Some(1_293_840_000));
        check("Saturday, 06-Nov-71 08:49:37 GMT", Some(0));
        // C's asctime(), with a space before a day of one digit.
        check("Sun Nov  6 08:49:37 1994", Some(37));
        check("Wed Nov 16 08:49:00 1994", Some(864_000));
        check("Sun Nov 6 08:49:37 1994", None);
        check("Sunday, 06-Nov-1994 08:49:37 GMT", None);
        check("Mon, 06 Nov 1994 08:49:37 GMT", Some(37));
        check("Sunday, 99-Nov-94 08:49:37 GMT", None);
        check("1994-11-06T08:49:37Z", None);
        check("Sun, 06 Nov 1994 08:49:37 PST", None);
        check("-1", None);
        check("1.5", None);
        check("soon", None);
        check("", None);
        check("Sun, 99 Nov 1994 08:49:37 GMT", None);
        assert_eq!(parse(b"\xff", now), None);
    }
}
