//! Distinguishes stored values that were understood from those stored as given.

use time::OffsetDateTime;

use crate::domain::{
    contact::field::Field,
    value::{birthday, country},
};

/// Whether a stored value was understood: `false` for a birthday or country that was stored as given.
/// Values of other fields cannot be checked and count as understood.
///
/// `said_at` is the time of the event that gave the value.
#[must_use]
pub fn is_verified(field: Field, value: &str, said_at: OffsetDateTime) -> bool {
    match field {
        Field::Birthday => birthday::is_verified(value, said_at),
        Field::Country => country::is_code(value),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn only_birthdays_and_countries_can_be_unverified() {
        let said_at = datetime!(2026-11-22 10:00 UTC);
        for (field, value, expected) in [
            (Field::Birthday, "1990-05-20", true),
            (Field::Birthday, "20/05/90", false),
            (Field::Birthday, "2026-11-23", false),
            (Field::Country, "BR", true),
            (Field::Country, "Neverland", false),
            (Field::ZipCode, "60175", true),
            (Field::Name, "Ada", true),
        ] {
            assert_eq!(is_verified(field, value, said_at), expected, "{field} {value}");
        }
    }
}
