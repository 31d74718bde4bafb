//! Dates as people and programs write them. Each row names its source.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::domain::samples::matching;

const SAID_AT: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

fn parsed(text: &str, region: &str) -> Option<String> {
    parse(text, Region::new(region).unwrap(), SAID_AT)
}

#[test]
fn first_days_of_months_are_read() {
    for (text, source) in [
        ("1° de maio de 1990", "Portuguese: the sign of degrees"),
        ("1º de maio de 1990", "Portuguese"),
        ("1º/05/1990", "Portuguese, in digits"),
        ("primeiro de maio de 1990", "Portuguese, in words"),
        ("primero de mayo de 1990", "Spanish, in words"),
    ] {
        assert_eq!(parsed(text, "BR").as_deref(), Some("1990-05-01"), "{text} ({source})");
    }
}

#[test]
fn unambiguous_dates_are_read() {
    for (text, region, source) in [
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
        (
            "20MAY1990",
            "BR",
            "https://www.icao.int/publications/pages/publication.aspx?docnum=9303: passports",
        ),
        ("20/05/1990 - 35 anos", "BR", "Portuguese: with the age"),
        ("20/05/1990 (35 anos)", "BR", "Portuguese: with the age"),
        ("*20.05.1990", "DE", "German: born"),
        ("20-05-1990", "BR", "CLDR pt"),
        ("20.05.1990", "DE", "CLDR de"),
        ("20 05 1990", "BR", "as above: blanks"),
        ("20/5/1990", "MX", "CLDR es"),
        ("20051990", "BR", "as above: day first without separators"),
        ("20/05/1990 00:00", "BR", "spreadsheets"),
        ("05/20/1990", "US", "CLDR en-US"),
        ("05-20-1990", "PR", "CLDR es-PR"),
        ("05/20/1990", "BR", "CLDR: no other order gives a date"),
        ("20/05/1990", "US", "CLDR: no other order gives a date"),
        ("20/05/1990", "CA", "CLDR: no other order gives a date"),
        ("20/05/1990", "JP", "CLDR: no other order gives a date"),
        ("20 de maio de 1990", "BR", "CLDR pt"),
        ("20 de Maio de 1990", "US", "CLDR pt"),
        ("20 de mayo del 1990", "MX", "CLDR es"),
        ("20 mai. 1990", "BR", "CLDR pt, short"),
        ("20. Mai 1990", "DE", "CLDR de"),
        ("Sonntag, 20. Mai 1990", "DE", "CLDR de, full"),
        ("So., 20. Mai 1990", "DE", "CLDR de, short"),
        ("dimanche 20 mai 1990", "FR", "CLDR fr, full"),
        ("20 maggio 1990", "IT", "CLDR it"),
        ("domenica 20 maggio 1990", "IT", "CLDR it, full"),
        ("May 20, 1990", "BR", "CLDR en"),
        ("May 20th, 1990", "US", "CLDR en"),
        ("20th of May 1990", "US", "CLDR en-GB"),
        ("20-May-1990", "BR", "spreadsheets"),
        ("1990 May 20", "US", "LLM habit"),
    ] {
        assert_eq!(parsed(text, region).as_deref(), Some("1990-05-20"), "{text} {region} ({source})");
    }
    assert_eq!(parsed("05/06/1990", "BR").as_deref(), Some("1990-06-05"), "CLDR pt");
    assert_eq!(parsed("05/06/1990", "US").as_deref(), Some("1990-05-06"), "CLDR en-US");
    assert_eq!(parsed("1º de março de 1990", "BR").as_deref(), Some("1990-03-01"), "CLDR pt");
    assert_eq!(parsed("05/05/1990", "CA").as_deref(), Some("1990-05-05"), "both orders say so");
    assert_eq!(parsed("29/02/2000", "BR").as_deref(), Some("2000-02-29"), "the Gregorian calendar");
}

#[test]
fn dates_with_weekdays_and_times_are_read() {
    for (text, region, source) in [
        ("domingo, 20 de maio de 1990", "BR", "CLDR pt, full"),
        ("dom., 20 de mai. de 1990", "BR", "CLDR pt, short"),
        ("Domingo, 20 de Mayo de 1990", "MX", "CLDR es, full"),
        ("dom, 20 may 1990", "MX", "CLDR es, short"),
        ("Sunday, May 20, 1990", "US", "CLDR en, full"),
        ("Sun, May 20, 1990", "BR", "CLDR en, short"),
        ("domingo, 20/05/1990", "BR", "as above: a weekday before digits"),
        ("Sun May 20 1990 00:00:00 GMT-0300 (Horário Padrão de Brasília)", "BR", "ECMA-262: Date.toString"),
        ("Sun May 20 1990", "BR", "ECMA-262: Date.toDateString"),
        ("Sun, 20 May 1990 00:00:00 GMT", "BR", "ECMA-262: Date.toUTCString; RFC 9110"),
        ("Sun, 20 May 1990 00:00:00 -0300", "BR", "RFC 5322, 3.3"),
        ("Sun May 20 00:00:00 1990", "BR", "C's asctime, Python's ctime"),
        ("Sun May 20 00:00:00 BRT 1990", "BR", "Java's Date.toString"),
        ("20/05/1990, 00:00:00", "BR", "ECMA-402: toLocaleString in pt-BR"),
        ("5/20/1990, 12:00:00 AM", "US", "ECMA-402: toLocaleString in en-US"),
        ("20/05/1990 às 10h", "BR", "Portuguese: a sentence"),
        ("20 de maio de 1990 às 10:30", "BR", "CLDR pt: date and time"),
        ("20 de mayo de 1990 a las 10:30", "MX", "CLDR es: date and time"),
        ("May 20, 1990 at 10:30 AM", "US", "CLDR en: date and time"),
        ("20/mai/1990", "BR", "spreadsheets"),
        ("20-MAY-1990", "BR", "Oracle's default"),
        ("20-mai.-1990", "BR", "spreadsheets in Portuguese"),
        ("1990-05-20 00:00:00+00", "BR", "PostgreSQL's timestamptz"),
        ("1990-05-20 00:00:00.000 UTC", "BR", "BigQuery"),
        ("May 20 1990 12:00AM", "US", "SQL Server"),
        ("２０／０５／１９９０", "BR", "Unicode: full-width forms"),
        ("\u{200f}20/05/1990\u{200e}", "BR", "web pages"),
        ("20 de maio de 1990, domingo", "BR", "as above: the weekday at the end"),
        ("20/05/1990 (domingo)", "BR", "as above: the weekday in parentheses"),
        ("dia 20 de maio de 1990", "BR", "Portuguese: a sentence"),
        ("em 20 de maio de 1990", "BR", "Portuguese: a sentence"),
        ("el 20 de mayo del año 1990", "MX", "Spanish: of the year"),
        ("1990\u{2011}05\u{2011}20", "BR", "web pages: hyphens that do not break"),
        ("20–05–1990", "BR", "word processors: dashes"),
        ("1990−05−20", "BR", "word processors: minus signs"),
        ("１９９０−０５−２０", "JP", "Unicode: full-width forms, and minus signs"),
        ("1990-05-20Z", "BR", "XML Schema, 3.3.9: a date with a zone"),
        ("1990-05-20-03:00", "BR", "XML Schema, 3.3.9: a date with a zone"),
        ("1990-05-20+00:00", "US", "XML Schema, 3.3.9: a date with a zone"),
    ] {
        assert_eq!(parsed(text, region).as_deref(), Some("1990-05-20"), "{text} {region} ({source})");
    }
    for (text, expected, source) in [
        ("terça-feira, 22 de maio de 1990", "1990-05-22", "CLDR pt, full"),
        ("ter., 22 de mai. de 1990", "1990-05-22", "CLDR pt, short"),
        ("martes, 22 de mayo de 1990", "1990-05-22", "CLDR es: a day that begins like a month"),
        ("mar. 22 de mayo de 1990", "1990-05-22", "CLDR es, short"),
        ("mar 22 1990", "1990-03-22", "CLDR es, pt: a month, because no other word is one"),
        ("Saturday, 01 Sept 1990", "1990-09-01", "CLDR en-GB: Sept"),
        ("1 de set. de 1990", "1990-09-01", "CLDR pt, short"),
        ("1 de setiembre de 1990", "1990-09-01", "CLDR es-PE"),
        ("4 dic. 1990", "1990-12-04", "CLDR es, short"),
        ("Segunda-feira 1 de outubro de 1990", "1990-10-01", "as above: without a comma"),
        ("4ª feira, 23/05/1990", "1990-05-23", "Portuguese: the fourth day"),
        ("2a-feira, 21 de maio de 1990", "1990-05-21", "Portuguese: the second day"),
    ] {
        assert_eq!(parsed(text, "BR").as_deref(), Some(expected), "{text} ({source})");
    }
}

#[test]
fn months_in_french_german_and_italian_are_read() {
    for (text, expected, source) in [
        ("20 août 1990", "1990-08-20", "CLDR fr"),
        ("3 févr. 1990", "1990-02-03", "CLDR fr, short"),
        ("3 juil. 1990", "1990-07-03", "CLDR fr, short"),
        ("3. März 1990", "1990-03-03", "CLDR de"),
        ("3. Okt. 1990", "1990-10-03", "CLDR de, short"),
        ("3 gennaio 1990", "1990-01-03", "CLDR it"),
    ] {
        assert_eq!(parsed(text, "BR").as_deref(), Some(expected), "{text} ({source})");
    }
}

#[test]
fn ambiguous_and_impossible_dates_are_rejected() {
    for (text, region, reason) in [
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
        ("3 jui 1990", "BR", "June or July in French"),
        ("20:05:1990", "BR", "not a separator of dates"),
        ("-20/05/1990", "BR", "a sign"),
        ("20/05/1990 ou 21/05/1990", "BR", "two dates"),
        ("32994", "BR", "a spreadsheet's serial number"),
        ("643161600000", "BR", "a Unix time"),
        ("32994.0", "BR", "a spreadsheet's serial number, by pandas"),
        ("segunda-feira, 20 de maio de 1990", "BR", "it was a Sunday"),
        ("Mon, 20 May 1990 00:00:00 GMT", "US", "it was a Sunday"),
        ("20 de maio de 1990, domingo ou segunda", "BR", "more than a date"),
        ("20 de maio de 1990, segunda-feira", "BR", "it was a Sunday"),
        ("7ª feira, 20/05/1990", "BR", "no such day"),
        ("3ª feira, 23/05/1990", "BR", "it was a Wednesday"),
        ("1990-05-20Zx", "BR", "no zone"),
        ("20 de maio de 1990 10", "BR", "no day of the week"),
        ("feira, 20 de maio de 1990", "BR", "no day of the week"),
        ("Ana 20/05/1990", "BR", "no day of the week"),
        ("domingo", "BR", "a day of the week"),
        ("domingo 20 de maio", "BR", "no year"),
        ("20/05 10:00 1990 x", "BR", "a year that is not at the end"),
        ("", "BR", "nothing"),
    ] {
        assert_eq!(parsed(text, region), None, "{text} {region} ({reason})");
    }
    assert_eq!(parsed("2026-11-22", "BR").as_deref(), Some("2026-11-22"));
    assert_eq!(parsed("1900-01-01", "BR").as_deref(), Some("1900-01-01"));
}

#[test]
fn only_canonical_credible_dates_are_verified() {
    assert!(is_verified("1990-05-20", SAID_AT));
    for text in ["20/05/1990", "1990-5-20", "19900520", "2027-01-01", "1899-12-31", "1990-02-30", "35", ""] {
        assert!(!is_verified(text, SAID_AT), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn parsed_dates_stay_the_same(
        text in matching("\\PC{0,30}|((dom|seg|mar|sun)[.a-z-]{0,9},? )?[0-9]{1,2} (de )?[a-z]{3,9}[.]? [0-9]{4}( [0-9:h ]{0,9})?|[0-9]{1,8}[-/. ]?[0-9]{0,2}[-/. ]?[0-9]{0,4}|[0-9]{1,2} de [a-z]{3,9} de [0-9]{4}"),
        region in matching("BR|US|CA|JP"),
    ) {
        if let Some(date) = parsed(&text, &region) {
            prop_assert_eq!(parsed(&date, "US"), Some(date.clone()));
            prop_assert!(is_verified(&date, SAID_AT));
        }
    }
}
