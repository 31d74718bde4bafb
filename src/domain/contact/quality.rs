//! What is known of a stored value from the value alone. How each kind of value is read and written
//! stands in the module of that kind.

use time::OffsetDateTime;

use crate::domain::{
    contact::field::Field,
    value::{birthday, country},
};

/// Whether a stored value has been understood: false for a birthday and a country that were kept as
/// they were given. `said_at` is the time of the event that gave it. Of all other fields nothing
/// more is known than that somebody said so, and they are true.
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
    fn two_fields_can_be_unverified() {
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
