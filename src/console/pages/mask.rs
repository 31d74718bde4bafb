//! What viewers see of personal data: enough to recognize what they know already.

use crate::domain::{contact::field::Field, value::identity};

/// Stands for what is not shown.
const HIDDEN: &str = "•••";

/// The value of a contact's field for a viewer.
pub(super) fn masked(field: Field, value: &str) -> String {
    match field {
        Field::Phone => ending(value),
        Field::Email => email(value),
        Field::Identity => identity::masked(value),
        Field::Name => value.split_whitespace().map(beginning).collect::<Vec<_>>().join(" "),
        Field::Company | Field::Position | Field::Country | Field::State => value.to_owned(),
        Field::Birthday
        | Field::ZipCode
        | Field::City
        | Field::District
        | Field::Street
        | Field::Number
        | Field::Complement => HIDDEN.to_owned(),
    }
}

fn beginning(word: &str) -> String {
    word.chars().take(1).chain(HIDDEN.chars()).collect()
}

/// The last two digits, if they are few among many.
fn ending(phone: &str) -> String {
    let length = phone.chars().count();
    let shown = if length >= 8 { 2 } else { 0 };
    HIDDEN.chars().chain(phone.chars().skip(length - shown)).collect()
}

fn email(address: &str) -> String {
    match address.split_once('@') {
        Some((local, _)) => format!("{}@{HIDDEN}", beginning(local)),
        None => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn masked_value_does_not_give_the_person_away() {
        for (field, value, expected) in [
            (Field::Name, "Ada Lovelace", "A••• L•••"),
            (Field::Email, "ada@analytical.example", "a•••@•••"),
            (Field::Email, "none", "•••"),
            (Field::Phone, "+5511987654321", "•••21"),
            (Field::Phone, "110", "•••"),
            (Field::City, "London", "•••"),
        ] {
            assert_eq!(masked(field, value), expected);
        }
        for field in Field::VARIANTS {
            let is_hidden = |c: char| matches!(c, '•' | '*' | '@');
            assert!(masked(*field, "").chars().all(is_hidden), "{field}");
        }
    }
}
