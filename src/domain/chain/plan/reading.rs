//! Reads one argument as the value of a field.
//!
//! The order matters: clean the text, look for a placeholder, unwrap the value, look for a placeholder again, remove
//! "no value" words beside the value, and only then parse. Templates use the marks of wrappings (`<name>`), so they
//! come first; other placeholders are wrapped like any value (`'None`), so they come last.

use std::borrow::Cow;

use serde_json::{Number, Value};
use time::OffsetDateTime;

use crate::domain::{
    chain::rules::Rules,
    contact::{
        Identifier, Rejected,
        field::Field,
        placeholder::{Why, is_invented, is_mobile_in_sequence},
    },
    value::{
        birthday, country, damaged,
        email::Email,
        identity::{Recognized, recognize, with_lost_zeros},
        mojibake,
        phone::{Phone, Region},
        relatives::is_anothers,
        text,
        wrapping::{self, Kind, Unwrapped},
    },
};

/// The outcome of an argument.
pub(super) enum Reading {
    /// No value was given: nothing, blank, or a placeholder.
    NoValue(Option<Why>),
    /// A value to store.
    Accepted {
        /// The value, in its canonical form if it was understood.
        value: Canonical,
        /// A code for `rejected`, although the value is stored.
        noted: Option<&'static str>,
    },
    /// A value that cannot be stored, and the code for it.
    Rejected(&'static str),
}

/// A value to store.
pub(super) enum Canonical {
    /// A phone, an identifier.
    Phone(Phone),
    /// An email, an identifier.
    Email(Email),
    /// Any other value.
    Text(String),
}

impl Canonical {
    /// As it is stored. Personal data.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Phone(phone) => phone.as_str().to_owned(),
            Self::Email(email) => email.as_str().to_owned(),
            Self::Text(text) => text,
        }
    }
}

impl Reading {
    const fn text(text: String) -> Self {
        Self::Accepted { value: Canonical::Text(text), noted: None }
    }
}

/// How often a text is looked at again after something was removed.
const MAX_ROUNDS: usize = 4;
/// In bytes, of the wrapping around a value of the greatest length.
const MAX_AROUND: usize = 4096;

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// Nothing, blank, or a placeholder.
    NoValue(Option<Why>),
    /// The code that `rejected` has for it.
    Rejected(&'static str),
}

/// Reads a text from elsewhere as an argument of an event that fills this field, a phone or an email.
///
/// # Errors
/// When it is not an identifier.
pub fn read_key(field: Field, text: &str, region: Region, rules: &Rules) -> Result<Identifier, NoKey> {
    // No identifier depends on the time.
    let reader = Reader { region, rules, said_at: OffsetDateTime::UNIX_EPOCH };
    match reader.read_text(field, text, "") {
        Reading::Accepted { value: Canonical::Phone(phone), .. } => Ok(Identifier::Phone(phone)),
        Reading::Accepted { value: Canonical::Email(email), .. } => Ok(Identifier::Email(email)),
        Reading::Accepted { value: Canonical::Text(_), .. } => Err(NoKey::NoValue(None)),
        Reading::NoValue(why) => Err(NoKey::NoValue(why)),
        Reading::Rejected(code) => Err(NoKey::Rejected(code)),
    }
}

/// What reading depends on besides the argument.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The company's region.
    pub(super) region: Region,
    /// The settings.
    pub(super) rules: &'a Rules,
    /// The time of the event.
    pub(super) said_at: OffsetDateTime,
}

impl Reader<'_> {
    /// Reads the argument of the parameter that fills the field.
    pub(super) fn read(&self, field: Field, argument: &Value, parameter: &str) -> Reading {
        match self.as_text(field, argument, parameter) {
            Ok(given) => self.read_text(field, &given, parameter),
            Err(code) => Reading::Rejected(code),
        }
    }

    fn read_text(&self, field: Field, given: &str, parameter: &str) -> Reading {
        if given.len() > self.longest_given() {
            return Reading::Rejected("too_long");
        }
        let mut text = cleaned(given);
        for _ in 0..MAX_ROUNDS {
            if let Some(no_value) = self.no_value(field, &text, parameter) {
                return no_value;
            }
            if matches!(field, Field::Phone | Field::Email) && is_anothers(&text) {
                return Reading::Rejected("of_another_person");
            }
            let inner = match wrapping::unwrap_named(self.kind(field), field.labels(), &text) {
                Unwrapped::Bare(Cow::Owned(bare)) => bare,
                Unwrapped::Bare(Cow::Borrowed(_)) => {
                    let Some(rest) = self.rules.placeholders.without_beside(field, &text) else {
                        return self.value(field, &text);
                    };
                    if rest.is_empty() {
                        return Reading::NoValue(Some(Why::Word));
                    }
                    text::clean(&rest).into_owned()
                }
                Unwrapped::Differs => return Reading::Rejected("link_differs"),
            };
            // `%00` and `\u0000` in a text are one only now.
            text = Cow::Owned(if inner.contains('\0') { inner.replace('\0', "") } else { inner });
        }
        self.no_value(field, &text, parameter).unwrap_or_else(|| self.value(field, &text))
    }

    /// In bytes. A longer argument is not read: it could not be stored, and reading takes time.
    const fn longest_given(&self) -> usize {
        self.rules.max_value_length.saturating_mul(4).saturating_add(MAX_AROUND)
    }

    /// How a value of the field can be wrapped.
    const fn kind(&self, field: Field) -> Kind {
        match field {
            Field::Email => Kind::Email,
            Field::Phone => Kind::Phone(self.region),
            Field::Identity | Field::ZipCode | Field::Number => Kind::Digits,
            Field::Birthday => Kind::Date,
            _ => Kind::Text,
        }
    }

    fn no_value(&self, field: Field, text: &str, parameter: &str) -> Option<Reading> {
        let why =
            if text.is_empty() { None } else { Some(self.rules.placeholders.why(field, text, parameter)?) };
        let is_mobile =
            || Phone::parse(text, self.region).is_some_and(|phone| is_mobile_in_sequence(text, &phone));
        if field == Field::Phone && why == Some(Why::MadeUp) && is_mobile() {
            return None;
        }
        Some(Reading::NoValue(why))
    }

    /// Parses an unwrapped text.
    fn value(&self, field: Field, text: &str) -> Reading {
        let longest = self.rules.max_value_length;
        if text.len() > longest && text.chars().nth(longest).is_some() {
            return Reading::Rejected("too_long");
        }
        match field {
            Field::Phone => self.phone(text),
            Field::Email => self.email(text),
            Field::Identity | Field::ZipCode | Field::Number => self.digits(field, text),
            Field::Birthday => or_as_given(text, birthday::parse(text, self.region, self.said_at)),
            Field::Country => match country::code(text) {
                // The letters of "N/A" with anything between them are Namibia's code.
                Some("NA") if text.chars().filter(|c| c.is_alphanumeric()).count() == 2 => {
                    Reading::NoValue(Some(Why::Word))
                }
                code => or_as_given(text, code.map(str::to_owned)),
            },
            // `201.0`: the number of an apartment is often in a column of numbers.
            Field::Complement => {
                Reading::text(damaged::repair(text).map_or_else(|| text.to_owned(), Cow::into_owned))
            }
            _ => Reading::text(text.to_owned()),
        }
    }

    fn phone(&self, text: &str) -> Reading {
        let read = Phone::parse_one_of(text, self.region);
        if is_invented(text, read.as_ref().map(|(phone, _)| phone)) {
            return Reading::NoValue(Some(Why::MadeUp));
        }
        match read {
            Some((phone, is_one_of_two)) => Reading::Accepted {
                value: Canonical::Phone(phone),
                noted: is_one_of_two.then_some(Rejected::ONE_OF_TWO),
            },
            None => Reading::Rejected("not_a_phone_number"),
        }
    }

    fn email(&self, text: &str) -> Reading {
        let Some(email) = Email::parse_repeated(text) else {
            return Reading::Rejected("not_an_email_address");
        };
        // Parsing takes more off than `unwrap`, such as a name before the address.
        let is_canonical = email.as_str() == text;
        let why =
            if is_canonical { None } else { self.rules.placeholders.why(Field::Email, email.as_str(), "") };
        match why {
            Some(why) => Reading::NoValue(Some(why)),
            None => Reading::Accepted { value: Canonical::Email(email), noted: None },
        }
    }

    fn digits(&self, field: Field, text: &str) -> Reading {
        let Some(mut text) = damaged::repair(text) else { return Reading::Rejected("damaged_number") };
        if field != Field::Identity {
            return Reading::text(text.into_owned());
        }
        if matches!(text, Cow::Owned(_))
            && let Some(whole) = with_lost_zeros(&text, self.region)
        {
            text = Cow::Owned(whole);
        }
        match recognize(&text, self.region) {
            Recognized::Cpf(text) | Recognized::Cnpj(text) | Recognized::Ssn(text) => Reading::text(text),
            Recognized::Other => Reading::text(text.into_owned()),
            Recognized::BadCheckDigits => Reading::Rejected("wrong_check_digits"),
        }
    }

    /// An argument as text, the items of a list joined by commas.
    ///
    /// # Errors
    /// The code for an object, and for a list that contains objects or lists: there is no obvious way to write these as
    /// text. The code for a list that is too long.
    fn as_text<'a>(
        &self,
        field: Field,
        argument: &'a Value,
        parameter: &str,
    ) -> Result<Cow<'a, str>, &'static str> {
        Ok(match argument {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(number) => {
                let text = number_text(number);
                let is_document = field == Field::Identity;
                let whole = if is_document { with_lost_zeros(&text, self.region) } else { None };
                Cow::Owned(whole.unwrap_or(text))
            }
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::Null => Cow::Borrowed(""),
            // What a program writes for nothing, like an empty list.
            Value::Object(members) if members.is_empty() => Cow::Borrowed(""),
            Value::Object(_) => return Err("not_text"),
            Value::Array(items) => {
                let (mut texts, mut length) = (Vec::new(), 0);
                for item in items {
                    if item.as_array().is_some_and(|items| !items.is_empty()) {
                        return Err("not_text");
                    }
                    let text = self.as_text(field, item, parameter)?;
                    length += text.len() + 1;
                    if length > self.longest_given() {
                        return Err("too_long");
                    }
                    let text = cleaned(&text);
                    // A placeholder beside a value is not a part of it.
                    if items.len() == 1 || self.no_value(field, &text, parameter).is_none() {
                        texts.push(text.into_owned());
                    }
                }
                Cow::Owned(texts.join(", "))
            }
        })
    }
}

/// Mends what was read in a wrong encoding before it is cleaned: some of these characters are invisible.
fn cleaned(given: &str) -> Cow<'_, str> {
    match mojibake::decoded(given) {
        Some(mended) => Cow::Owned(text::clean(&mended).into_owned()),
        None => text::clean(given),
    }
}

/// A value that was not understood is stored as given, and reported.
fn or_as_given(given: &str, understood: Option<String>) -> Reading {
    match understood {
        Some(understood) => Reading::text(understood),
        None => {
            Reading::Accepted { value: Canonical::Text(given.to_owned()), noted: Some(Rejected::UNVERIFIED) }
        }
    }
}

/// Writes whole floats without a fraction, and none with an exponent: 12345.0 is a five-digit postal code. One that lost
/// its last digits, `5.58599E+12`, keeps its fraction, by which it is found to be damaged.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let text = float.to_string();
            if damaged::is_cut(&text) { text + ".0" } else { text }
        }
        _ => number.to_string(),
    }
}
