//! Tables of chains and arguments, and the plans and faults that they lead to.

mod dirty;
mod placeholders;
mod quality;
mod schemas;
mod wrapped;

use proptest::prelude::*;
use serde_json::json;
use strum::VariantArray as _;

use super::*;
use crate::domain::{
    chain::rules::OnUnidentified,
    contact::field::Field,
    event::CompanyId,
    samples::{event, matching, placeholders, with, without},
    trigger::{cache::TriggerCache, fired::decode},
    value::phone::{Region, Regions},
};

fn rules() -> Rules {
    Rules {
        default_max_interactions: 2,
        regions: Regions::new(Region::new("BR").unwrap(), []).into(),
        on_unidentified: OnUnidentified::Create,
        max_value_length: 100,
        placeholders: placeholders().into(),
    }
}

fn run(event: &Value, rules: &Rules) -> Result<Plan, Fault> {
    let fired = decode(event.to_string().as_bytes(), &TriggerCache::default())?;
    plan(fired, rules)
}

/// An event with one CRM action that fills every field from the parameter of the same name.
fn crm_event(arguments: Value) -> Value {
    let mut action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT"});
    let mut properties = json!({});
    for field in Field::VARIANTS {
        action[field.name()] = json!(field.name());
        properties[field.name()] = json!({});
    }
    let trigger = json!({"name": "all", "parameters": {"properties": properties}, "action": action});
    with(with(event(), "/data/trigger", trigger), "/data/arguments", arguments)
}

fn update(arguments: Value) -> Result<ContactUpdate, Fault> {
    let plan = run(&crm_event(arguments), &rules())?;
    match plan.steps.into_iter().next().unwrap().work {
        Work::UpsertContact(update) => Ok(update),
        Work::Webhook(_) => panic!("a CRM step"),
    }
}

fn values(update: &ContactUpdate) -> Vec<(&'static str, &str)> {
    update.values.iter().map(|(field, value)| (field.name(), value.as_str())).collect()
}

fn rejected(update: &ContactUpdate) -> Vec<(&'static str, &'static str)> {
    update.rejected.iter().map(|rejected| (rejected.field.name(), rejected.reason)).collect()
}

#[test]
fn sample_event_is_planned() {
    let plan = run(&event(), &rules()).unwrap();
    assert_eq!((plan.max_interactions, plan.steps.len(), plan.skipped), (2, 2, 0));
    assert_eq!(plan.event.arguments["interest"], "growth");
    let Work::UpsertContact(update) = &plan.steps[0].work else { panic!("a CRM step") };
    let expected = [("name", "Ada Lovelace"), ("email", "ada@analytical.example"), ("company", "Analytical")];
    assert_eq!(values(update), expected);
    assert_eq!(update.email.as_ref().unwrap().as_str(), "ada@analytical.example");
    assert_eq!(
        (update.stamp.time, &update.stamp.event, update.stamp.step),
        (plan.event.time, &plan.event.event, 1)
    );
    assert!(matches!(plan.steps[1].work, Work::Webhook(_)));
    let shown = format!("{plan:?}");
    assert!(
        !shown.contains("Ada") && !shown.contains("my_token") && !shown.contains("analytical"),
        "{shown}"
    );
}

#[test]
fn interactions_are_bounded() {
    let trigger = event()["data"]["trigger"].clone();
    let event = with(event(), "/data/next", json!([trigger, trigger]));
    for (max, steps, skipped) in
        [(0, 0, 6), (1, 1, 5), (2, 2, 4), (3, 3, 3), (6, 6, 0), (7, 6, 0), (u64::MAX, 6, 0)]
    {
        let plan =
            run(&with(event.clone(), "/data/assistant/maxInteractions", json!(max)), &rules()).unwrap();
        assert_eq!((plan.steps.len(), plan.skipped, plan.max_interactions), (steps, skipped, max));
        let indexes: Vec<_> = plan.steps.iter().map(|step| usize::from(step.index)).collect();
        assert_eq!(indexes, (1..=steps).collect::<Vec<_>>());
    }
    let plan =
        run(&without(event, "/data/assistant"), &Rules { default_max_interactions: 5, ..rules() }).unwrap();
    assert_eq!((plan.steps.len(), plan.skipped, plan.max_interactions), (5, 1, 5));
}

#[test]
fn arguments_are_checked_by_every_trigger_that_runs() {
    let strict = json!({"name": "strict", "parameters": {"required": ["phone"]},
        "action": {"type": "CRM", "subtype": "UPSERT_CONTACT"}});
    let event = with(event(), "/data/next", json!([strict]));
    assert_eq!(run(&event, &rules()).unwrap().skipped, 1);
    let event = with(event, "/data/assistant/maxInteractions", json!(3));
    let fault = run(&event, &rules()).unwrap_err();
    assert_eq!(fault.reason, Reason::ArgumentsInvalid);
    assert_eq!(fault.message, "trigger `strict`: argument `phone` is required but missing");
    assert_eq!(fault.trigger.as_deref(), Some("register_qualified_lead"));
    assert!(fault.company.is_some() && fault.event.is_some());
    // Null is removed before validation, so it counts as missing.
    let event = with(self::event(), "/data/arguments/name", Value::Null);
    assert_eq!(run(&event, &rules()).unwrap_err().reason, Reason::ArgumentsInvalid);
    assert!(run(&with(event, "/data/assistant/maxInteractions", json!(0)), &rules()).is_ok());
}

#[test]
fn faults_of_skipped_steps_do_not_matter_but_broken_definitions_do() {
    let crm = |email: &str| {
        json!({"name": "second", "parameters": {"properties": {"bad": {}}},
        "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "email": email}})
    };
    let event = with(event(), "/data/arguments/bad", json!("no address"));
    assert!(run(&with(event.clone(), "/data/next", json!([crm("bad")])), &rules()).is_ok());
    let fault = run(&with(event.clone(), "/data/next", json!([crm("undeclared")])), &rules()).unwrap_err();
    assert_eq!(fault.reason, Reason::TriggerInvalid);
    let event =
        with(with(event, "/data/next", json!([crm("bad")])), "/data/assistant/maxInteractions", json!(3));
    assert_eq!(run(&event, &rules()).unwrap_err().reason, Reason::IdentifierInvalid);
}

#[test]
fn values_become_text() {
    let update = update(json!({
        "name": "  Ada\nLovelace ", "identity": 12_345_678_901_u64, "phone": 5_585_999_990_001_u64,
        "email": ["Ada@Analytical.example"], "company": true, "position": ["CTO", " ", "Founder", 1],
        "zipCode": 60_000.0, "number": 1.5, "complement": -1, "state": [], "city": " \u{200b} ",
        "district": null, "street": "", "country": "N/A", "birthday": "{{birthday}}",
    }))
    .unwrap();
    let expected = [
        ("name", "Ada Lovelace"),
        ("identity", "12345678901"),
        ("phone", "+5585999990001"),
        ("email", "ada@analytical.example"),
        ("company", "true"),
        ("position", "CTO, Founder, 1"),
        ("zipCode", "60000"),
        ("number", "1.5"),
        ("complement", "-1"),
    ];
    assert_eq!(values(&update), expected);
    assert_eq!(update.identifiers().count(), 2);
    assert!(update.rejected.is_empty());
}

#[test]
fn unusable_values_are_rejected_one_by_one() {
    let update = update(json!({
        "name": {"first": "Ada"}, "position": [["a"]], "company": [{"a": 1}], "phone": "call me", "email": "a@b.example",
    }))
    .unwrap();
    assert_eq!(values(&update), [("email", "a@b.example")]);
    let expected = [
        ("name", "not_text"),
        ("phone", "not_a_phone_number"),
        ("company", "not_text"),
        ("position", "not_text"),
    ];
    assert_eq!(rejected(&update), expected);
}

#[test]
fn keys_decide_whether_a_person_is_identified() {
    let reject = Rules { on_unidentified: OnUnidentified::Reject, ..rules() };
    for (arguments, on_create, on_reject) in [
        (json!({"phone": "+5585999990001"}), true, true),
        (json!({"email": "a@b.example", "phone": "x"}), true, true),
        (json!({"email": "x", "phone": "+5585999990001"}), true, true),
        (json!({"name": "Ada"}), true, false),
        (json!({"name": "Ada", "phone": "n/a", "email": ""}), true, false),
        (json!({"name": "Ada", "phone": "0000000000", "email": "test@example.com"}), true, false),
        (json!({"name": "Ada", "email": "x"}), false, false),
        (json!({"name": "Ada", "phone": "12", "email": null}), false, false),
        (json!({"name": "Ada", "phone": {"a": 1}}), false, false),
        (json!({}), true, false),
    ] {
        for (rules, expected) in [(rules(), on_create), (reject.clone(), on_reject)] {
            match run(&crm_event(arguments.clone()), &rules) {
                Ok(_) => assert!(expected, "{arguments}"),
                Err(fault) => {
                    assert!(!expected, "{arguments}");
                    assert_eq!(fault.reason, Reason::IdentifierInvalid);
                }
            }
        }
    }
    let message = update(json!({"phone": "12", "email": "x"})).unwrap_err().message;
    assert_eq!(
        message,
        "no usable phone or email: `phone` is not_a_phone_number, `email` is not_an_email_address"
    );
}

#[test]
fn length_is_counted_in_characters_after_trimming() {
    assert!(update(json!({"name": format!(" {} ", "é".repeat(100))})).is_ok());
    for text in ["é".repeat(101), "a".repeat(100_000)] {
        let update = update(json!({"name": text, "city": "Fortaleza", "email": "a@b.example"})).unwrap();
        assert_eq!(values(&update), [("email", "a@b.example"), ("city", "Fortaleza")]);
        assert_eq!(rejected(&update), [("name", "too_long")]);
    }
    let fault = update(json!({"phone": "98".repeat(51)})).unwrap_err();
    assert_eq!(fault.reason, Reason::IdentifierInvalid);
    assert_eq!(fault.message, "no usable phone or email: `phone` is too_long");
}

proptest! {
    #[test]
    fn plans_are_deterministic_and_faults_contain_no_value(
        name in matching("\\PC{0,120}"), phone in matching("[0-9+ ()-]{0,20}|\\PC{0,20}"), email in matching("zqx[a-z@.]{0,20}|\\PC{0,20}"),
        age in any::<i64>(), list in proptest::collection::vec(matching("\\PC{0,10}"), 0..4),
    ) {
        let arguments = json!({"name": format!("zqx{name}"), "phone": phone, "email": email, "number": age, "city": list});
        let once = run(&crm_event(arguments.clone()), &rules());
        let again = run(&crm_event(arguments), &rules());
        match (once, again) {
            (Ok(once), Ok(again)) => {
                prop_assert_eq!(once.steps.len(), again.steps.len());
                for (once, again) in once.steps.iter().zip(&again.steps) {
                    match (&once.work, &again.work) {
                        (Work::UpsertContact(once), Work::UpsertContact(again)) => prop_assert_eq!(once, again),
                        _ => prop_assert!(false, "a CRM step"),
                    }
                }
            }
            (Err(once), Err(again)) => {
                prop_assert!(!once.message.contains("zqx"), "{}", once.message);
                prop_assert_eq!(once, again);
            }
            _ => prop_assert!(false, "the same event gives a plan and a fault"),
        }
    }
}
