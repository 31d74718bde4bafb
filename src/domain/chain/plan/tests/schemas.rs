//! Events whose parameters are written as tools write them.

use super::*;

/// An event whose trigger has these parameters and upserts name, email, phone and company.
fn lead(parameters: &Value, arguments: Value) -> Value {
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"});
    let trigger = json!({"name": "register_lead", "parameters": parameters, "action": action});
    with(with(event(), "/data/trigger", trigger), "/data/arguments", arguments)
}

fn stored(event: &Value) -> Result<Vec<(&'static str, String)>, (Reason, String)> {
    let plan = run(event, &rules()).map_err(|fault| (fault.reason, fault.message))?;
    let Work::UpsertContact(update) = &plan.steps[0].work else { panic!("a CRM step") };
    assert_eq!(rejected(update), []);
    Ok(values(update).into_iter().map(|(field, value)| (field, value.to_owned())).collect())
}

#[test]
fn strict_schemas_accept_null_where_they_say_so() {
    let parameters = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "email": {"type": ["string", "null"]},
            "company": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["name", "email", "company"],
        "additionalProperties": false,
    });
    let given = json!({"name": "Helena Prado", "email": null, "company": null});
    assert_eq!(stored(&lead(&parameters, given)), Ok(vec![("name", "Helena Prado".into())]));
    let (reason, message) =
        stored(&lead(&parameters, json!({"name": null, "email": null, "company": null}))).unwrap_err();
    assert_eq!(reason, Reason::ArgumentsInvalid);
    assert_eq!(message, "trigger `register_lead`: argument `name` is required but missing");
}

#[test]
fn patterns_may_look_around() {
    let pattern = r"^(?!\.)(?!.*\.\.)[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$";
    let parameters = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email", "pattern": pattern}},
        "required": ["name", "email"],
    });
    let email = |email: &str| stored(&lead(&parameters, json!({"name": "Igor", "email": email})));
    let expected = vec![("name", "Igor".to_owned()), ("email", "igor@firma.example".to_owned())];
    assert_eq!(email("igor@firma.example"), Ok(expected));
    assert_eq!(email("igor..m@firma.example").unwrap_err().0, Reason::ArgumentsInvalid);
}

#[test]
fn definitions_may_use_each_other() {
    let parameters = json!({
        "properties": {"name": {"type": "string"}, "email": {"type": "string"}, "lead": {"$ref": "#/$defs/Lead"}},
        "$defs": {
            "Plan": {"type": "string", "enum": ["starter", "growth"]},
            "Lead": {"type": "object", "properties": {"plan": {"$ref": "#/$defs/Plan"}}, "required": ["plan"]},
        },
    });
    let plan = |plan: &str| {
        stored(&lead(
            &parameters,
            json!({"name": "Kelly", "email": "k@firma.example", "lead": {"plan": plan}}),
        ))
    };
    assert!(plan("growth").is_ok());
    let (reason, message) = plan("gold").unwrap_err();
    assert_eq!(reason, Reason::ArgumentsInvalid);
    assert_eq!(message, "trigger `register_lead`: argument `lead` is not one of the values in `enum`");
}

/// A lead with optional members that have rules, and a webhook that sends them.
fn strict_lead(arguments: &Value) -> Value {
    let email =
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";
    let parameters = json!({
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "phone": {"type": "string", "pattern": r"^\+?[0-9 ()-]{8,20}$"},
            "email": {"type": "string", "pattern": email},
            "born": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
            "size": {"enum": ["small", "large"]},
            "zip": {"type": ["string", "null"], "minLength": 8},
            "note": {"type": "string", "minLength": 1},
        },
        "required": ["name", "phone", "zip"],
    });
    let crm = json!({
        "type": "CRM", "subtype": "UPSERT_CONTACT",
        "name": "name", "phone": "phone", "email": "email", "birthday": "born", "complement": "size",
        "zipCode": "zip",
    });
    let trigger = json!({"name": "register_lead", "parameters": parameters, "action": crm});
    let mut given = json!({"name": "Ada Lovelace", "phone": "+55 85 98812-4471", "zip": null});
    given.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
    with(with(event(), "/data/trigger", trigger), "/data/arguments", given)
}

/// Models and forms fill in every parameter, those that they do not know with nothing or a word for it: PhilflowIO/dav-mcp
/// #15 (n8n), can1357/oh-my-pi #2981, moltis-org/moltis #283 (strict schemas), colinhacks/zod #310 and #2513 (forms).
#[test]
fn arguments_that_are_no_value_and_may_be_null_do_not_break_the_schema() {
    for (arguments, left_out) in [
        // A form sends every box, empty ones as well.
        (json!({"email": "", "born": " "}), vec!["born", "email"]),
        // n8n, Make, Handlebars: expressions that were never evaluated
        (json!({"email": "{{ $json.email }}"}), vec!["email"]),
        (json!({"born": "{{1.birthday}}", "size": "{{size}}"}), vec!["born", "size"]),
        // Strict schemas require all, and the optional ones may be null.
        (json!({"zip": ""}), vec!["zip"]),
        (json!({"zip": "N/A", "email": "N/A"}), vec!["email", "zip"]),
        // Language models
        (json!({"email": "N/A"}), vec!["email"]),
        (json!({"email": "não informado", "size": "unknown"}), vec!["email", "size"]),
        (json!({"born": "null", "email": "undefined"}), vec!["born", "email"]),
        (json!({"email": "None", "born": "1990-05-20"}), vec!["email"]),
        // It fits, and no step stores it.
        (json!({"email": "N/A", "note": "N/A"}), vec!["email"]),
        (json!({"email": "ada@analytical.example"}), vec![]),
    ] {
        let plan = run(&strict_lead(&arguments), &rules());
        let plan = plan.unwrap_or_else(|fault| panic!("{arguments}: {}", fault.message));
        let mut names: Vec<&str> = plan.event.left_out.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, left_out, "{arguments}");
        // Webhooks get null.
        assert!(names.iter().all(|name| plan.event.arguments[*name].is_null()), "{arguments}");
        let Work::UpsertContact(update) = &plan.steps[0].work else { panic!("a CRM step") };
        assert_eq!(update.phone.as_ref().unwrap().as_str(), "+5585988124471");
        assert_eq!(rejected(update), [], "{arguments}");
        // A preview shows their outcome.
        let explained = plan.explain(&plan.steps[0], &rules());
        for name in names {
            let one = explained.iter().find(|one| one.parameter == name).unwrap();
            assert_eq!(Value::from(one.given.as_str()), arguments[name]);
            assert!(matches!(one.outcome, super::ArgumentResult::NoValue(_)), "{arguments}");
        }
    }
}

#[test]
fn other_arguments_that_break_the_schema_are_refused() {
    for (arguments, says) in [
        // a value, although no good one
        (json!({"email": "ada at home"}), "argument `email` breaks the rule `pattern`"),
        (json!({"size": "medium", "email": ""}), "argument `"),
        // required
        (json!({"name": ""}), "argument `name` is shorter than 1 characters"),
        (json!({"phone": "N/A"}), "argument `phone` breaks the rule `pattern`"),
        // no field
        (json!({"note": ""}), "argument `note` is shorter than 1 characters"),
        // The official test suite: a number is not a text, even if it looks like one, and the reverse.
        (json!({"phone": 5_585_988_124_471_u64}), "argument `phone` must be a string"),
        (json!({"email": 0}), "argument `email` must be a string"),
        (json!({"email": false}), "argument `email` must be a string"),
        (json!({"email": []}), "argument `email` must be a string"),
    ] {
        let fault = run(&strict_lead(&arguments), &rules()).unwrap_err();
        assert_eq!(fault.reason, Reason::ArgumentsInvalid);
        assert!(fault.message.contains(says), "{arguments}: {}", fault.message);
    }
}

/// What the first trigger does not count as given, the next one does not get either.
#[test]
fn arguments_that_are_left_out_are_so_for_the_whole_chain() {
    let next = |required: Value| {
        json!({"name": "next", "parameters": {"properties": {"email": {"type": "string"}}, "required": required},
            "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "email": "email"}})
    };
    let event =
        |required: Value| with(strict_lead(&json!({"email": "N/A"})), "/data/next", json!([next(required)]));
    let plan = run(&event(json!([])), &rules()).unwrap();
    assert_eq!((plan.steps.len(), plan.event.left_out.len()), (2, 1));
    let fault = run(&event(json!(["email"])), &rules()).unwrap_err();
    assert_eq!(fault.message, "trigger `next`: argument `email` is required but missing");
}
