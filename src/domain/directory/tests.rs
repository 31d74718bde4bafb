//! Examples and the convergence property of the directory.

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::*;
use crate::domain::{
    email::Email,
    event::{EventRef, Stamp},
    phone::Phone,
};

fn update(at: i64, id: &str, phone: Option<&str>, email: Option<&str>, name: &str) -> ContactUpdate {
    let stamp = Stamp {
        time: OffsetDateTime::UNIX_EPOCH + Duration::seconds(at),
        event: EventRef::new("/test", id).unwrap(),
        step: 1,
    };
    let mut values = FieldMap::default();
    values.insert(Field::Name, name.to_owned());
    if let Some(phone) = phone {
        values.insert(Field::Phone, phone.to_owned());
    }
    if let Some(email) = email {
        values.insert(Field::Email, email.to_owned());
    }
    let phone = phone.map(|text| Phone::from_stored(text.to_owned()));
    let email = email.map(|text| Email::from_stored(text.to_owned()));
    ContactUpdate { stamp, phone, email, values, rejected: Vec::new() }
}

fn acme() -> CompanyId {
    CompanyId::new("acme").unwrap()
}

fn id(n: u128) -> ContactId {
    ContactId(Uuid::from_u128(n))
}

#[test]
fn creates_updates_and_leaves() {
    let mut directory = Directory::default();
    let created = directory.apply(&acme(), &update(1, "a", Some("+1"), None, "Ada"), id(1));
    assert_eq!((created.operation, created.contact.version), (Operation::Created, 1));
    assert_eq!(created.changed, [Field::Name, Field::Phone]);
    let updated = directory.apply(&acme(), &update(2, "b", Some("+1"), Some("a@x"), "Ada L"), id(2));
    assert_eq!((updated.operation, updated.contact.version), (Operation::Updated, 2));
    assert_eq!(updated.contact.id, id(1));
    assert_eq!(updated.changed, [Field::Email, Field::Name]);
    let late = directory.apply(&acme(), &update(0, "c", None, Some("a@x"), "Old"), id(3));
    assert_eq!((late.operation, late.contact.version), (Operation::Unchanged, 2));
    let changes = directory.into_changes();
    assert_eq!(changes.contacts.len(), 1);
    assert_eq!(changes.contacts[0].created_at, OffsetDateTime::UNIX_EPOCH);
    assert_eq!(changes.identifiers.len(), 2);
}

#[test]
fn a_tie_in_time_goes_to_the_greater_event_id() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut directory = Directory::default();
        for event in order {
            directory.apply(&acme(), &update(1, event, Some("+1"), None, event), id(1));
        }
        let contact = directory.into_changes().contacts.remove(0);
        assert_eq!(contact.values.get(Field::Name).unwrap().value, "b");
    }
}

#[test]
fn phone_and_email_of_two_contacts_merge_into_the_older() {
    let mut directory = Directory::default();
    directory.apply(&acme(), &update(1, "a", Some("+1"), None, "Ada"), id(9));
    directory.apply(&acme(), &update(2, "b", None, Some("a@x"), "A"), id(2));
    let newer = directory.apply(&acme(), &update(3, "b2", None, Some("a@x"), "Ada L"), id(8));
    assert_eq!(newer.contact.version, 2);
    let merged = directory.apply(&acme(), &update(4, "c", Some("+1"), Some("a@x"), "Ada L"), id(3));
    assert_eq!((merged.operation, merged.contact.id, merged.contact.version), (Operation::Updated, id(9), 2));
    assert_eq!(merged.merged, [id(2)]);
    assert_eq!(merged.changed, [Field::Email, Field::Name], "what the older did not say before");
    let changes = directory.into_changes();
    assert_eq!((changes.contacts.len(), changes.removed.len()), (1, 0));
    assert_eq!((changes.merges[0].loser, changes.merges[0].winner), (id(2), id(9)));
    assert!(changes.identifiers.iter().all(|(_, _, owner)| *owner == id(9)));
}

#[test]
fn chains_of_merges_are_flat_and_companies_apart() {
    let mut directory = Directory::default();
    let other = CompanyId::new("other").unwrap();
    directory.apply(&other, &update(0, "z", Some("+1"), Some("b@x"), "Zoe"), id(50));
    directory.apply(&acme(), &update(3, "a", Some("+1"), None, "A"), id(1));
    directory.apply(&acme(), &update(2, "b", None, Some("a@x"), "B"), id(2));
    directory.apply(&acme(), &update(1, "c", Some("+2"), None, "C"), id(3));
    directory.apply(&acme(), &update(4, "d", Some("+1"), Some("a@x"), "D"), id(4));
    directory.apply(&acme(), &update(5, "e", Some("+2"), Some("a@x"), "E"), id(5));
    let changes = directory.into_changes();
    assert_eq!(changes.contacts.len(), 2);
    assert!(changes.merges.iter().all(|merge| merge.winner == id(3) && merge.company == acme()));
    assert_eq!(changes.merges.len(), 2);
}

/// What must not depend on order: who is one person, and every value with its stamp.
type Person = (Vec<String>, Vec<(Field, Stamped)>, OffsetDateTime, OffsetDateTime);

fn state(updates: &[ContactUpdate]) -> Vec<Person> {
    let mut directory = Directory::default();
    for (n, update) in updates.iter().enumerate() {
        directory.apply(&acme(), update, id(n as u128 + 1));
    }
    let changes = directory.into_changes();
    let mut people: Vec<_> = changes
        .contacts
        .into_iter()
        .map(|contact| {
            let mine = changes.identifiers.iter().filter(|(_, _, owner)| *owner == contact.id);
            let keys = mine.map(|(_, identifier, _)| identifier.value().to_owned()).collect();
            (keys, contact.values.into_iter().collect(), contact.created_at, contact.updated_at)
        })
        .collect();
    people.sort_by(|a: &Person, b| a.0.cmp(&b.0));
    people
}

proptest! {
    #[test]
    fn any_order_and_any_duplication_end_in_the_same_contacts(
        history in prop::collection::vec((0..6i64, 0..5u8, 0..5u8), 1..14),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let updates: Vec<_> = history
            .iter()
            .enumerate()
            .map(|(n, (at, phone, email))| {
                let phone = (*phone > 0 || *email == 0).then(|| format!("+{phone}"));
                let email = (*email > 0).then(|| format!("{email}@x"));
                update(*at, &format!("event-{n}"), phone.as_deref(), email.as_deref(), &format!("name-{n}"))
            })
            .collect();
        let mut shuffled = updates.clone();
        for (n, index) in seed.iter().enumerate() {
            let other = index.index(shuffled.len());
            let n = n % shuffled.len();
            shuffled.swap(n, other);
            shuffled.push(shuffled[other].clone());
        }
        prop_assert_eq!(state(&updates), state(&shuffled));
    }
}
