//! UTF-8 that a program has read as Windows-1252 or Latin-1: `JoÃ£o`. No text has such characters by itself: all of them
//! together must be UTF-8 again, so nothing is guessed.

/// The characters of Windows-1252 from 0x80 to 0x9f; a blank where it has none.
const WINDOWS: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

/// The text as it was. `None` if it is no such text.
pub(in crate::domain) fn decoded(text: &str) -> Option<String> {
    // The first bytes of Latin letters with an accent and of punctuation.
    if text.is_ascii() || !text.contains(['Ã', 'Â', 'â']) {
        return None;
    }
    let bytes = text.chars().map(byte).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok().filter(|decoded| !decoded.contains(char::is_control))
}

fn byte(c: char) -> Option<u8> {
    if let Ok(byte) = u8::try_from(c) {
        return Some(byte);
    }
    let at = WINDOWS.chars().position(|known| known == c)?;
    u8::try_from(at).ok()?.checked_add(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(decoded(text).as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in
            ["João", "SÃO JOÃO", "Ângela", "câmara", "JoÃ£o e João", "Ã", "Â", "â€", "Ana", "Łukasz Ã£", ""]
        {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
