//! Reads dates of birth as ISO 8601, `YYYY-MM-DD`. An ambiguous date is rejected.

use time::{Date, Month, OffsetDateTime, Weekday};

use crate::domain::value::{
    phone::Region,
    text::{folded, plain},
};

/// No living person was born earlier.
const MIN_YEAR: i32 = 1900;
/// In bytes: room for the name of a time zone. A longer text is not a date.
const MAX_TEXT: usize = 128;

/// Parses a date as `YYYY-MM-DD`; `None` if it is ambiguous or after `said_at`.
///
/// If the year comes first, month and day follow (ISO 8601). Otherwise day and month are in the order of
/// `region` (Unicode CLDR), or in the other one if only that gives a date. Two-digit years, ages and dates
/// before 1900 are rejected, and so is a date on another day of the week than the text says. A time of day is
/// ignored.
#[must_use]
pub fn parse(text: &str, region: Region, said_at: OffsetDateTime) -> Option<String> {
    let date = read(text, Order::of(region))?;
    is_credible(date, said_at).then(|| iso(date))
}

/// Whether a stored value is a date that [`parse`] returned for an event of that time.
#[must_use]
pub fn is_verified(stored: &str, said_at: OffsetDateTime) -> bool {
    let written = |date: Date| is_credible(date, said_at) && iso(date) == stored;
    read(stored, Order::Unsure).is_some_and(written)
}

fn is_credible(date: Date, said_at: OffsetDateTime) -> bool {
    date.year() >= MIN_YEAR && date <= said_at.date()
}

fn iso(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The order of day and month if the year comes last.
#[derive(Clone, Copy)]
enum Order {
    DayMonth,
    MonthDay,
    /// The region uses both orders, or puts the year first.
    Unsure,
}

impl Order {
    fn of(region: Region) -> Self {
        match region.code() {
            "US" | "AS" | "FM" | "GU" | "MH" | "MP" | "PR" | "PW" | "UM" | "VI" => Self::MonthDay,
            "CA" | "PA" | "PH" | "CN" | "HU" | "JP" | "KP" | "KR" | "LT" | "MN" | "TW" => Self::Unsure,
            _ => Self::DayMonth,
        }
    }
}

fn read(text: &str, order: Order) -> Option<Date> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = folded(&plain(text));
    let (text, year) = without_time(&text);
    if let Some(date) = undivided(text, order) {
        return Some(date);
    }
    let is_divided = text.chars().all(|c| c.is_alphanumeric() || "/-. ,".contains(c));
    if !is_divided || text.starts_with('-') {
        return None;
    }
    let words =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty() && !is_particle(word));
    let mut parts = [""; 4];
    let mut count = 0;
    for word in words.chain(year) {
        // `terça-feira`: only beside the name of a day.
        if !(word == "feira" && count == 1 && weekday(parts[0]).is_some()) {
            *parts.get_mut(count)? = word;
            count += 1;
        }
    }
    match parts {
        [first, second, third, ""] => of_parts([first, second, third], order),
        [day, first, second, third] => {
            let day = weekday(day)?;
            of_parts([first, second, third], order).filter(|date| date.weekday() == day)
        }
    }
}

fn of_parts(parts: [&str; 3], order: Order) -> Option<Date> {
    let [first, second, third] = parts;
    if parts.iter().any(|part| part.starts_with(char::is_alphabetic)) {
        return with_month_name(parts);
    }
    match (number(first)?, number(second)?, number(third)?) {
        ((year, 4), (month, 1 | 2), (day, 1 | 2)) => date(year, month, day),
        ((one, 1 | 2), (two, 1 | 2), (year, 4)) => ordered(one, two, year, order),
        _ => None,
    }
}

/// Eight digits: ISO 8601's basic format, or year last. No text is both, because 19 and 20 are not months.
fn undivided(text: &str, order: Order) -> Option<Date> {
    let (all, 8) = number(text)? else { return None };
    date(all / 10_000, all / 100 % 100, all % 100)
        .filter(|date| date.year() >= MIN_YEAR)
        .or_else(|| ordered(all / 1_000_000, all / 10_000 % 100, all % 10_000, order))
}

/// Cuts off a time of day and what follows it: `1990-05-20T00:00:00Z`, `20/05/1990 às 10h`. Also returns a year
/// that comes after the time: `Sun May 20 00:00:00 BRT 1990`.
fn without_time(text: &str) -> (&str, Option<&str>) {
    let starts = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (1..=2).contains(&digits) && rest.get(digits..).is_some_and(|rest| rest.starts_with([':', 'h']))
    };
    let mut cuts =
        text.match_indices(['t', ' ']).filter(|(at, cut)| text.get(at + cut.len()..).is_some_and(starts));
    let Some((date, time)) = cuts.next().and_then(|(at, _)| text.split_at_checked(at)) else {
        return (text, None);
    };
    let date = date.trim_end_matches([',', ' ']);
    let before = [" as", " a las", " at"].iter().find_map(|word| date.strip_suffix(word));
    let date = before.unwrap_or(date).trim_end_matches([',', ' ']);
    let is_year = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    let has_year = || date.split(|c: char| !c.is_alphanumeric()).any(is_year);
    (date, time.rsplit(' ').next().filter(|word| is_year(word) && !has_year()))
}

fn ordered(one: i32, two: i32, year: i32, order: Order) -> Option<Date> {
    let (day_first, month_first) = (date(year, two, one), date(year, one, two));
    match order {
        Order::DayMonth => day_first.or(month_first),
        Order::MonthDay => month_first.or(day_first),
        Order::Unsure if day_first.is_none() || month_first.is_none() || one == two => {
            day_first.or(month_first)
        }
        Order::Unsure => None,
    }
}

/// `20 maio 1990`, `may 20 1990`, `1990 may 20`: only the year has four digits.
fn with_month_name(parts: [&str; 3]) -> Option<Date> {
    let month = |text: &str| MONTHS.iter().position(|names| names.split(' ').any(|name| is_name(text, name)));
    let names = parts.map(month);
    let mut found = names.into_iter().flatten();
    let (Some(month), None) = (found.next(), found.next()) else { return None };
    let (mut year, mut day) = (None, None);
    for (part, _) in parts.into_iter().zip(names).filter(|(_, name)| name.is_none()) {
        match number(part).or_else(|| number(without_ordinal(part)))? {
            (value, 4) => year = Some(value),
            (value, 1 | 2) => day = Some(value),
            _ => return None,
        }
    }
    date(year?, i32::try_from(month + 1).ok()?, day?)
}

/// The months in Portuguese, Spanish and English, without accents. The first three letters are enough.
const MONTHS: [&str; 12] = [
    "janeiro enero january",
    "fevereiro febrero february",
    "marco marzo march",
    "abril april",
    "maio mayo may",
    "junho junio june",
    "julho julio july",
    "agosto august",
    "setembro septiembre setiembre september sept",
    "outubro octubre october",
    "novembro noviembre november",
    "dezembro diciembre december",
];

/// Whether `text` is this name or its first three letters, such as "mai", "may", "dez", "dic" or "dec".
fn is_name(text: &str, name: &str) -> bool {
    text == name || text.len() == 3 && name.starts_with(text)
}

/// The days of the week in Portuguese, Spanish and English, without accents. The first three letters are enough.
const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Sunday, "domingo sunday"),
    (Weekday::Monday, "segunda lunes monday"),
    (Weekday::Tuesday, "terca martes tuesday tues"),
    (Weekday::Wednesday, "quarta miercoles wednesday"),
    (Weekday::Thursday, "quinta jueves thursday thurs thur"),
    (Weekday::Friday, "sexta viernes friday"),
    (Weekday::Saturday, "sabado saturday"),
];

fn weekday(text: &str) -> Option<Weekday> {
    let is_named = |names: &str| names.split(' ').any(|name| is_name(text, name));
    WEEKDAYS.iter().find(|(_, names)| is_named(names)).map(|(day, _)| *day)
}

fn is_particle(word: &str) -> bool {
    matches!(word, "de" | "del" | "do" | "of" | "the")
}

/// `20th`, `1º`, `1er`.
fn without_ordinal(text: &str) -> &str {
    ["st", "nd", "rd", "th", "o", "\u{ba}", "\u{aa}", "er"]
        .iter()
        .find_map(|ending| text.strip_suffix(ending))
        .unwrap_or(text)
}

/// A number of one to eight digits, and its number of digits.
fn number(text: &str) -> Option<(i32, usize)> {
    let fits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok().map(|value| (value, text.len())))?
}

fn date(year: i32, month: i32, day: i32) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const SAID_AT: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    fn parsed(text: &str, region: &str) -> Option<String> {
        parse(text, Region::new(region).unwrap(), SAID_AT)
    }

    /// A date as it was written, the region of the reader, and where dates are written like that.
    type Row = (&'static str, &'static str, &'static str);

    fn all_mean_the_same_day(rows: &[Row]) {
        for (text, region, source) in rows {
            assert_eq!(parsed(text, region).as_deref(), Some("1990-05-20"), "{text} {region} ({source})");
        }
    }

    #[test]
    fn unambiguous_dates_in_digits_are_read() {
        all_mean_the_same_day(&[
            ("1990-05-20", "BR", "ISO 8601; the platform's reference page"),
            ("1990-05-20", "US", "ISO 8601: the same everywhere"),
            ("19900520", "BR", "ISO 8601, basic form"),
            ("1990-05-20T00:00:00Z", "BR", "RFC 3339"),
            ("1990-05-20T00:00:00.000+03:00", "US", "RFC 3339: the date as written"),
            ("1990-05-20 00:00:00", "BR", "SQL"),
            ("1990/05/20", "JP", "CLDR ja: year first"),
            ("1990. 5. 20.", "KR", "CLDR ko: year first"),
            ("1990.05.20.", "HU", "CLDR hu: year first"),
            ("20/05/1990", "BR", "CLDR pt"),
            ("20-05-1990", "BR", "CLDR pt"),
            ("20.05.1990", "DE", "CLDR de"),
            ("20 05 1990", "BR", "observed"),
            ("20/5/1990", "MX", "CLDR es"),
            ("20051990", "BR", "observed: day first without separators"),
            ("20/05/1990 00:00", "BR", "observed: spreadsheets"),
            ("05/20/1990", "US", "CLDR en-US"),
            ("05-20-1990", "PR", "CLDR es-PR"),
            ("05/20/1990", "BR", "no other order gives a date"),
            ("20/05/1990", "US", "no other order gives a date"),
            ("20/05/1990", "CA", "no other order gives a date"),
            ("20/05/1990", "JP", "no other order gives a date"),
        ]);
        assert_eq!(parsed("05/06/1990", "BR").as_deref(), Some("1990-06-05"), "CLDR pt");
        assert_eq!(parsed("05/06/1990", "US").as_deref(), Some("1990-05-06"), "CLDR en-US");
        assert_eq!(parsed("1º de março de 1990", "BR").as_deref(), Some("1990-03-01"), "CLDR pt");
        assert_eq!(parsed("05/05/1990", "CA").as_deref(), Some("1990-05-05"), "both orders say so");
        assert_eq!(parsed("29/02/2000", "BR").as_deref(), Some("2000-02-29"), "the Gregorian calendar");
    }

    #[test]
    fn dates_in_words_are_read() {
        all_mean_the_same_day(&[
            ("20 de maio de 1990", "BR", "CLDR pt"),
            ("20 de Maio de 1990", "US", "CLDR pt"),
            ("20 de mayo del 1990", "MX", "CLDR es"),
            ("20 mai. 1990", "BR", "CLDR pt, short"),
            ("May 20, 1990", "BR", "CLDR en"),
            ("May 20th, 1990", "US", "CLDR en"),
            ("20th of May 1990", "US", "CLDR en-GB"),
            ("20-May-1990", "BR", "observed: spreadsheets"),
            ("1990 May 20", "US", "observed LLM habit"),
            ("domingo, 20 de maio de 1990", "BR", "CLDR pt, full"),
            ("dom., 20 de mai. de 1990", "BR", "CLDR pt, short"),
            ("Domingo, 20 de Mayo de 1990", "MX", "CLDR es, full"),
            ("dom, 20 may 1990", "MX", "CLDR es, short"),
            ("Sunday, May 20, 1990", "US", "CLDR en, full"),
            ("Sun, May 20, 1990", "BR", "CLDR en, short"),
            ("domingo, 20/05/1990", "BR", "observed: a weekday before digits"),
        ]);
        for (text, expected, source) in [
            ("terça-feira, 22 de maio de 1990", "1990-05-22", "CLDR pt, full"),
            ("ter., 22 de mai. de 1990", "1990-05-22", "CLDR pt, short"),
            ("martes, 22 de mayo de 1990", "1990-05-22", "CLDR es: a day that begins like a month"),
            ("mar. 22 de mayo de 1990", "1990-05-22", "CLDR es, short"),
            ("mar 22 1990", "1990-03-22", "a month, because no other word is one"),
            ("Saturday, 01 Sept 1990", "1990-09-01", "CLDR en-GB: Sept"),
            ("1 de set. de 1990", "1990-09-01", "CLDR pt, short"),
            ("1 de setiembre de 1990", "1990-09-01", "CLDR es-PE"),
            ("4 dic. 1990", "1990-12-04", "CLDR es, short"),
            ("Segunda-feira 1 de outubro de 1990", "1990-10-01", "without a comma"),
        ] {
            assert_eq!(parsed(text, "BR").as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn dates_with_a_time_are_read() {
        all_mean_the_same_day(&[
            (
                "Sun May 20 1990 00:00:00 GMT-0300 (Horário Padrão de Brasília)",
                "BR",
                "ECMA-262: Date.toString",
            ),
            ("Sun May 20 1990", "BR", "ECMA-262: Date.toDateString"),
            ("Sun, 20 May 1990 00:00:00 GMT", "BR", "ECMA-262: Date.toUTCString; RFC 9110"),
            ("Sun, 20 May 1990 00:00:00 -0300", "BR", "RFC 5322, 3.3"),
            ("Sun May 20 00:00:00 1990", "BR", "C's asctime, Python's ctime"),
            ("Sun May 20 00:00:00 BRT 1990", "BR", "Java's Date.toString"),
            ("20/05/1990, 00:00:00", "BR", "ECMA-402: toLocaleString in pt-BR"),
            ("5/20/1990, 12:00:00 AM", "US", "ECMA-402: toLocaleString in en-US"),
            ("20/05/1990 às 10h", "BR", "observed in chats"),
            ("20 de maio de 1990 às 10:30", "BR", "CLDR pt: date and time"),
            ("20 de mayo de 1990 a las 10:30", "MX", "CLDR es: date and time"),
            ("May 20, 1990 at 10:30 AM", "US", "CLDR en: date and time"),
            ("20/mai/1990", "BR", "observed: spreadsheets"),
            ("20-MAY-1990", "BR", "Oracle's default"),
            ("20-mai.-1990", "BR", "spreadsheets in Portuguese"),
            ("1990-05-20 00:00:00+00", "BR", "PostgreSQL's timestamptz"),
            ("1990-05-20 00:00:00.000 UTC", "BR", "BigQuery"),
            ("May 20 1990 12:00AM", "US", "SQL Server"),
            ("２０／０５／１９９０", "BR", "Unicode: full-width forms"),
            ("\u{200f}20/05/1990\u{200e}", "BR", "copied from web pages"),
        ]);
    }

    #[test]
    fn ambiguous_and_impossible_dates_are_rejected() {
        for (text, region, source) in [
            ("05/06/1990", "CA", "both orders are usual"),
            ("05/06/1990", "JP", "the region puts the year first"),
            ("20/05/90", "BR", "two-digit year"),
            ("May 20, 90", "US", "two-digit year"),
            ("35", "BR", "an age"),
            ("35 anos", "BR", "an age"),
            ("1990", "BR", "a year"),
            ("05/1990", "BR", "no day"),
            ("20 de maio", "BR", "no year"),
            ("30/02/1990", "BR", "the Gregorian calendar"),
            ("29/02/1900", "BR", "the Gregorian calendar"),
            ("1990-20-05", "BR", "ISO 8601: no such month"),
            ("1899-12-31", "BR", "before 1900"),
            ("0000-00-00", "BR", "MySQL's zero date"),
            ("2026-11-23", "BR", "after it was said"),
            ("2990-05-20", "BR", "after it was said"),
            ("20/13/1990", "BR", "no such month"),
            ("20 de brumaire de 1990", "BR", "no such month"),
            ("maio maio 1990", "BR", "two months"),
            ("20:05:1990", "BR", "not a separator of dates"),
            ("-20/05/1990", "BR", "a sign"),
            ("20/05/1990 ou 21/05/1990", "BR", "two dates"),
            ("32994", "BR", "a spreadsheet's serial number"),
            ("643161600000", "BR", "a Unix time"),
            ("32994.0", "BR", "a spreadsheet's serial number, by pandas"),
            ("segunda-feira, 20 de maio de 1990", "BR", "it was a Sunday"),
            ("Mon, 20 May 1990 00:00:00 GMT", "US", "it was a Sunday"),
            ("20 de maio de 1990, domingo ou segunda", "BR", "more than a date"),
            ("feira, 20 de maio de 1990", "BR", "no day of the week"),
            ("Ana 20/05/1990", "BR", "no day of the week"),
            ("domingo", "BR", "a day of the week"),
            ("domingo 20 de maio", "BR", "no year"),
            ("20/05 10:00 1990 x", "BR", "a year that is not at the end"),
            ("", "BR", "nothing"),
        ] {
            assert_eq!(parsed(text, region), None, "{text} {region} ({source})");
        }
        assert_eq!(parsed("2026-11-22", "BR").as_deref(), Some("2026-11-22"));
        assert_eq!(parsed("1900-01-01", "BR").as_deref(), Some("1900-01-01"));
    }

    #[test]
    fn only_canonical_credible_dates_are_verified() {
        assert!(is_verified("1990-05-20", SAID_AT));
        for text in
            ["20/05/1990", "1990-5-20", "19900520", "2027-01-01", "1899-12-31", "1990-02-30", "35", ""]
        {
            assert!(!is_verified(text, SAID_AT), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn parsed_dates_stay_the_same(
            text in "\\PC{0,30}|((dom|seg|mar|sun)[.a-z-]{0,9},? )?[0-9]{1,2} (de )?[a-z]{3,9}[.]? [0-9]{4}( [0-9:h ]{0,9})?|[0-9]{1,8}[-/. ]?[0-9]{0,2}[-/. ]?[0-9]{0,4}|[0-9]{1,2} de [a-z]{3,9} de [0-9]{4}",
            region in "BR|US|CA|JP",
        ) {
            if let Some(date) = parsed(&text, &region) {
                prop_assert_eq!(parsed(&date, "US"), Some(date.clone()));
                prop_assert!(is_verified(&date, SAID_AT));
            }
        }
    }
}
