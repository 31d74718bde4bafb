//! What cleaning changes, and what it keeps.

use proptest::prelude::*;

use super::*;
use crate::domain::samples::matching;

#[test]
fn clean_trims_and_joins_lines() {
    for (given, expected) in [
        (" Ada\u{a0}", "Ada"),
        ("\u{200b}\u{feff} \t\n", ""),
        ("Ada  Lovelace", "Ada  Lovelace"),
        ("Ada\u{a0}Lovelace", "Ada Lovelace"),
        ("Ada\u{2009}Lovelace\u{202f}\u{3000}", "Ada Lovelace"),
        ("Ada\u{2003} Lovelace", "Ada  Lovelace"),
        ("Rua A,\r\n  12\t B", "Rua A, 12 B"),
        ("می\u{200c}خواهم", "می\u{200c}خواهم"),
        ("\u{202e}Ada\u{202c}", "Ada"),
        ("Rua A\u{2028}12\u{2029}B", "Rua A 12 B"),
        ("Ada\u{0}Lovelace\u{7f}", "Ada Lovelace"),
        ("\u{3164}\u{2800} \u{ffa0}", ""),
        ("\u{1f468}\u{200d} \u{200d}", "\u{1f468}"),
        ("\u{1f469}\u{200d}", "\u{1f469}"),
        ("Ana \u{200d}", "Ana"),
        ("\u{200d}Ana\u{200c}", "Ana"),
        ("\u{e0067}\u{e}\u{200d}\u{94d}", "\u{94d}"),
    ] {
        assert_eq!(clean(given), expected);
    }
}

#[test]
fn clean_composes_letters() {
    for (given, expected) in [
        ("Jose\u{301}", "José"),
        ("Sa\u{303}o Joa\u{303}o", "São João"),
        ("a\u{200b}\u{303}", "ã"),
        ("a\u{34f}\u{303}", "ã"),
        ("\u{212b}ngström", "Ångström"),
        ("\u{1112}\u{1161}\u{11ab}", "한"),
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("2²", "2²"),
        ("Ａ", "Ａ"),
    ] {
        assert_eq!(clean(given), expected);
    }
}

/// The spelling of a final consonant without its vowel.
#[test]
fn clean_keeps_the_joiner_at_the_end_of_indic_names() {
    for (name, source) in [
        ("രാജന്\u{200d}", "Unicode 5.1: a chillu of Malayalam before it"),
        ("श्रीमान्\u{200d}", "Unicode Standard, 12.1: Devanagari: a half form"),
        ("সৎ ব্\u{200d}", "Unicode Standard, 12.2: Bengali"),
        ("රාජ්\u{200d}", "Unicode Standard, 13.2: Sinhala"),
    ] {
        assert_eq!(clean(name), name, "{source}");
        assert_eq!(clean(&format!(" {name}\u{200b} ")), name, "{source}");
    }
}

/// Marks around non-joiners change places, which shows one after another as needless.
#[test]
fn clean_takes_a_few_rounds_for_any_text() {
    let text = format!("क\u{301}{}", "\u{94d}\u{200c}".repeat(100_000));
    let cleaned = clean(&text);
    assert!(!cleaned.contains('\u{200c}'));
    assert_eq!(clean(&cleaned), cleaned);
}

#[test]
fn plain_reads_wide_and_local_characters() {
    for (given, expected) in [
        ("\u{202a}+55\u{200b} 85\u{202c} ", "+55 85"),
        ("＋５５　８５", "+55 85"),
        ("ａｄａ＠ｘ．example", "ada@x.example"),
        ("٠١٢۳४৫", "012345"),
        ("᠐᥇𞥒", "012"),
        ("\u{1d7d8}\u{1d7e1}\u{1d7e2}", "090"),
        ("ａ～￥￠", "a~￥￠"),
        ("\u{3000}\u{200b}　x", "x"),
        ("²①Ⅷ", "²①Ⅷ"),
        ("8\u{fe0f}\u{20e3}5\u{fe0f}\u{20e3}", "85"),
    ] {
        assert_eq!(plain(given), expected);
    }
}

#[test]
fn folded_removes_case_and_accents() {
    for (given, expected) in [
        ("NÃO Informado", "nao informado"),
        ("Sa\u{303}o Tomé", "sao tome"),
        ("Türkiye", "turkiye"),
        ("İstanbul", "istanbul"),
        ("Diyarbakır", "diyarbakir"),
        ("Tromsø", "tromso"),
        ("Łódź", "łodz"),
        ("Ａ", "a"),
    ] {
        assert_eq!(folded(given), expected);
    }
}

/// The short ways give what the long ones give.
#[test]
fn letters_of_latin_1_are_folded_and_composed_as_all_others() {
    for c in '\u{80}'..='\u{2ff}' {
        let text = c.to_string();
        let visible = text.chars().filter(|c| !is_invisible(*c)).map(narrow);
        let letters = NFD.normalize_iter(visible).filter(|c| !is_accent(*c));
        let long: String = letters.flat_map(char::to_lowercase).map(base).collect();
        assert_eq!(folded(&text), long, "{c}");
        assert!(!is_latin(&text) || NFC.is_normalized(&text) && joiners::without_any(&text) == text, "{c}");
    }
    assert!(is_latin("São João") && !is_latin("a\u{301}") && !is_latin("a\u{ad}b"));
    assert!(matches!(clean("São João"), Cow::Borrowed(_)));
}

#[test]
fn percent_decoded_keeps_incomplete_escapes() {
    for (given, expected) in
        [("a%2Bb", Some("a+b")), ("a%", Some("a%")), ("%4", Some("%4")), ("%+1", Some("%+1")), ("%ff", None)]
    {
        assert_eq!(percent_decoded(given).as_deref(), expected);
    }
}

#[test]
fn quote_shortens_and_removes_control_characters() {
    assert_eq!(quote("a\nb"), "`a\u{fffd}b`");
    assert_eq!(quote(&"é".repeat(64)), format!("`{}`", "é".repeat(64)));
    assert_eq!(quote(&"é".repeat(65)), format!("`{}…`", "é".repeat(64)));
}

/// Characters that join, compose, change places or show nothing.
const ODD: &str = "[a-z \u{e}\u{94d}\u{9cd}\u{dca}\u{dd9}\u{627}\u{64b}\u{653}\u{6cc}\u{1820}\u{180b}\u{180e}\u{200b}-\u{200f}\u{2028}\u{2060}\u{301}\u{323}\u{338}\u{2194}\u{3164}\u{feff}\u{fe0f}\u{1f3f4}\u{1f469}\u{1f3fd}\u{e0067}\u{e007f}\u{e0001}]{0,12}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn cleaned_texts_are_composed_and_stay_the_same(text in prop_oneof![matching("\\PC{0,20}"), matching(ODD), matching("\\PC*")]) {
        let cleaned = clean(&text);
        prop_assert_eq!(clean(&cleaned), &*cleaned);
        prop_assert!(NFC.is_normalized(&cleaned));
        prop_assert!(!cleaned.contains(|c: char| c.is_control() || joiners::is_needless(c)));
        prop_assert_eq!(cleaned.trim_matches(is_edge), &*cleaned);
    }
}
