//! The `Retry-After` header (RFC 9110, section 10.2.3): a number of seconds or a date.

use std::time::Duration;

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may send (RFC 9110, section 5.6.7).
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The wait from `now`: zero for a date in the past, `None` for a value that is neither form.
pub(super) fn parse(value: &[u8], now: OffsetDateTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is longer than any limit of ours.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = PrimitiveDateTime::parse(text, IMF_FIXDATE).ok()?.assume_utc();
    Some(Duration::try_from(date - now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

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
        check("-1", None);
        check("1.5", None);
        check("soon", None);
        check("", None);
        check("Sun, 99 Nov 1994 08:49:37 GMT", None);
        assert_eq!(parse(b"\xff", now), None);
    }
}
