//! Regular expressions as people write them, and what each is read as.

use super::*;

fn with(pattern: &str) -> Parameters {
    compile(&json!({"properties": {"a": {"pattern": pattern}}})).unwrap()
}

fn test(rows: &[(&str, &str, bool)]) {
    for (pattern, text, matches) in rows {
        let parameters = with(pattern);
        let is_checked = !parameters.warnings().iter().any(|one| one.message.contains("not checked"));
        assert!(is_checked, "{pattern}: {:?}", parameters.warnings());
        assert_eq!(parameters.check(&json!({ "a": text })).is_ok(), *matches, "{pattern} {text:?}");
    }
}

/// ECMA-262, 22.2.2.9.2: a group without a match matches the empty text.
#[test]
fn references_to_groups_without_a_match_match_nothing() {
    test(&[
        // dates, phones and CPFs with optional separators
        (r"^\d{4}(-)?\d{2}\1\d{2}$", "20260101", true),
        (r"^\d{4}(-)?\d{2}\1\d{2}$", "2026-01-01", true),
        (r"^\d{4}(-)?\d{2}\1\d{2}$", "2026-0101", false),
        (r"^\d{2}([ .-])?\d{4}\1\d{4}$", "85988124471", false),
        (r"^\d{2}([ .-])?\d{4}\1\d{4}$", "8598812447", true),
        (r"^\d{2}([ .-])?\d{4}\1\d{4}$", "85.9881.2447", true),
        // optional quotes
        (r"^(?<q>['\x22])?x\k<q>$", "x", true),
        (r"^(?<q>['\x22])?x\k<q>$", "'x'", true),
        (r"^(?<q>['\x22])?x\k<q>$", "'x", false),
        (r"^(?:(a)|b)\1$", "b", true),
        (r"^(?:(a)|b)\1$", "aa", true),
        (r"^(?:(a)|b)\1$", "ab", false),
        (r"^(?:(?<y>a)|(?<y>b))\k<y>$", "bb", true),
        (r"^(?:(?<y>a)|(?<y>b))\k<y>$", "ab", false),
        (r"^(?!(a))\1b$", "b", true),
        // before and within the group
        (r"^\1(a)$", "a", true),
        (r"^\1(a)$", "aa", false),
        (r"^(a\1)$", "a", true),
        (r"^(a\1)$", "aa", false),
        // counts, and numbers of two digits
        (r"^(a)\1{2}$", "aaa", true),
        (r"^(a)\1{2}$", "aa", false),
        (r"^(\w)\1*$", "aaaa", true),
        (r"^(\w)\1*$", "aaab", false),
        (r"^(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10$", "abcdefghijj", true),
        (r"^(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10$", "abcdefghija0", false),
        (r"^(a)?(b)\2\1$", "bb", true),
        // no character twice, none three times in a row
        (r"^(?:(.)(?!.*\1))*$", "abcd", true),
        (r"^(?:(.)(?!.*\1))*$", "abca", false),
        (r"^(?!.*(.)\1{2})\w+$", "aabb", true),
        (r"^(?!.*(.)\1{2})\w+$", "aaab", false),
    ]);
}

#[test]
fn anchors_flags_and_names_of_other_languages_are_read_as_they_are_meant() {
    test(&[
        (r"\A(?!.*\.\.)[^@\s]+@[^@\s]+\z", "a@b", true),
        (r"\A(?!.*\.\.)[^@\s]+@[^@\s]+\z", "a@b..c", false),
        (r"\A(?!.*\.\.)[^@\s]+@[^@\s]+\z", "x a@b", false),
        (r"\Afoo\z", "foo", true),
        (r"\Afoo\z", "Afooz", false),
        (r"\Afoo\z", "foo\n", false),
        (r"^[-a-zA-Z0-9_]+\Z", "ab-c", true),
        (r"^[-a-zA-Z0-9_]+\Z", "ab-c\n", true),
        (r"^[-a-zA-Z0-9_]+\Z", "ab c", false),
        ("(?i)^alt\\+c$", "ALT+C", true),
        ("(?i)^(?=a)ab$", "AB", true),
        ("^(?i:a)b$", "Ab", true),
        ("^(?i:a)b$", "AB", false),
        (r"^(?P<year>\d{4})$", "2026", true),
        (r"^(?P<year>\d{4})-(?!00)\d\d$", "2026-01", true),
    ]);
    for pattern in [r"\Aa\z", "(?i)a", "(?P<n>a)"] {
        assert_eq!(pointers(&with(pattern)), ["/parameters/properties/a/pattern"], "{pattern}");
        let named = compile(&json!({"patternProperties": {pattern: true}})).unwrap();
        assert_eq!(pointers(&named), [format!("/parameters/patternProperties/{pattern}")], "{pattern}");
    }
}

#[test]
fn what_the_engines_would_read_otherwise_is_rewritten() {
    test(&[
        (r"^[^\<\>]*$", "ab", true),
        (r"^[^\<\>]*$", "a<b", false),
        (r"^\<b\>$", "<b>", true),
        (r"^[^\0]*$", "ab", true),
        (r"^\cJ[\cI]$", "\n\t", true),
        ("^{{.+}}$", "{{a}}", true),
        ("^{{.+}}$", "a", false),
        ("^[^]$", "\n", true),
        ("^[^]$", "", false),
        ("^(?=a)[^]{2}$", "a\n", true),
        (r"^(?=.)[\w--z]$", "-", true),
        (r"^[\w-\.]+@([\w-]+\.)+[\w-]{2,4}$", "ada-b.c@x-y.org", true),
        (r"^[\w-\.]+@([\w-]+\.)+[\w-]{2,4}$", "a b", false),
        (r"^[a-\d]+$", "a-1", true),
        (r"^[a-\d]+$", "b", false),
        (r"^\ud83d\ude00{2}$", "\u{1f600}\u{1f600}", true),
        (r"^[\ud83d\ude00-\ud83d\ude4f]$", "\u{1f64f}", true),
        (r"^[\ud83d\ude00-\ud83d\ude4f]$", "x", false),
        (r"^\é$", "é", true),
        (r"^\<caf\b", "<café", true),
    ]);
}

/// Each row would refuse everybody if it were read as ECMA-262 reads it, or as the engines do.
#[test]
fn what_is_not_of_ecma_262_never_refuses() {
    for (pattern, text) in [
        (r"/^\S+@\S+$/i", "ada@analytical.example"),
        (r"#^\d+$#", "123"),
        ("^[[:alpha:]]+$", "Ada"),
        (r"^(?=.)\h*$", " "),
        ("^[a-z]{,5}$", "abc"),
        ("^[a-z]{1, 5}$", "abc"),
        ("(?s)^.+$", "a\nb"),
        ("(?s)^(?=a).+$", "a\nb"),
        (r"\Q.\E", "."),
        ("(?x) ^ a $ # a letter", "a"),
        (r"^(?:(a)|b)+\1$", "ab"),
        (r"^\012$", "\n"),
    ] {
        let parameters = with(pattern);
        assert_eq!(pointers(&parameters), ["/parameters/properties/a/pattern"], "{pattern}");
        assert_eq!(parameters.check(&json!({ "a": text })), Ok(()), "{pattern}");
    }
}

#[test]
fn long_expressions_are_not_compiled() {
    for unit in [r"\cA", r"\pL", "{", r"\d", "a", "(?=a)", "(", "[^]"] {
        for bytes in [4096, 4097, 1 << 20] {
            let pattern = unit.repeat(bytes / unit.len() + 1);
            assert_eq!(pointers(&with(&pattern)), ["/parameters/properties/a/pattern"], "{unit}");
        }
        // Those of the greatest length take no long time either.
        let _ = with(&unit.repeat(4096 / unit.len()));
    }
    let fits = format!("^{}$", "a".repeat(4094));
    assert!(with(&fits).warnings().is_empty() && with(&fits).check(&json!({"a": "b"})).is_err());
}

/// An expression of which thousands of parts can be tried at each place of a text takes thousands of steps for each byte.
#[test]
fn wide_expressions_on_long_texts_are_bounded() {
    for (pattern, unit) in [
        ("([ab]{0,3000}[cd]?){3}[0-9]", "ab"),
        ("(a[ab]{3000}|b[ab]{2999})[0-9]", "abba"),
        ("[ab]{2,4000}[abc]{2,4000}[0-9]$", "ab"),
        ("(?:a|b)*a(?:a|b){500}c", "ab"),
        ("^(?=.)([ab]{0,1000}[cd]?){3}[0-9]", "ab"),
    ] {
        let parameters = with(pattern);
        assert!(parameters.warnings().is_empty(), "{pattern}");
        assert!(parameters.check(&json!({ "a": unit.repeat(20) })).is_err(), "{pattern}");
        for length in [30_000, 1 << 20] {
            let text = unit.repeat(length / unit.len());
            assert_eq!(parameters.check(&json!({ "a": text })), Ok(()), "{pattern}");
        }
    }
    // Others are checked.
    for pattern in
        [r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "^[a-z ]{1,5000}$", r"^\d{3}-\d{3}$", "^(?:[a-z]+,)+[0-9]$"]
    {
        assert!(with(pattern).check(&json!({"a": "x".repeat(100_000)})).is_err(), "{pattern}");
    }
}

/// Many texts are as much work as a long one.
#[test]
fn wide_expressions_on_many_texts_are_bounded() {
    let schema = json!({"properties": {"a": {"items": {"pattern": "([ab]{0,3000}[cd]?){3}[0-9]"}}}});
    let parameters = compile(&schema).unwrap();
    assert_eq!(parameters.check(&json!({"a": vec!["ab".repeat(50); 10_000]})), Ok(()));
    assert!(parameters.check(&json!({"a": ["ab"]})).is_err());
}
