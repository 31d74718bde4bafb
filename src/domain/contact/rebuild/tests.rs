//! After an unmerge the contacts are as if the merge had never happened.

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::domain::{
    contact::field::{Field, FieldMap},
    event::{EventRef, Stamp},
};

/// Prefix that turns a digit into a valid phone number.
const PLAN: &str = "+1650253000";

fn acme() -> CompanyId {
    CompanyId::new("acme").unwrap()
}

fn id(n: u128) -> ContactId {
    ContactId(Uuid::from_u128(n))
}

fn update(at: i64, event: &str, phone: &str, email: &str, name: &str) -> ContactUpdate {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::seconds(at);
    let stamp = Stamp { time, event: EventRef::new("/test", event).unwrap(), step: 1 };
    let mut values = FieldMap::default();
    for (field, value) in [(Field::Name, name), (Field::Phone, phone), (Field::Email, email)] {
        if !value.is_empty() {
            values.insert(field, value.replace('+', PLAN));
        }
    }
    ContactUpdate::from_accepted(stamp, values)
}

/// Applies updates as a worker does, and returns its ledger entries. Ids count from 1 by update.
fn ledger(updates: &[ContactUpdate]) -> (Vec<AppliedUpdate>, Changes) {
    let policy = Policy { on_conflict: OnConflict::Merge, guards: None };
    let mut directory = Directory::default();
    let entries = updates.iter().zip(1..).map(|(update, n)| {
        let applied = directory.apply(&acme(), update, id(n), &policy).unwrap();
        AppliedUpdate { contact: applied.id, update: update.clone() }
    });
    let entries = entries.collect();
    (entries, directory.into_changes())
}

/// Identifiers and values of a contact.
fn seen(contact: &Contact) -> (Vec<&str>, Vec<(&'static str, &str)>) {
    let values = contact.values.iter().map(|(field, stamped)| (field.name(), stamped.value.as_str()));
    let keys = contact.keys.iter().map(|key| key.value().trim_start_matches(PLAN));
    (keys.collect(), values.map(|(field, value)| (field, value.trim_start_matches(PLAN))).collect())
}

const APART: Separation = Separation {
    id: Uuid::from_u128(99),
    one: ContactId(Uuid::from_u128(1)),
    other: ContactId(Uuid::from_u128(2)),
};

#[test]
fn both_contacts_are_as_if_never_merged() {
    let (entries, _) = ledger(&[
        update(1, "a", "+1", "", "Ada"),
        update(2, "b", "", "b@x", "Bob"),
        update(3, "link", "+1", "b@x", "Ada B"),
        // While they are merged, each gets new values and a new identifier.
        update(4, "c", "", "b@x", "Bobby"),
        update(5, "d", "+1", "ada@x", "Ada C"),
        update(6, "e", "+2", "b@x", "Bob D"),
        update(7, "again", "+1", "b@x", "Eve"),
    ]);
    assert!(entries[2..].iter().all(|entry| entry.contact == id(1)));
    let rebuilt = rebuild(&acme(), &entries, &[APART]).unwrap();
    let contacts: Vec<_> = rebuilt.contacts.iter().map(seen).collect();
    assert_eq!(
        contacts,
        [
            (vec!["ada@x", "1"], vec![("name", "Eve"), ("phone", "1"), ("email", "ada@x")]),
            (vec!["b@x", "2"], vec![("name", "Bob D"), ("phone", "2"), ("email", "b@x")]),
        ]
    );
    assert_eq!(rebuilt.contacts.iter().map(|contact| contact.id).collect::<Vec<_>>(), [id(1), id(2)]);
    assert!(rebuilt.merges.is_empty());
    let owners: Vec<_> = rebuilt.steps.iter().map(|(owner, _)| owner.0.as_u128()).collect();
    assert_eq!(owners, [1, 2, 1, 2, 1, 2, 1]);
    let kept_apart: Vec<bool> = rebuilt.steps.iter().map(|(_, rejected)| rejected.is_some()).collect();
    assert_eq!(kept_apart, [false, false, true, false, false, false, true]);
}

#[test]
fn a_third_contact_stays_with_the_one_that_it_merged_with() {
    let (entries, _) = ledger(&[
        update(1, "a", "+1", "", "Ada"),
        update(2, "b", "", "b@x", "Bob"),
        update(3, "link", "+1", "b@x", "Ada"),
        update(4, "c", "+3", "", "Carl"),
        update(5, "with b", "+3", "b@x", "Carl"),
    ]);
    let rebuilt = rebuild(&acme(), &entries, &[APART]).unwrap();
    let keys: Vec<_> = rebuilt.contacts.iter().map(|contact| seen(contact).0).collect();
    assert_eq!(keys, [vec!["1"], vec!["b@x", "3"]]);
    let merges: Vec<_> = rebuilt.merges.iter().map(|merge| (merge.loser, merge.winner)).collect();
    assert_eq!(merges, [(id(4), id(2))], "its alias now leads to the other");
}

/// Rows from the first schema have lost their order within a transaction: if the linking event comes first,
/// the second contact is never created.
#[test]
fn a_contact_that_no_entry_creates_is_not_living() {
    let (mut entries, _) = ledger(&[
        update(1, "a", "+1", "", "Ada"),
        update(2, "b", "", "b@x", "Bob"),
        update(3, "link", "+1", "b@x", "Ada"),
    ]);
    entries.rotate_right(1);
    let rebuilt = rebuild(&acme(), &entries, &[APART]).unwrap();
    assert_eq!(rebuilt.contacts.len(), 1);
    assert_eq!((rebuilt.living(id(1)), rebuilt.living(id(2))), (Some(id(1)), None));
}

proptest! {
    /// Without separations the ledger gives the stored contacts. With one, no contact has events of both
    /// sides, and every event belongs to a contact.
    #[test]
    fn the_ledger_rebuilds_the_contacts(
        history in prop::collection::vec((0..6i64, 0..5u8, 0..5u8), 2..16),
        pair in any::<prop::sample::Index>(),
    ) {
        let updates: Vec<_> = history
            .iter()
            .enumerate()
            .filter(|(_, (_, phone, email))| phone + email > 0)
            .map(|(n, (at, phone, email))| {
                let phone = if *phone > 0 { format!("+{phone}") } else { String::new() };
                let email = if *email > 0 { format!("{email}@x") } else { String::new() };
                let name = if n % 3 == 0 { "Null".to_owned() } else { format!("n{n}") };
                update(*at, &format!("e{n}"), &phone, &email, &name)
            })
            .collect();
        let (entries, changes) = ledger(&updates);
        let without = rebuild(&acme(), &entries, &[]).unwrap();
        let all = |contacts: &[Contact]| -> Vec<_> {
            contacts.iter().map(|contact| (contact.id, contact.keys.clone(), contact.values.clone())).collect()
        };
        prop_assert_eq!(all(&without.contacts), all(&changes.created));
        if !changes.merges.is_empty() {
            let merge = &changes.merges[pair.index(changes.merges.len())];
            let apart = Separation { id: Uuid::from_u128(99), one: merge.into, other: merge.loser };
            let unmerged = rebuild(&acme(), &entries, &[apart]).unwrap();
            prop_assert_ne!(unmerged.living(merge.into), unmerged.living(merge.loser));
            let ids: Vec<_> = unmerged.contacts.iter().map(|contact| contact.id).collect();
            for id in unmerged.steps.iter().map(|(owner, _)| *owner).chain([merge.into, merge.loser]) {
                prop_assert!(unmerged.living(id).is_some_and(|living| ids.contains(&living)));
            }
            // Every identifier has exactly one owner, as before.
            let mut keys: Vec<_> = unmerged.contacts.iter().flat_map(|contact| seen(contact).0).collect();
            let mut before: Vec<_> = changes.created.iter().flat_map(|contact| seen(contact).0).collect();
            keys.sort_unstable();
            before.sort_unstable();
            prop_assert_eq!(keys, before);
        }
    }
}
