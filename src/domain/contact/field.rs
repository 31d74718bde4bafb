//! The 15 fields of a contact, and a dense map from fields to values.

use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use crate::domain::value::label;

/// The fields that a `CRM / UPSERT_CONTACT` action can fill, in the order in which they are documented.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    EnumCount,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "camelCase")]
pub enum Field {
    /// The person's full name.
    Name,
    /// Tax id, social security number or another identification document. Personal data.
    Identity,
    /// Phone number, an identifier; E.164 once accepted.
    Phone,
    /// Email address, an identifier; canonical once accepted.
    Email,
    /// The person's employer. Not the tenant, which is the company id.
    Company,
    /// Job title or role.
    Position,
    /// Date of birth.
    Birthday,
    /// Postal code.
    ZipCode,
    /// ISO 3166-1 alpha-2 once understood.
    Country,
    /// State or province.
    State,
    /// City or town.
    City,
    /// District or neighborhood.
    District,
    /// Street name.
    Street,
    /// Building number.
    Number,
    /// Apartment, floor and the like.
    Complement,
}

impl Field {
    /// The name in trigger definitions, in events and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What people write before a value of the field, lists of `value::label`. The name of another field is a part of
    /// the value.
    pub(in crate::domain) const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Name => &[label::NAME],
            Self::Identity => &[label::IDENTITY],
            Self::Phone => &[label::PHONE],
            Self::Email => &[label::EMAIL],
            Self::Company => &[label::COMPANY],
            Self::Position => &[label::POSITION],
            Self::Birthday => &[label::DATE],
            Self::ZipCode => &[label::ZIP_CODE],
            Self::Country => &[label::COUNTRY],
            Self::State => &[label::STATE],
            Self::City => &[label::CITY],
            Self::District => &[label::DISTRICT],
            Self::Street => &[label::STREET],
            Self::Number => &[label::NUMBER],
            Self::Complement => &[label::COMPLEMENT],
        }
    }

    /// Whether any words can be its value.
    pub(super) const fn is_free_text(self) -> bool {
        !matches!(
            self,
            Self::Phone | Self::Email | Self::Identity | Self::Birthday | Self::ZipCode | Self::Number
        )
    }

    /// Whether its values are proper names: of a person, a company or a place.
    pub(super) const fn is_proper_name(self) -> bool {
        matches!(self, Self::Name | Self::Company | Self::State | Self::City | Self::District | Self::Street)
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
    /// `None` if the field has no value.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&T> {
        self.0.get(field as usize).and_then(Option::as_ref)
    }

    /// Sets a value and returns the one that it replaces.
    pub fn insert(&mut self, field: Field, value: T) -> Option<T> {
        self.0.get_mut(field as usize).and_then(|entry| entry.replace(value))
    }

    /// Removes a value and returns it.
    pub fn remove(&mut self, field: Field) -> Option<T> {
        self.0.get_mut(field as usize).and_then(Option::take)
    }

    /// The fields with a value, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::VARIANTS.iter().zip(&self.0).filter_map(|(field, value)| Some((*field, value.as_ref()?)))
    }

    /// `true` if no field has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl<T> IntoIterator for FieldMap<T> {
    type Item = (Field, T);
    type IntoIter = std::iter::FilterMap<
        std::iter::Zip<std::slice::Iter<'static, Field>, std::array::IntoIter<Option<T>, { Field::COUNT }>>,
        fn((&'static Field, Option<T>)) -> Option<(Field, T)>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        Field::VARIANTS.iter().zip(self.0).filter_map(|(field, value)| Some((*field, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive() {
        assert_eq!((Field::ZipCode.name(), Field::Identity.name()), ("zipCode", "identity"));
        assert_eq!("zipCode".parse(), Ok(Field::ZipCode));
        assert!("zipcode".parse::<Field>().is_err());
    }

    #[test]
    fn map_holds_one_value_per_field() {
        let mut map = FieldMap::default();
        assert!(map.is_empty());
        for field in Field::VARIANTS {
            assert_eq!(map.insert(*field, field.name()), None);
        }
        assert!(map.iter().all(|(field, name)| field.name() == *name));
        assert_eq!((map.remove(Field::City), map.remove(Field::City)), (Some("city"), None));
        assert_eq!(map.into_iter().count(), Field::COUNT - 1);
    }
}
