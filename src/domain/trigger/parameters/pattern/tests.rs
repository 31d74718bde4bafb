//! What one pass finds in expressions, and which ones the validator gets.

use super::{scan::DELIMITED, *};

/// Why an expression is not checked; empty if it is.
fn fault(pattern: &str) -> &'static str {
    Patterns::default().translate(pattern).err().unwrap_or_default()
}

#[test]
fn expressions_that_backtrack_are_translated_as_ecma_262_reads_them() {
    for (pattern, expected) in [
        (r"(?=x)\d[\d]", "(?=x)[0-9][0-9]"),
        (r"(?=x)[\w-]", r"(?=x)[A-Za-z0-9_\-]"),
        (r"(?=x)[\w--z]", r"(?=x)[A-Za-z0-9_\-\-z]"),
        (r"(?=x)[.-\w]", r"(?=x)[.\-A-Za-z0-9_]"),
        (r"(?=x)[\-\w]", r"(?=x)[\-A-Za-z0-9_]"),
        (r"(?=x)[^[.]\/\<", r"(?=x)[^\[.]/<"),
        (r"(?=x)\_[\b]\0", r"(?=x)\_[\x08]\x00"),
        (r"(?=x)\.\x20\cA[\cj]", r"(?=x)\.\x20\u{1}[\u{a}]"),
        (r"(?=x)[^]", "(?=x)[\\x00-\u{10ffff}]"),
        (r"(?=x){a}{2}", r"(?=x)\{a}{2}"),
        (r"(?=x)\u{e9}\u00e9{2}", r"(?=x)\u{e9}\u00e9{2}"),
        (r"(?=x)\ud83d\ude00[\uD83D\uDE00-\uD83D\uDE4F]", "(?=x)\u{1f600}[\u{1f600}-\u{1f64f}]"),
        (r"(?=x)\u0061\u0062\ud83da\ud83d\u0061", r"(?=x)\u0061\u0062\ud83da\ud83d\u0061"),
        (r"(?=x)\p{L}\pN", r"(?=x)\p{L}\pN"),
        (r"(?<y>a)(b)\2\k<y>", r"(a)(b)(?:(?(2)\2))(?:(?(1)\1))"),
        (r"(?=x)\Aa\z", r"(?=x)^a$"),
        // Within its group and before it, a reference matches the empty text.
        (r"(a\1)\2(b)", "(a(?:))(?:)(b)"),
        (r"(?:(?<q>a)|(?<q>b))\k<q>", r"(?:(a)|(b))(?:(?(1)\1)(?(2)\2))"),
    ] {
        let scan = Scan::of(pattern);
        assert_eq!((scan.text.as_str(), scan.fault), (expected, None), "{pattern}");
    }
}

#[test]
fn what_backtracks_is_counted() {
    for (pattern, expected) in [
        ("^a+$", 0),
        (r"[(?=]\(?=", 0),
        (r"\ba\b", 0),
        (r"^\<a\>\0", 0),
        ("^(?!a)(?=b)(?<=c)(?<!d)(?<name>e)", 4),
        (r"(?<name>a)(a)\1\k<name>", 2),
        (r"(?=\ba\B)", 3),
        // It is not taken as it is written, and only one engine knows the form that is.
        (r"\Aa\b", 1),
        (r"\b[\w-.]\b", 2),
        // These are.
        (r"\b[\w-][-\w][^-\d]\b", 0),
    ] {
        assert_eq!(Scan::of(pattern).hard(), expected, "{pattern}");
    }
}

/// Each row with its source.
#[test]
fn what_ecma_262_does_not_have_is_not_checked() {
    for (pattern, expected) in [
        // Python, PCRE, Java: the class in the comment would hide what follows.
        ("(?x)#[\n^(a|aa)+(?=b)b+$", UNUSABLE),
        ("(?#x)a", UNUSABLE),
        // A dot means a class without line terminators, with any flags.
        ("(?s)^.+$", UNUSABLE),
        ("(?m)^a$", UNUSABLE),
        ("(?is)^.+$", UNUSABLE),
        ("(?s:.)", UNUSABLE),
        // Possessive and atomic: PCRE, Java, Oniguruma. Ruby: davishmcclurg/json_schemer #101.
        ("b++", UNUSABLE),
        ("(a*)?+", UNUSABLE),
        ("a{2}{3}", UNUSABLE),
        ("a*?+", UNUSABLE),
        ("^today+([-+][0-9]*d)?+$", UNUSABLE),
        ("(?>a)", UNUSABLE),
        // Conditions, subroutines, verbs, Python's references.
        (r"(a)?(?(1)b|c)", UNUSABLE),
        ("(?R)", UNUSABLE),
        ("(*FAIL)", UNUSABLE),
        ("(?'n'a)", UNUSABLE),
        ("(?P<n>a)(?P=n)", UNUSABLE),
        ("(?|a|b)", UNUSABLE),
        // PCRE, Ruby, .NET; to ECMA-262 at best letters.
        (r"\h", UNUSABLE),
        (r"[\h]", UNUSABLE),
        (r"\Gx", UNUSABLE),
        (r"\Qa.b\E", UNUSABLE),
        (r"\R", UNUSABLE),
        (r"a\Kb", UNUSABLE),
        (r"\X", UNUSABLE),
        (r"\a", UNUSABLE),
        (r"\U0001F600", UNUSABLE),
        (r"\012", UNUSABLE),
        (r"\c1", UNUSABLE),
        // Python's and PCRE's counts from 0, which are characters to browsers.
        ("^[a-z]{,5}$", UNUSABLE),
        ("^a{1, 3}$", UNUSABLE),
        ("a{3,2}", UNUSABLE),
        // POSIX: PHP, Ruby, Postgres.
        ("^[[:alpha:]]+$", UNUSABLE),
        ("^[]abc]+$", UNUSABLE),
        ("^[^]abc]+$", UNUSABLE),
        // Nothing is repeated.
        ("*", UNUSABLE),
        ("^*", UNUSABLE),
        ("(|+a)", UNUSABLE),
        (r"\b+", UNUSABLE),
        // Not complete.
        ("(", UNUSABLE),
        (")", UNUSABLE),
        ("[", UNUSABLE),
        ("[a\\", UNUSABLE),
        (r"\", UNUSABLE),
        ("(?<", UNUSABLE),
        // References to nothing, and those that are read backwards.
        (r"(a)\2", UNUSABLE),
        (r"\k<n>", UNUSABLE),
        (r"(?<=\1(a))b", UNUSABLE),
        // tdegrunt/jsonschema #192, json-schema-org/json-schema-spec #1478, hasbridge/php-json-schema #5
        (r"/^\S+@\S+$/", DELIMITED),
        (r"/^\S+@\S+$/i", DELIMITED),
        // geraintluff/tv4 #191
        ("/[0-9a-f]*/i", DELIMITED),
        (r"#^\d+$#u", DELIMITED),
        (r"~^\d+$~", DELIMITED),
        (r"/\d$/", DELIMITED),
        ("/^abc/", DELIMITED),
    ] {
        assert_eq!(fault(pattern), expected, "{pattern}");
    }
}

/// Each row with its source where the form is not an everyday one.
#[test]
fn what_people_write_is_checked() {
    for pattern in [
        "",
        "^a|b$",
        "^(?:\\+55|0)?[1-9]{2}9?\\d{8}$",
        r"^\(\d{2}\) 9?\d{4}-\d{4}$",
        r"^\d{3}\.?\d{3}\.?\d{3}-?\d{2}$",
        r"^[\p{L}\p{M}' .-]+$",
        r"^\p{Lu}\p{Script=Latin}*$",
        r"^[^\<\>]*$",
        r"^\<b\>$",
        r"^[^\0]*$",
        r"^\w+(?:[._%+\-]\w+)*@\w+(?:\.\w+)+$",
        r"\-\_\@\!\#\%\&\'\,\;\:\=\~\ \/",
        "\\\"\\`",
        r"^a{2}b{2,}c{2,3}d*?e+?f??g{2}?$",
        r"^[\w.-]+$",
        // Annex B: a hyphen beside a class is a hyphen. The most copied expression for addresses, and others
        r"^[\w-\.]+@([\w-]+\.)+[\w-]{2,4}$",
        r"^[a-\d]+[\s-_]?[+.-\w]*$",
        r"^[\d--/]+$",
        r"^[a-z&&^b]+$",
        r"^[+--]+$",
        r"^[^]{1,5}$",
        r"^\u00e9\x41\t\cJ$",
        "^]$",
        "^}$",
        "^{{.+}}$",
        r"^/api/v[0-9]+/$",
        r"/users/\d+/",
        r"^(?<year>\d{4})-(?<month>\d{2})$",
        // ECMA-262 2025
        "^(?i:abc)$",
        // microsoft/vscode-json-languageservice #96: Python, Java, Go
        "(?i)^alt\\+C$",
        // frenck/probatio #94: Python
        r"^(?P<year>\d{4})$",
        // davishmcclurg/json_schemer #11: Ruby
        r"\Afoo\z",
        // swagger-api/swagger-editor #1601: Django
        r"^[-a-zA-Z0-9_]+\Z",
        r"\A(?!.*\.\.)[^@\s]+@[^@\s]+\z",
        "^(?=.{1,254}$)(?=.{1,64}@)[a-z.]+@[a-z.]+$",
        r"^(?!.*(.)\1{2})\w+$",
        r"^(?:([A-Z])(?!.*\1))*$",
        r"^(['\x22]?)a\1$",
        r"^\d{4}(-)?\d{2}\1\d{2}$",
        r"^(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])(?=.*[~`!@#$%^&*()-_+={}[\]|;:\x22<>,./?]).{8,}$",
        r"^\S.{0,254}\S$",
        r"^(?!\s*$).{1,255}$",
        r"^[\s\S]{1,5000}$",
    ] {
        assert_eq!(fault(pattern), "", "{pattern}");
    }
}

#[test]
fn what_other_languages_write_is_read_with_a_remark() {
    for (pattern, remark) in [
        (r"\Aa\z", true),
        (r"^a\Z", true),
        ("(?i)a", true),
        ("a(?-i)b", true),
        ("(?P<n>a)", true),
        ("(?i:a)", false),
        ("(?<n>a)", false),
    ] {
        let translation = Patterns::default().translate(pattern).unwrap();
        assert_eq!(translation.remark, remark.then_some(scan::FOREIGN), "{pattern}");
    }
}

/// ECMA-262 forgets what a group has captured when a group around it is repeated; the engine does not.
#[test]
fn references_to_what_an_earlier_repetition_captured_are_not_checked() {
    for (pattern, is_checked) in [
        (r"^(?:(a)|b)+\1$", false),
        (r"^(?:(a)|b\1)+$", false),
        (r"^(?:(a)?b\1)*$", false),
        (r"^(?:(?:x(a))?b){2}\1$", false),
        (r"^(?:(?<n>a)|b)+\k<n>$", false),
        // It captures in each repetition.
        (r"^(?:(.)(?!\1))*$", true),
        (r"^(a|b)+\1$", true),
        (r"^(?:(a)|b)\1$", true),
        (r"^(?:(a)|b)?\1$", true),
    ] {
        assert_eq!(fault(pattern).is_empty(), is_checked, "{pattern}");
    }
}

#[test]
fn counts_within_counts_are_multiplied() {
    for (pattern, wide, copies) in [
        ("ab", 2, 1),
        ("a{3}b{7}c{2,5}", 15, 1),
        ("((a{2}){1,3}){0,4}b{5,}", 29, 12),
        (r"(a{3})(b{4}){2}\(", 12, 2),
        ("[({9}]{2}", 2, 1),
        ("(?:(?=a)b){100}", 200, 100),
        (r"(a)\1{99}", 100, 99),
        ("a|b{3}|(c{2}){5}", 14, 5),
        (r"\p{L}{3}[\d\p{L}]", 64, 1),
        ("a{99999999999999999999}", usize::MAX, 1),
    ] {
        let whole = Scan::of(pattern).whole;
        assert_eq!((whole.wide, whole.copies), (wide, copies), "{pattern}");
    }
}

/// Only what can be tried at the same place counts.
#[test]
fn the_width_is_how_much_is_tried_at_once() {
    for (pattern, expected) in [
        ("^abcdef$", 1),
        ("abcdef", 6),
        (r"^[\s\S]{1,5000}$", 1),
        (".{1,500}", 500),
        (r"^\S.{0,254}\S$", 2),
        (r"^\s*\S.{0,254}$", 256),
        (r"^(?:\d{3}-){5}$", 1),
        ("^(?:a{5}b?)+c$", 7),
        (r"^(?:[ab]{1,30}c?){3}$", 64),
        ("^a{3}|^b{5}$", 2),
        ("^a{3}|b{5}$", 8),
        ("^(?:^a|^b{2})c{9}$", 11),
        (r"([ab]{0,3000}[cd]?){3}[0-9]", 9004),
        // Look-arounds and back-references count once more.
        (r"^(?=.*[a-z])(?=.*\d)\S{8,}$", 4),
        (r"(?=x)(?:^(a{50})(?:(?(1)\1)))", 3),
    ] {
        assert_eq!(effort(pattern).width, expected, "{pattern}");
    }
}

#[test]
fn repeated_expressions_count_once_and_large_ones_more_often() {
    let mut patterns = Patterns::default();
    for pattern in ["^a", "^a", "^(?=a)b", "^(?=a)b", "(", "((a{1000}){1000}){1000}"] {
        let _ = patterns.translate(pattern);
    }
    // The last one is compiled, although in vain.
    assert_eq!(patterns.count(), 1 + 2 + LARGE);
    let mut patterns = Patterns::default();
    for (pattern, count) in [
        // Their characters are only counted.
        (r"^[\s\S]{1,5000}$", 1),
        (r"^\p{L}{2,100}$", 1),
        ("^[a-z]{3}[0-9]{50}$", 1),
        (r"^\p{L}{20}x$", LARGE),
        (r"^x\p{L}{20}$", LARGE),
    ] {
        let before = patterns.count();
        patterns.translate(pattern).ok().unwrap();
        assert_eq!(patterns.count() - before, count, "{pattern}");
    }
}

/// What is taken for small is small, with any characters.
#[test]
fn small_expressions_need_not_be_measured() {
    for class in [".", r"\S", r"\W", r"[^@\s]", r"[^a]", "\u{1f600}", r"[\u00e0-\u00ff]"] {
        let pattern = format!("^{}x", class.repeat(MAX_SMALL - 1));
        assert!(Scan::of(&pattern).whole.wide <= MAX_SMALL);
        assert!(compiles(&pattern, &options(COMPILED)), "{class}");
    }
    for class in [r"\p{L}", r"\P{L}", r"[^\p{L}\p{N}]"] {
        let pattern = format!("^{class}$");
        assert!(Scan::of(&pattern).whole.wide <= MAX_SMALL);
        assert!(compiles(&pattern, &options(COMPILED)), "{class}");
    }
}
