//! Events that match two contacts: policies, guards and separations.

use super::*;

const GUARDS: Option<Guards> = Some(Guards { max_identifiers: 2 });

fn policy(on_conflict: OnConflict) -> Policy {
    Policy { on_conflict, guards: GUARDS }
}

/// Contact 1 has phone +1, contact 2 has email a@x.
fn two() -> Directory {
    let mut directory = Directory::default();
    apply(&mut directory, &update(1, "a", Some("+1"), None, "Ada"), 1);
    apply(&mut directory, &update(2, "b", None, Some("a@x"), "Bob"), 2);
    directory
}

fn with_identity(mut update: ContactUpdate, identity: &str) -> ContactUpdate {
    update.values.insert(Field::Identity, identity.to_owned());
    update
}

fn value(directory: &Directory, contact: u128, field: Field) -> Option<String> {
    Some(directory.get(&acme(), id(contact))?.values.get(field)?.value.clone())
}

#[test]
fn the_contact_of_the_preferred_key_is_updated() {
    for (on_conflict, winner, dropped, rule) in [
        (OnConflict::PreferPhone, 1, Field::Email, Rule::PreferPhone),
        (OnConflict::PreferEmail, 2, Field::Phone, Rule::PreferEmail),
    ] {
        let mut directory = two();
        let both = update(3, "c", Some("+1"), Some("a@x"), "Eve");
        let applied = directory.apply(&acme(), &both, id(3), &policy(on_conflict)).unwrap();
        let (rejected, conflict) = applied.kept_apart.unwrap();
        assert_eq!((rejected.field, rejected.reason), (dropped, "belongs_to_another_contact"));
        assert_eq!(conflict, Conflict { rule, contact: id(winner), other: id(3 - winner) });
        assert_eq!((applied.id, applied.merged.len()), (id(winner), 0));
        assert_eq!(value(&directory, winner, Field::Name).unwrap(), "Eve");
        assert_eq!(value(&directory, winner, dropped), None);
        assert_eq!(
            directory.get(&acme(), id(3 - winner)).unwrap().version,
            1,
            "the other contact does not change"
        );
    }
}

#[test]
fn one_match_is_not_a_conflict_under_any_policy() {
    use OnConflict::{Merge, PreferEmail, PreferPhone, Reject};
    for on_conflict in [Merge, PreferPhone, PreferEmail, Reject] {
        let mut directory = two();
        let both = update(3, "c", Some("+1"), Some("new@x"), "Ada");
        let applied = directory.apply(&acme(), &both, id(3), &policy(on_conflict)).unwrap();
        assert_eq!((applied.id, applied.kept_apart), (id(1), None));
        let again = directory.apply(&acme(), &both, id(4), &policy(on_conflict)).unwrap();
        assert_eq!((again.id, again.operation), (id(1), Operation::Unchanged));
    }
}

#[test]
fn a_rejected_event_changes_nothing() {
    let mut directory = two();
    let both = update(3, "c", Some("+1"), Some("a@x"), "Eve");
    let refused = directory.apply(&acme(), &both, id(3), &policy(OnConflict::Reject)).unwrap_err();
    assert_eq!(refused, Conflict { rule: Rule::Reject, contact: id(1), other: id(2) });
    for (contact, name) in [(1, "Ada"), (2, "Bob")] {
        assert_eq!(value(&directory, contact, Field::Name).unwrap(), name);
        assert_eq!(directory.get(&acme(), id(contact)).unwrap().version, 1);
    }
    let changes = directory.into_changes();
    assert!(changes.merges.is_empty());
    assert_eq!((changes.created.len(), changes.identifiers.len()), (2, 2));
}

#[test]
fn contacts_with_different_cpfs_are_not_merged() {
    let (one, other) = ("529.982.247-25", "111.444.777-35");
    for (phone, email, said, merges) in [
        (Some(one), Some(other), None, false),
        (Some(one), Some(one), None, true),
        (Some(one), Some("52998224725"), None, true),
        (Some(one), None, None, true),
        (Some(one), Some("529.982.247-24"), None, true),
        (Some(one), Some("passport X1"), None, true),
        (Some(one), None, Some(other), false),
        (None, None, Some(other), true),
    ] {
        let mut directory = two();
        for (identity, key) in [(phone, (Some("+1"), None)), (email, (None, Some("a@x")))] {
            if let Some(identity) = identity {
                let said = with_identity(update(3, "c", key.0, key.1, "n"), identity);
                directory.apply(&acme(), &said, id(3), &policy(OnConflict::Merge)).unwrap();
            }
        }
        let mut both = update(4, "d", Some("+1"), Some("a@x"), "n");
        if let Some(said) = said {
            both = with_identity(both, said);
        }
        let applied = directory.apply(&acme(), &both, id(4), &policy(OnConflict::Merge));
        let rule = applied.map_err(|conflict| conflict.rule).map(|applied| applied.merged.len());
        assert_eq!(
            rule,
            if merges { Ok(1) } else { Err(Rule::DifferentCpf) },
            "{phone:?} {email:?} {said:?}"
        );
    }
}

#[test]
fn the_number_of_identifiers_is_limited() {
    let mut directory = Directory::default();
    let mut say = |n: i64, phone: &str, email: &str| {
        let update = update(n, &format!("e{n}"), Some(phone), Some(email), "n");
        directory.apply(&acme(), &update, id(n.unsigned_abs().into()), &policy(OnConflict::Merge))
    };
    assert!(say(1, "+1", "a@x").is_ok());
    assert!(say(2, "+1", "b@x").is_ok(), "the limit is inclusive");
    assert_eq!(say(3, "+1", "c@x").unwrap_err().rule, Rule::TooManyEmails);
    assert!(say(4, "+1", "b@x").is_ok(), "no new identifier");
    assert!(say(5, "+2", "b@x").is_ok());
    assert_eq!(say(6, "+3", "b@x").unwrap_err().rule, Rule::TooManyPhones);
    assert!(say(7, "+4", "d@x").is_ok());
    let both = Conflict { rule: Rule::TooManyPhones, contact: id(7), other: id(1) };
    assert_eq!(say(8, "+4", "a@x").unwrap_err(), both, "a merge counts the identifiers of both");
}

#[test]
fn unmerged_contacts_stay_apart_after_further_merges() {
    let mut directory = two();
    let separation = Uuid::from_u128(77);
    directory.separate(&acme(), id(1), Side { separation, second: false });
    directory.separate(&acme(), id(2), Side { separation, second: true });
    // A third, older contact absorbs the first one and its side of the separation.
    apply(&mut directory, &update(0, "c", Some("+3"), None, "C"), 3);
    apply(&mut directory, &update(3, "d", None, Some("c@x"), "C"), 4);
    apply(&mut directory, &update(4, "e", Some("+1"), Some("c@x"), "C"), 5);
    let merged = apply(&mut directory, &update(5, "f", Some("+3"), Some("c@x"), "C"), 6);
    assert_eq!(merged.merged, [id(1)]);
    let linked = apply(&mut directory, &update(6, "g", Some("+3"), Some("a@x"), "Eve"), 7);
    let (rejected, conflict) = linked.kept_apart.unwrap();
    assert_eq!((rejected.field, rejected.reason), (Field::Email, "contacts_kept_apart"));
    assert_eq!(conflict, Conflict { rule: Rule::Separated, contact: id(3), other: id(2) });
    assert_eq!(value(&directory, 2, Field::Name).unwrap(), "Bob");
    assert_eq!(value(&directory, 3, Field::Email).unwrap(), "c@x");
}

#[test]
fn policy_decides_which_of_two_unmerged_contacts_an_event_updates() {
    for (on_conflict, expected) in [
        (OnConflict::Merge, Ok((id(1), Field::Email))),
        (OnConflict::PreferPhone, Ok((id(1), Field::Email))),
        (OnConflict::PreferEmail, Ok((id(2), Field::Phone))),
        (OnConflict::Reject, Err(Rule::Reject)),
    ] {
        let mut directory = two();
        let separation = Uuid::from_u128(77);
        directory.separate(&acme(), id(1), Side { separation, second: false });
        directory.separate(&acme(), id(2), Side { separation, second: true });
        let both = update(3, "c", Some("+1"), Some("a@x"), "Eve");
        let applied = directory.apply(&acme(), &both, id(3), &policy(on_conflict));
        let outcome = applied.map(|applied| (applied.id, applied.kept_apart.unwrap().0.field));
        assert_eq!(outcome.map_err(|conflict| conflict.rule), expected, "{on_conflict:?}");
    }
}
