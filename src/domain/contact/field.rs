//! The 15 contact fields of a `CRM / UPSERT_CONTACT` action and a dense map over them.

use std::fmt;

/// One of the 15 fields of a contact, in the order of the platform's reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Full name of the person.
    Name,
    /// Tax id, social security number or another identification document. Personal data.
    Identity,
    /// Phone number, a lookup key, E.164 once accepted.
    Phone,
    /// Email address, a lookup key, canonical once accepted.
    Email,
    /// The firm that the person works for (not the tenant: that is the company id).
    Company,
    /// Job title or role.
    Position,
    /// Date of birth.
    Birthday,
    /// Postal code.
    ZipCode,
    /// Country.
    Country,
    /// State or province.
    State,
    /// City.
    City,
    /// District or neighborhood.
    District,
    /// Street.
    Street,
    /// Building number.
    Number,
    /// Apartment, floor and the like.
    Complement,
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = 15;

    /// All fields in declaration order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Name,
        Self::Identity,
        Self::Phone,
        Self::Email,
        Self::Company,
        Self::Position,
        Self::Birthday,
        Self::ZipCode,
        Self::Country,
        Self::State,
        Self::City,
        Self::District,
        Self::Street,
        Self::Number,
        Self::Complement,
    ];

    /// The name on the wire: in trigger definitions and in `contact.upserted`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Identity => "identity",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Company => "company",
            Self::Position => "position",
            Self::Birthday => "birthday",
            Self::ZipCode => "zipCode",
            Self::Country => "country",
            Self::State => "state",
            Self::City => "city",
            Self::District => "district",
            Self::Street => "street",
            Self::Number => "number",
            Self::Complement => "complement",
        }
    }

    /// The field with this wire name, case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// At most one `T` for each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMap<T>([Option<T>; Field::COUNT]);

impl<T> Default for FieldMap<T> {
    fn default() -> Self {
        Self([const { None }; Field::COUNT])
    }
}

impl<T> FieldMap<T> {
    /// The value of `field`, if there is one.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&T> {
        self.0.get(field as usize).and_then(Option::as_ref)
    }

    /// Sets the value of `field` and returns the one it replaces.
    pub fn insert(&mut self, field: Field, value: T) -> Option<T> {
        self.0.get_mut(field as usize).and_then(|slot| slot.replace(value))
    }

    /// The fields that have a value, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::ALL.into_iter().zip(&self.0).filter_map(|(field, slot)| Some((field, slot.as_ref()?)))
    }

    /// Whether no field has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl<T> IntoIterator for FieldMap<T> {
    type Item = (Field, T);
    type IntoIter = std::iter::FilterMap<
        std::iter::Zip<
            std::array::IntoIter<Field, { Field::COUNT }>,
            std::array::IntoIter<Option<T>, { Field::COUNT }>,
        >,
        fn((Field, Option<T>)) -> Option<(Field, T)>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        Field::ALL.into_iter().zip(self.0).filter_map(|(field, slot)| Some((field, slot?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip() {
        for field in Field::ALL {
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
        assert_eq!(Field::from_name("zipcode"), None);
    }

    #[test]
    fn map_keeps_each_field_apart() {
        let mut map = FieldMap::default();
        assert!(map.is_empty());
        for field in Field::ALL {
            assert_eq!(map.insert(field, field.name()), None);
        }
        assert!(map.iter().all(|(field, name)| field.name() == *name));
        assert_eq!(map.into_iter().count(), Field::COUNT);
    }
}
