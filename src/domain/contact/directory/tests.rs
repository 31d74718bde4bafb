//! Examples of updates and merges, and their convergence as a property.

mod conflicts;

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::*;
use crate::domain::{
    contact::{Stamped, field::FieldMap},
    event::{EventRef, Stamp},
    value::{email::Email, phone::Phone},
};

const MERGE: Policy = Policy { on_conflict: OnConflict::Merge, guards: None };

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

fn apply(directory: &mut Directory, update: &ContactUpdate, fresh: u128) -> Applied {
    directory.apply(&acme(), update, id(fresh), &MERGE).unwrap()
}

#[test]
fn updates_create_or_change_a_contact_or_leave_it_unchanged() {
    let mut directory = Directory::default();
    let created = apply(&mut directory, &update(1, "a", Some("+1"), None, "Ada"), 1);
    assert_eq!((created.operation, created.version), (Operation::Created, 1));
    assert_eq!(created.changed, [Field::Name, Field::Phone]);
    let updated = apply(&mut directory, &update(2, "b", Some("+1"), Some("a@x"), "Ada L"), 2);
    assert_eq!((updated.operation, updated.version, updated.id), (Operation::Updated, 2, id(1)));
    assert_eq!(updated.changed, [Field::Email, Field::Name]);
    let late = apply(&mut directory, &update(0, "c", None, Some("a@x"), "Old"), 3);
    assert_eq!((late.operation, late.version), (Operation::Unchanged, 2));
    let changes = directory.into_changes();
    assert_eq!((changes.created.len(), changes.changed.len()), (1, 0));
    assert_eq!(changes.created[0].created_at, OffsetDateTime::UNIX_EPOCH);
    assert_eq!(changes.created[0].keys.len(), 2);
    assert_eq!(changes.identifiers.len(), 2);
}

#[test]
fn the_greater_event_id_wins_a_tie_in_time() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut directory = Directory::default();
        for event in order {
            apply(&mut directory, &update(1, event, Some("+1"), None, event), 1);
        }
        let contact = directory.into_changes().created.remove(0);
        assert_eq!(contact.values.get(Field::Name).unwrap().value, "b");
    }
}

/// "None" in a field of names says nothing about what is known, however late it comes.
#[test]
fn a_doubtful_value_gives_way_to_every_certain_one() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let updates = [
            update(1, "a", Some("+1"), None, "Ada"),
            update(3, "b", Some("+1"), None, "None"),
            update(2, "c", Some("+1"), None, "Null"),
        ];
        let mut directory = Directory::default();
        for index in order {
            apply(&mut directory, &updates[index], 1);
        }
        let contact = directory.into_changes().created.remove(0);
        assert_eq!(contact.values.get(Field::Name).unwrap().value, "Ada", "{order:?}");
    }
    let mut directory = Directory::default();
    apply(&mut directory, &update(2, "b", Some("+1"), None, "None"), 1);
    let late = apply(&mut directory, &update(1, "a", Some("+1"), None, "Null"), 1);
    assert_eq!(late.operation, Operation::Unchanged, "of two doubtful values the later one counts");
    let certain = apply(&mut directory, &update(0, "c", Some("+1"), None, "Ada"), 1);
    assert_eq!((certain.operation, certain.changed), (Operation::Updated, vec![Field::Name]));
}

#[test]
fn a_merge_prefers_the_certain_value() {
    for (one, other) in [("None", "Ada"), ("Ada", "None")] {
        let mut directory = Directory::default();
        apply(&mut directory, &update(1, "a", Some("+1"), None, one), 1);
        apply(&mut directory, &update(2, "b", None, Some("a@x"), other), 2);
        apply(&mut directory, &update(3, "c", Some("+1"), Some("a@x"), "Null"), 3);
        let contact = directory.into_changes().created.remove(0);
        assert_eq!(contact.values.get(Field::Name).unwrap().value, "Ada", "{one}, then {other}");
    }
}

#[test]
fn the_older_contact_absorbs_the_newer_one() {
    let mut directory = Directory::default();
    apply(&mut directory, &update(1, "a", Some("+1"), None, "Ada"), 9);
    apply(&mut directory, &update(2, "b", None, Some("a@x"), "A"), 2);
    let newer = apply(&mut directory, &update(3, "b2", None, Some("a@x"), "Ada L"), 8);
    assert_eq!(newer.version, 2);
    let merged = apply(&mut directory, &update(4, "c", Some("+1"), Some("a@x"), "Ada L"), 3);
    assert_eq!((merged.operation, merged.id, merged.version), (Operation::Updated, id(9), 2));
    assert_eq!(merged.merged, [id(2)]);
    assert_eq!(merged.changed, [Field::Email, Field::Name], "new to the older contact");
    let changes = directory.into_changes();
    assert_eq!((changes.created.len(), changes.removed.len(), changes.moved.len()), (1, 0, 0));
    assert_eq!((changes.merges[0].loser, changes.merges[0].winner), (id(2), id(9)));
    assert!(changes.identifiers.iter().all(|(_, _, owner)| *owner == id(9)));
}

#[test]
fn a_merge_moves_stored_identifiers() {
    let mut directory = Directory::default();
    apply(&mut directory, &update(1, "a", Some("+1"), None, "Ada"), 1);
    apply(&mut directory, &update(2, "b", None, Some("a@x"), "A"), 2);
    let mut stored = Directory::default();
    for contact in directory.into_changes().created {
        stored.add(contact);
    }
    apply(&mut stored, &update(3, "c", Some("+2"), Some("a@x"), "A"), 3);
    apply(&mut stored, &update(4, "d", Some("+1"), Some("a@x"), "A"), 4);
    let changes = stored.into_changes();
    let values = |keys: &[(CompanyId, Identifier, ContactId)]| -> Vec<String> {
        keys.iter().map(|(_, key, owner)| format!("{} {}", key.value(), owner.0.as_u128())).collect()
    };
    assert_eq!(values(&changes.moved), ["a@x 1"]);
    assert_eq!(values(&changes.identifiers), ["+2 1"]);
    assert_eq!(changes.removed, [(acme(), id(2))]);
    assert_eq!((changes.created.len(), changes.changed.len()), (0, 1));
    assert_eq!(changes.changed[0].keys.len(), 3);
}

#[test]
fn merges_point_to_the_last_winner_within_their_company() {
    let mut directory = Directory::default();
    let other = CompanyId::new("other").unwrap();
    let theirs = update(0, "z", Some("+1"), Some("b@x"), "Zoe");
    directory.apply(&other, &theirs, id(50), &MERGE).unwrap();
    apply(&mut directory, &update(3, "a", Some("+1"), None, "A"), 1);
    apply(&mut directory, &update(2, "b", None, Some("a@x"), "B"), 2);
    apply(&mut directory, &update(1, "c", Some("+2"), None, "C"), 3);
    apply(&mut directory, &update(4, "d", Some("+1"), Some("a@x"), "D"), 4);
    apply(&mut directory, &update(5, "e", Some("+2"), Some("a@x"), "E"), 5);
    let changes = directory.into_changes();
    assert_eq!(changes.created.len(), 2);
    assert!(changes.merges.iter().all(|merge| merge.winner == id(3) && merge.company == acme()));
    let into: Vec<_> = changes.merges.iter().map(|merge| (merge.loser, merge.into)).collect();
    assert_eq!(into, [(id(1), id(2)), (id(2), id(3))]);
}

/// Everything that must not depend on order: identifiers, and every value with its stamp.
type Person = (Vec<Identifier>, Vec<(Field, Stamped)>, OffsetDateTime, OffsetDateTime);

/// The people after these batches. Each batch has its own directory, loaded from the stored contacts, like a
/// transaction. Ids differ from run to run.
fn state(batches: &[&[ContactUpdate]]) -> Vec<Person> {
    let mut stored: BTreeMap<ContactId, Contact> = BTreeMap::new();
    let mut fresh = 0;
    for batch in batches {
        let mut directory = Directory::default();
        for contact in stored.values() {
            directory.add(contact.clone());
        }
        for update in *batch {
            fresh += 1;
            apply(&mut directory, update, fresh);
        }
        let changes = directory.into_changes();
        for (_, removed) in &changes.removed {
            stored.remove(removed);
        }
        stored
            .extend(changes.created.into_iter().chain(changes.changed).map(|contact| (contact.id, contact)));
    }
    let mut people: Vec<Person> = stored
        .into_values()
        .map(|contact| {
            (contact.keys, contact.values.into_iter().collect(), contact.created_at, contact.updated_at)
        })
        .collect();
    people.sort_by(|a: &Person, b| a.0.cmp(&b.0));
    people
}

proptest! {
    #[test]
    fn order_duplicates_and_batches_do_not_change_the_contacts(
        history in prop::collection::vec((0..6i64, 0..6u8, 0..6u8), 1..16),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        size in 1..8usize,
    ) {
        let updates: Vec<_> = history
            .iter()
            .enumerate()
            .map(|(n, (at, phone, email))| {
                let phone = (*phone > 0 || *email == 0).then(|| format!("+{phone}"));
                let email = (*email > 0).then(|| format!("{email}@x"));
                // Every third name is doubtful, so some contacts have no other.
                let name = if n % 3 == 0 { "None".to_owned() } else { format!("name-{n}") };
                update(*at, &format!("event-{n}"), phone.as_deref(), email.as_deref(), &name)
            })
            .collect();
        let mut shuffled = updates.clone();
        for (n, index) in seed.iter().enumerate() {
            let other = index.index(shuffled.len());
            let n = n % shuffled.len();
            shuffled.swap(n, other);
            shuffled.push(shuffled[other].clone());
        }
        let batches: Vec<&[ContactUpdate]> = shuffled.chunks(size).collect();
        prop_assert_eq!(state(&[&updates]), state(&batches));
    }
}
