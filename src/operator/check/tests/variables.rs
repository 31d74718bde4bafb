//! Variables in the style of other tools, which are sent as they are written.

use super::*;

/// What is written for a parameter or a variable of the service, what to write instead, and a source.
const WRITTEN: &[(&str, &str, &str)] = &[
    ("{{name}}", "write $name", "Handlebars, Mustache"),
    ("{{ name }}", "write $name", "Jinja, Liquid"),
    ("{{{name}}}", "write $name", "Handlebars: unescaped"),
    ("{{$name}}", "write $name", "Handlebars, with the sign that the service asks for"),
    ("{{ $json.name }}", "write $name", "n8n"),
    ("={{ $json.body.email }}", "write $email", "n8n: an expression"),
    ("{{ data.name }}", "write $name", "Liquid: a member"),
    ("${name}", "write $name", "JavaScript, shells"),
    ("${data.email}", "write $email", "JavaScript: a member"),
    ("{{session.id}}", "write $session.id", "as above: a variable of the service"),
    ("{{ contact.phone }}", "write $contact.phone", "as above"),
    ("{{images[0]}}", "write $images[0]", "as above"),
    ("{{1.nome}}", "write $ and the name of a parameter", "Make: the module's number"),
    ("{{#if vip}}", "write $ and the name of a parameter", "Handlebars: a block"),
];

/// What is such a variable only around the name of a parameter, and a source.
const AROUND_A_NAME: &[(&str, &str)] = &[
    ("#{name}", "Ruby: interpolation"),
    ("<%= name %>", "Ruby: ERB"),
    ("<<name>>", "Word: mail merge"),
    ("[[name]]", "https://docs.modx.com/current/en/building-sites/tag-syntax: MODX"),
    ("%name%", "Windows: a variable of the command line"),
    ("@{name}", "Power Automate"),
    ("%{name}", "Ruby, Logstash"),
    ("%(name)s", "Python"),
    ("*|name|*", "Mailchimp"),
    ("$(name)", "shells"),
    ("<name>", "http://docopt.org: an argument"),
    ("[name]", "forms"),
    ("#name#", "https://cfdocs.org: ColdFusion's variables"),
    (":name", "SQL"),
];

/// What is no variable of any tool, and a source.
const FINE: &[(&str, &str)] = &[
    ("$name", "shells"),
    ("{name}", "JSON: braces of an object"),
    ("{ {name} }", "JSON: braces in braces"),
    ("a }} b", "JSON: the end of two objects"),
    ("{{ open", "Handlebars: cut"),
    ("$ {name}", "as above: a blank between"),
    ("100 %", "CLDR pt: percent"),
    ("R$ {5}", "CLDR pt: money"),
];

#[test]
fn variables_of_other_tools_get_a_warning() {
    for (written, instead, source) in WRITTEN {
        for (members, place) in [
            (json!({"body": {"a": ["x", {"b/c": format!("Lead {written}!")}]}}), "/body/a/1/b~1c"),
            (json!({"body": format!("Lead {written}")}), "/body"),
            (json!({"headers": [{"key": "x-lead", "value": written}]}), "/headers/0/value"),
            (json!({"url": format!("https://h.example/lead-$name?mail=$email&of={written}")}), "/url"),
        ] {
            let found = webhook_warnings(&members);
            let is_there = |(at, message): &(String, String)| at == place && message.ends_with(instead);
            assert!(found.iter().any(is_there), "{written} ({source}): {found:?}");
        }
    }
    for (written, source) in AROUND_A_NAME {
        let found = webhook_warnings(&json!({"body": {"text": written}}));
        let is_there = |(_, message): &(String, String)| message.ends_with("is sent as written; write $name");
        assert!(found.iter().any(is_there), "{written} ({source}): {found:?}");
    }
    for (fine, source) in FINE {
        assert_eq!(webhook_warnings(&json!({"body": {"text": fine}})), [], "{fine} ({source})");
    }
    assert_eq!(webhook_warnings(&json!({"body": "{{name}} {{name}} {{email}}"})).len(), 2);
}

#[test]
fn unknown_variable_of_a_body_gets_a_warning() {
    for (written, source) in [
        ("$nope", "as the author misspells it: shells"),
        ("$NAME", "shells: in capitals"),
        ("$names", "shells: a longer name"),
        ("$contact.nome", "shells: no field"),
        ("$sessionId", "JavaScript: camel case"),
    ] {
        let found = webhook_warnings(&json!({"body": {"a": written}}));
        let is_there =
            |(at, message): &(String, String)| at == "/body/a" && message.contains("neither a parameter");
        assert!(found.iter().any(is_there), "{written} ({source}): {found:?}");
    }
    for fine in ["$name", "$5", "$$", "$name-x", "$email."] {
        assert_eq!(webhook_warnings(&json!({"body": {"a": fine}})), [], "{fine}");
    }
}

#[test]
fn variable_in_a_key_gets_a_warning() {
    for (key, source) in [("$name", "shells"), ("{{name}}", "Handlebars")] {
        let found = webhook_warnings(&json!({"body": {"a": [{key: 1}]}}));
        let is_there =
            |(at, message): &(String, String)| at.starts_with("/body/a/0/") && message.contains("in a key");
        assert!(found.iter().any(is_there), "{key} ({source}): {found:?}");
    }
}

#[test]
fn segment_that_may_be_empty_gets_a_warning() {
    let webhook = |url: &str| {
        let definition = json!({
            "name": "t",
            "parameters": {
                "properties": {"id": {"type": "string"}, "plan": {"type": "string"}}, "required": ["id"],
            },
            "actions": [
                {"type": "CRM", "subtype": "UPSERT_CONTACT", "identity": "id", "name": "plan"},
                {"type": "WEBHOOK", "url": url},
            ],
        });
        findings(&definition.to_string())
            .into_iter()
            .filter(|(_, place, _)| place == "/actions/1/url")
            .collect()
    };
    let found: Vec<_> = webhook("https://h.example/$id/$plan?x=1");
    assert!(found.len() == 1 && found[0].2.contains("without a value, $plan"), "{found:?}");
    for url in ["https://h.example/$id/x", "https://h.example/x-$plan", "https://h.example/?p=/$plan"] {
        assert_eq!(webhook(url), [], "{url}");
    }
}
