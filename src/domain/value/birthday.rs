//! Reads dates of birth as ISO 8601, `YYYY-MM-DD`. An ambiguous date is rejected.

mod zero;

use time::{Date, Month, OffsetDateTime, Weekday};

use crate::domain::value::{
    hyphens::with_hyphens,
    phone::Region,
    text::{folded, plain},
};
pub(in crate::domain) use zero::is_zero;

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
    read_folded(&folded(&with_hyphens(plain(text))), order)
}

fn read_folded(text: &str, order: Order) -> Option<Date> {
    let text = without_age(text.strip_prefix('*').unwrap_or(text).trim_start());
    let (text, year) = without_time(without_zone(text));
    let apart = with_spaces(text);
    let text = apart.as_deref().unwrap_or(text);
    if let Some(date) = undivided(text, order) {
        return Some(date);
    }
    let is_divided = text.chars().all(|c| c.is_alphanumeric() || "/-. ,()°".contains(c));
    if !is_divided || text.starts_with('-') {
        return None;
    }
    let words =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty() && !is_particle(word));
    let mut parts = [""; 4];
    let mut count = 0_usize;
    for word in words.chain(year) {
        let is_after_day = || {
            count.checked_sub(1).and_then(|last| parts.get(last)).is_some_and(|day| weekday(day).is_some())
        };
        // `terça-feira`: only beside the name of a day.
        if !(word == "feira" && is_after_day()) {
            *parts.get_mut(count)? = if is_first(word) { "1" } else { word };
            count += 1;
        }
    }
    let (parts, day) = match parts {
        [first, second, third, ""] => return of_parts([first, second, third], order),
        [day, first, second, third] if weekday(day).is_some() => ([first, second, third], day),
        [first, second, third, day] => ([first, second, third], day),
    };
    let day = weekday(day)?;
    of_parts(parts, order).filter(|date| date.weekday() == day)
}

/// The first day of a month, of which only the first has a word.
fn is_first(word: &str) -> bool {
    matches!(word, "primeiro" | "primero" | "premier" | "primo" | "ersten")
}

/// Without the age after a date: `20/05/1990 - 35 anos`, `20/05/1990 (35 anos)`.
fn without_age(text: &str) -> &str {
    let Some(at) = text.rfind([',', '-', '(']).filter(|at| *at >= "1/1/1990".len()) else { return text };
    let Some((date, age)) = text.split_at_checked(at) else { return text };
    let age = age.trim_matches([',', '-', '(', ')', ' ']);
    let is_age = ["anos", "ano", "years", "years old", "yo", "jahre", "ans", "anni"].iter().any(|unit| {
        age.strip_suffix(unit)
            .map(str::trim)
            .is_some_and(|age| (1..=3).contains(&age.len()) && age.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if is_age { date.trim_end() } else { text }
}

/// A date without anything between its parts, as passports have it: `20MAY1990`.
fn with_spaces(text: &str) -> Option<String> {
    let day = text.bytes().take_while(u8::is_ascii_digit).count();
    let (day, rest) = text.split_at_checked(day).filter(|(day, _)| (1..=2).contains(&day.len()))?;
    let (month, year) = rest.split_at_checked(3)?;
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    (is_year && month.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| format!("{day} {month} {year}"))
}

/// Without the time zone of a date alone (XML Schema, 3.3.9): `1990-05-20Z`, `1990-05-20-03:00`.
fn without_zone(text: &str) -> &str {
    let Some((date, zone)) = text.split_at_checked("1990-05-20".len()) else { return text };
    let digits = zone.strip_prefix(['+', '-']).filter(|zone| zone.len() == "03:00".len());
    let is_offset = digits.and_then(|zone| zone.split_once(':')).is_some_and(|(hours, minutes)| {
        hours.len() == 2 && hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit())
    });
    let is_date = date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_date && (zone == "z" || is_offset) { date } else { text }
}

fn of_parts(parts: [&str; 3], order: Order) -> Option<Date> {
    let [first, second, third] = parts;
    if parts.iter().any(|part| part.starts_with(char::is_alphabetic)) {
        return with_month_name(parts);
    }
    match (number(without_ordinal(first))?, number(second)?, number(third)?) {
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

/// The months in Portuguese, Spanish, English, German, French and Italian (Unicode CLDR), without accents. The first three
/// letters are enough, but not for two French months that share them.
const MONTHS: [&str; 12] = [
    "janeiro enero january januar janner janvier janv gennaio",
    "fevereiro febrero february februar fevrier fevr febbraio",
    "marco marzo march marz mars",
    "abril april avril aprile",
    "maio mayo may mai maggio",
    "junho junio june juni juin giugno",
    "julho julio july juli juillet juil luglio",
    "agosto august aout",
    "setembro septiembre setiembre september sept septembre settembre",
    "outubro octubre october oktober octobre ottobre",
    "novembro noviembre november novembre",
    "dezembro diciembre december decembre dicembre",
];

/// Whether `text` is this name or its first three letters, such as "mai", "may", "dez", "dic" or "dec".
fn is_name(text: &str, name: &str) -> bool {
    text == name || text.len() == 3 && name.starts_with(text) && text != "jui"
}

/// The days of the week in the languages of the months, without accents. The first three letters are enough, the first two in
/// German.
const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Sunday, "domingo sunday sonntag so dimanche domenica"),
    (Weekday::Monday, "segunda lunes monday montag mo lundi lunedi"),
    (Weekday::Tuesday, "terca martes tuesday tues dienstag di mardi martedi"),
    (Weekday::Wednesday, "quarta miercoles wednesday mittwoch mi mercredi mercoledi"),
    (Weekday::Thursday, "quinta jueves thursday thurs thur donnerstag jeudi giovedi"),
    (Weekday::Friday, "sexta viernes friday freitag fr vendredi venerdi"),
    (Weekday::Saturday, "sabado saturday samstag sonnabend sa samedi sabato"),
];

fn weekday(text: &str) -> Option<Weekday> {
    // `4ª feira` is the fourth day of the week.
    if let Some(number) = text.strip_suffix(['\u{aa}', 'a']).filter(|number| number.len() == 1) {
        let days = WEEKDAYS.get(1..6)?.iter().zip(2..);
        return days
            .map(|((day, _), count)| (*day, count))
            .find(|(_, count)| number.parse() == Ok(*count))
            .map(|it| it.0);
    }
    let is_named = |names: &str| names.split(' ').any(|name| is_name(text, name));
    WEEKDAYS.iter().find(|(_, names)| is_named(names)).map(|(day, _)| *day)
}

fn is_particle(word: &str) -> bool {
    matches!(word, "de" | "del" | "do" | "of" | "the" | "dia" | "em" | "el" | "ano")
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
mod tests;
