//! Ids that operators cut short.

use uuid::Uuid;

/// The fewest digits of an id of which there may be millions.
pub(super) const DIGITS: usize = 8;

/// The least and the greatest id that begin with `text`, hyphens aside; `None` where it is no beginning of an id, or
/// has fewer digits than `least`.
pub(super) fn range(text: &str, least: usize) -> Option<(Uuid, Uuid)> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if !(least..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
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
    fn ids_may_be_cut_short() {
        let id = Uuid::now_v7();
        let whole = id.to_string();
        assert_eq!(range(&whole, DIGITS), Some((id, id)));
        assert_eq!(range(&whole.to_uppercase(), DIGITS), Some((id, id)));
        let (first, last) = range(&whole[..11], DIGITS).unwrap();
        assert!(first <= id && id <= last && first < last);
        assert_eq!(range("0193f5a", DIGITS), None);
        assert!(range("0193", 4).is_some());
        assert_eq!(range("0193f5ag", DIGITS), None);
        assert_eq!(range(&format!("{whole}0"), DIGITS), None);
        assert_eq!(range("ﬀ93f5a0", DIGITS), None);
    }
}
