//! Zero dates: the dates from which programs count, and which they write for a missing one.

use time::Date;

use super::{MAX_TEXT, Order, date, read_folded};
use crate::domain::value::{
    hyphens::with_hyphens,
    text::{folded, plain},
};

/// Year, month and day of zero dates, with any time of day beside them.
const DATES: [(i32, i32, i32); 7] = [
    // .NET, Go, Java, SQL.
    (1, 1, 1),
    // Windows' file times.
    (1601, 1, 1),
    // SQL Server's first date.
    (1753, 1, 1),
    // Spreadsheets and OLE; the day before 1900 elsewhere.
    (1899, 12, 30),
    (1899, 12, 31),
    // SQL Server's default.
    (1900, 1, 1),
    // The last date of many programs.
    (9999, 12, 31),
];

/// Dates that are in no calendar, from `MySQL` and spreadsheets, with or without a time.
const NO_DATES: [&str; 2] = ["0000-00-00", "00/00/0000"];
/// .NET's and Go's zero in seconds and milliseconds since 1970.
const SECONDS: [&str; 2] = ["-62135596800", "-62135596800000"];

const MINUTES_OF_A_DAY: i32 = 24 * 60;

/// Whether the text is a zero date in any notation, or a bare zero. Unix's counts only with a time and its zone: somebody
/// may be born on that day.
pub(in crate::domain) fn is_zero(text: &str) -> bool {
    if text.len() > MAX_TEXT {
        return false;
    }
    let text = with_hyphens(plain(text));
    if *text == *"0" || *text == *"0.0" || SECONDS.contains(&&*text) {
        return true;
    }
    if let Some(time) = NO_DATES.iter().find_map(|date| text.strip_prefix(date)) {
        return !time.starts_with(|c: char| c.is_ascii_digit());
    }
    if !text.as_bytes().windows(4).any(is_year) {
        return false;
    }
    let text = folded(&text);
    let Some(found) = read_folded(&text, Order::Unsure) else { return false };
    let is = |(year, month, day)| date(year, month, day) == Some(found);
    DATES.into_iter().any(is) || is_start_of_unix_time(found, &text)
}

/// Every zero date has one of these in it, so that most dates are not read twice.
const fn is_year(digits: &[u8]) -> bool {
    matches!(digits, b"0001" | b"1601" | b"1753" | b"1899" | b"1900" | b"1969" | b"1970" | b"9999")
}

/// Whether the moment is midnight of 1970-01-01 in UTC. West of it the date is the day before.
fn is_start_of_unix_time(found: Date, text: &str) -> bool {
    let Some(minutes) = minutes_in_utc(text) else { return false };
    date(1970, 1, 1) == Some(found) && minutes == 0
        || date(1969, 12, 31) == Some(found) && minutes == MINUTES_OF_A_DAY
}

/// The time of day in a folded text, in minutes, less the offset of its zone. `None` without a zone or with seconds.
fn minutes_in_utc(text: &str) -> Option<i32> {
    let at = text.find(':')?;
    let hours: i32 = text.get(at.checked_sub(2)?..at)?.trim_start().parse().ok()?;
    let (minutes, rest) = text.get(at + 1..)?.split_at_checked(2)?;
    let minutes: i32 = minutes.parse().ok()?;
    let rest = rest.trim_start_matches([':', '.', '0']).trim_start();
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let zone = rest.trim_start_matches("gmt").trim_start_matches("utc");
    let offset = if zone.starts_with('z') || zone.len() < rest.len() && !zone.starts_with(['+', '-']) {
        0
    } else {
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        let digits: String =
            zone.strip_prefix(['+', '-'])?.chars().take(5).filter(char::is_ascii_digit).collect();
        let (hours, minutes) = digits.split_at_checked(2)?;
        let minutes = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
        sign * (hours.parse::<i32>().ok()? * 60 + minutes)
    };
    Some(hours * 60 + minutes - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_dates_of_programs_are_found_in_every_notation() {
        for (text, source) in [
            ("0", "Excel: an empty cell as a number"),
            ("0000-00-00 00:00", "MySQL: without seconds"),
            ("0000-00-00T00:00:00Z", "MySQL: as a driver writes it"),
            ("00/00/0000 00:00:00", "MySQL: as a form writes it"),
            ("-62135596800", ".NET: the zero in seconds"),
            ("-62135596800000", ".NET: the zero in milliseconds"),
            ("0.0", "as above: as a float"),
            ("0001-01-01", "Go's and .NET's zero"),
            ("1/1/0001 12:00:00 AM", ".NET in English"),
            ("01/01/0001 00:00:00", ".NET in Portuguese"),
            ("0001-01-01T00:00:00Z", "Go's zero"),
            ("1601-01-01T00:00:00Z", "Windows' file times"),
            ("1753-01-01", "SQL Server's first date"),
            ("1899-12-30T00:00:00.000Z", "Sheets' and OLE's zero"),
            ("30/12/1899", "as above: in Brazil"),
            ("Sat Dec 30 1899 00:00:00 GMT-0300 (Horário Padrão de Brasília)", "Apps Script: an empty cell"),
            ("31/12/1899", "Excel's day before its first"),
            ("1900-01-01 00:00:00.000", "SQL Server's default"),
            ("1 de janeiro de 1900", "as above: as words"),
            ("31/12/9999 23:59:59", ".NET's last date"),
            ("1970-01-01T00:00:00.000Z", "ECMA-262: new Date(0)"),
            ("1970-01-01T00:00:00+00:00", "PHP, Python"),
            ("1970-01-01 00:00:00 UTC", "Ruby, BigQuery"),
            ("Thu Jan 01 1970 00:00:00 GMT+0000", "ECMA-262: Date.toString"),
            (
                "Wed Dec 31 1969 21:00:00 GMT-0300 (Horário Padrão de Brasília)",
                "ECMA-262: the same in Brazil",
            ),
            ("1969-12-31T21:00:00-03:00", "Java, the same"),
            ("1970-01-01T01:00:00+01:00", "as above: in Portugal at that time"),
            ("\u{200e}1899-12-30", "web pages"),
            ("1899\u{2011}12\u{2011}30", "as above: hyphens that do not break"),
        ] {
            assert!(is_zero(text), "{text} ({source})");
        }
    }

    #[test]
    fn dates_of_people_are_no_zeros() {
        for text in [
            "",
            "00",
            "10",
            "1970-01-01",
            "01/01/1970",
            "1970-01-01 00:00:00",
            "1970-01-01T12:00:00Z",
            "1970-01-02T00:00:00Z",
            "1969-12-31",
            "1969-12-31T12:00:00-03:00",
            "1970-01-01T00:00:01Z",
            "1900-01-02",
            "1990-05-20",
            "1970",
            "Ana 1970",
        ] {
            assert!(!is_zero(text), "{text}");
        }
    }
}
