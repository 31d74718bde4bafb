//! Ids that operators abbreviate.

use uuid::Uuid;

/// Minimum number of digits of an id where there may be millions.
pub(super) const MIN_DIGITS: usize = 8;

/// The smallest and the largest id that begin with `text`, ignoring hyphens. `None` if `text` is not hexadecimal, too
/// long, or shorter than `min_digits`.
pub(super) fn range(text: &str, min_digits: usize) -> Option<(Uuid, Uuid)> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if !(min_digits..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |filler: char| {
        let padding: String = std::iter::repeat_n(filler, 32 - digits.len()).collect();
        Uuid::try_parse(&format!("{digits}{padding}")).ok()
    };
    Some((bound('0')?, bound('f')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviated_id_gives_a_range() {
        let id = Uuid::now_v7();
        let whole = id.to_string();
        assert_eq!(range(&whole, MIN_DIGITS), Some((id, id)));
        assert_eq!(range(&whole.to_uppercase(), MIN_DIGITS), Some((id, id)));
        let (first, last) = range(&whole[..11], MIN_DIGITS).unwrap();
        assert!(first <= id && id <= last && first < last);
        assert_eq!(range("0193f5a", MIN_DIGITS), None);
        assert!(range("0193", 4).is_some());
        assert_eq!(range("0193f5ag", MIN_DIGITS), None);
        assert_eq!(range(&format!("{whole}0"), MIN_DIGITS), None);
        assert_eq!(range("ﬀ93f5a0", MIN_DIGITS), None);
    }
}
