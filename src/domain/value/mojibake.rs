//! UTF-8 that a program has read as Windows-1252 or Latin-1: `JoÃ£o`, `Ð®Ð»Ð¸Ñ`, `ðŸ˜€`. No text has such characters by
//! itself: all of them together must be UTF-8 again, and letters must stand beside letters of their own script, so nothing
//! is guessed. Signs after a capital letter can be UTF-8 by chance: `NESTLÉ®`.

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed as PropertyOf,
    props::{GeneralCategory, GeneralCategoryGroup},
};

const CATEGORY: PropertyOf<'static, GeneralCategory> = CodePointMapData::new();

/// The characters of Windows-1252 from 0x80 to 0x9f; a blank where it has none.
const WINDOWS: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

/// How often a text may have been read wrongly.
const MAX_TIMES: usize = 4;

/// The accents of decomposed letters (Unicode's block Combining Diacritical Marks) that languages use.
const ACCENTS: &str = "\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{31b}\u{323}\u{327}\u{328}";

/// The last bytes of letters in UTF-8 that in Windows-1252 are signs and spaces that can come after a word.
const SIGNS: [u32; 12] = [0x85, 0x92, 0x94, 0x96, 0x97, 0x99, 0xa0, 0xa9, 0xaa, 0xae, 0xba, 0xbb];

/// The text as it was, also if it was read wrongly several times. `None` if it is no such text.
pub(in crate::domain) fn decoded(text: &str) -> Option<String> {
    let mut decoded = decoded_once(text)?;
    for _ in 1..MAX_TIMES {
        match decoded_once(&decoded) {
            Some(again) => decoded = again,
            None => break,
        }
    }
    Some(decoded)
}

fn decoded_once(text: &str) -> Option<String> {
    if text.is_ascii() || !may_be_broken(text) {
        return None;
    }
    let bytes = text.chars().map(byte).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok().filter(|decoded| is_plausible(decoded))
}

/// Whether the first letters that are not ASCII are the first two bytes of a character. Those of nearly all other texts
/// are not.
fn may_be_broken(text: &str) -> bool {
    let at = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(text.len());
    let mut bytes = text.get(at..).unwrap_or_default().chars().map(byte);
    matches!(bytes.next(), Some(Some(0xc2..=0xde | 0xe0..=0xf4)))
        && matches!(bytes.next(), Some(Some(0x80..=0xbf)))
}

fn byte(c: char) -> Option<u8> {
    if let Ok(byte) = u8::try_from(c) {
        return Some(byte);
    }
    let at = WINDOWS.chars().position(|known| known == c)?;
    u8::try_from(at).ok()?.checked_add(0x80)
}

/// Whether the text's characters can stand side by side.
fn is_plausible(text: &str) -> bool {
    // Letters of two bytes in other scripts than Latin. A single one is hardly a text.
    let (mut foreign, mut others) = (0, 0);
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii() {
            if !fits(before, c, chars.peek().copied()) {
                return false;
            }
            if is_foreign(c) && c.len_utf8() == 2 {
                foreign += 1;
            } else {
                others += 1;
            }
        }
        before = Some(c);
    }
    foreign != 1 || others > 0
}

fn fits(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
    let is_after_capital = before.is_some_and(|c| c.is_ascii_uppercase());
    match c {
        '\u{80}'..='\u{9f}' => false,
        // `IRMÃ` before a space that does not break.
        'à' => !is_after_capital,
        '\u{a0}'..='\u{ff}' => true,
        // The last three are signs of Windows-1252, which was read as such again. `BLÅ®` and `POKÉ’S` stay.
        '\u{100}'..='\u{17f}'
        | 'Ə'
        | 'ə'
        | 'Ơ'
        | 'ơ'
        | 'Ư'
        | 'ư'
        | 'Ș'..='ț'
        | 'ʻ'
        | 'ʼ'
        | 'ƒ'
        | 'ˆ'
        | '˜' => {
            let is_sign = SIGNS.contains(&(u32::from(c) & 0x3f | 0x80));
            !(is_after_capital && is_sign && (!is_letter(after) || after == Some('S')))
        }
        '\u{180}'..='\u{36f}' => ACCENTS.contains(c) && before.is_some_and(char::is_alphabetic),
        _ if is_foreign(c) => {
            let is_apart = match c.len_utf8() {
                2 => !before.is_some_and(|c| c.is_ascii_alphanumeric()),
                _ => !is_letter(before),
            };
            is_apart && !is_letter(after)
        }
        _ => !matches!(CATEGORY.get(c), GeneralCategory::Unassigned | GeneralCategory::PrivateUse),
    }
}

/// A letter or a mark of another script than Latin.
fn is_foreign(c: char) -> bool {
    let is_latin = c < '\u{370}' || matches!(c, '\u{1e00}'..='\u{1eff}');
    let category = CATEGORY.get(c);
    let is_letter = GeneralCategoryGroup::Letter.contains(category);
    !is_latin && (is_letter || GeneralCategoryGroup::Mark.contains(category))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn broken_letters_are_mended() {
        for (text, expected, source) in [
            ("JoÃ£o", "João", "https://github.com/SuiteCRM/SuiteCRM/issues/6442: an import in Portuguese"),
            ("AdolesCiÃªncia", "AdolesCiência", "https://github.com/SuiteCRM/SuiteCRM/issues/6442"),
            ("Juan JosÃ©", "Juan José", "https://github.com/odoo/odoo/issues/24668: an export in Spanish"),
            ("MarÃ\u{ad}a", "María", "as above: a soft hyphen"),
            ("BelÃ©m do ParÃ¡", "Belém do Pará", "as above: two letters"),
            ("SÃ£o Paulo â€“ Centro", "São Paulo – Centro", "Windows: punctuation of Windows-1252"),
            ("Dâ€™Ã\u{81}vila", "D’Ávila", "Windows: a byte that Windows-1252 does not have"),
            ("NÂº 12", "Nº 12", "Windows: an ordinal sign"),
            ("Ana ðŸŒ¸ JosÃ©", "Ana 🌸 José", "Windows: an emoji"),
            ("ðŸ˜€ Ana", "😀 Ana", "Windows: an emoji alone"),
            ("JosÃƒÂ©", "José", "Windows: read wrongly twice"),
            ("JosÃƒÆ’Ã‚Â©", "José", "Windows: read wrongly three times"),
            ("Å½iÅ¾ek", "Žižek", "Windows: a name in Slovenia"),
            ("Ä°stanbul", "İstanbul", "Windows: a city in Turkey"),
            ("ALÄ° IÅžIK", "ALİ IŞIK", "Windows: a name in Turkey, in capitals"),
            ("BucureÈ™ti", "București", "Windows: a city in Romania"),
            ("AzÉ™rbaycan", "Azərbaycan", "Windows: a country"),
            ("Nguyá»…n VÄƒn Æ\u{a0}n", "Nguyễn Văn Ơn", "Windows: a name in Vietnam"),
            ("JoseÌ\u{81}", "Jose\u{301}", "Windows: a decomposed letter"),
            ("Ð®Ð»Ð¸Ñ\u{8f}", "Юлия", "Windows: a name in Russia"),
            ("Ð®Ð»Ð¸Ñ\u{8f}\n", "Юлия\n", "as above: a line break"),
            ("Î•Î»Î\u{ad}Î½Î·", "Ελένη", "Windows: a name in Greece"),
            ("Î\u{91}Î½Î½Î±", "Αννα", "ISO 8859-1: a name in Greece"),
            ("ç”°ä¸\u{ad}", "田中", "Windows: a name in Japan"),
            ("Ù…Ø\u{ad}Ø¯", "محد", "Windows: a name in Arabic"),
            ("×“×•×“", "דוד", "Windows: a name in Hebrew"),
            ("à¸ªà¸¡", "สม", "Windows: a name in Thai"),
            ("à¤°à¤¾à¤®", "राम", "Windows: a name in Hindi"),
            ("ê¹€ë¯¼", "김민", "Windows: a name in Korea"),
            ("ï»¿Ana", "\u{feff}Ana", "Windows: a byte order mark"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "João",
            "SÃO JOÃO",
            "Ângela",
            "câmara",
            "JoÃ£o e João",
            "Ã",
            "Â",
            "â€",
            "Ana",
            "Łukasz Ã£",
            "",
            "NESTLÉ®",
            "POKÉ™",
            "PELÉ’S",
            "CAFÉ…",
            "CAFÉ\u{a0}BAR",
            "CAFFÈ™",
            "IRMÃ\u{a0}ANA",
            "BLÅ®",
            "BLÅ’S BAR",
            "MALMÖ®",
            "PERÚ™",
            "PERÚ\u{a0}2",
            "VOVÔ’S",
            "AVÓ\u{a0}MARIA",
            "LUNEDÌ®",
            "PIAUÍ…",
            "Strauß®",
            "Groß™ & Groß™",
            "Ó\u{a0}Briain",
            "Ø\u{a0}50 mm",
            "Lote 10×\u{a0}20",
            "3×…",
            "Nestlé®",
            "Nestlé®™",
            "café’”",
            "Юлия",
            "田中",
            "😀 Ana",
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// A name, in whatever script, is the same again once it was broken.
        #[test]
        fn names_of_one_script_are_mended(
            name in matching("[À-ÖØ-öø-ÿ]?[a-zà-öø-ÿĀ-ž]{2,8}|[А-я]{2,9}|[Α-ΡΣ-ω]{2,9}|[א-ת]{2,9}|[ء-غف-ي]{2,9}|[ก-ฮ]{2,9}|[一-龥]{2,4}|[가-힣]{2,4}")
        ) {
            prop_assume!(!name.is_ascii() && decoded(&name).is_none());
            let windows: Vec<char> = WINDOWS.chars().collect();
            let read = |byte: u8| match byte {
                0x80..=0x9f => windows.get(usize::from(byte) - 0x80).copied().filter(|c| *c != ' '),
                _ => None,
            }.unwrap_or(char::from(byte));
            let broken: String = name.bytes().map(read).collect();
            prop_assert_eq!(decoded(&broken), Some(name));
        }
    }
}
