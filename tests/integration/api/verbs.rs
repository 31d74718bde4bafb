//! What operators do, they can do on the command line, over the API and in the console.

use std::collections::BTreeSet;

use contact_relay::console::{self, Face, Kind};
use macro_rules_attribute::apply;

use crate::support::{app::TestApp, event::Event, test};

/// Each verb: a command, a route of the API, and a page or form. A replay is planned and run.
const VERBS: [(&str, &str, &str); 36] = [
    ("dead-letter list", "/api/v1/dead-letters", "/dead-letters"),
    ("dead-letter groups", "/api/v1/dead-letters/groups", "/failures"),
    ("dead-letter note", "/api/v1/dead-letters/groups/{signature}/note", "/failures/note"),
    ("dead-letter show", "/api/v1/dead-letters/{id}", "/dead-letters/{id}"),
    ("dead-letter show", "/api/v1/dead-letters/{id}/reveal", "/dead-letters/{id}/reveal"),
    ("dead-letter edit", "/api/v1/dead-letters/{id}/edit", "/dead-letters/{id}/edit"),
    ("dead-letter replay", "/api/v1/operations", "/operations/plan"),
    ("dead-letter discard", "/api/v1/operations", "/operations/plan"),
    ("dead-letter restore", "/api/v1/operations", "/operations/plan"),
    ("dead-letter export", "/api/v1/dead-letters/export", "/dead-letters/export"),
    ("dead-letter import", "/api/v1/dead-letters/import", "/dead-letters/import"),
    ("dead-letter import", "/api/v1/dead-letters/import", "/dead-letters/import/file"),
    ("operation list", "/api/v1/operations", "/operations"),
    ("operation show", "/api/v1/operations/{id}", "/operations/{id}"),
    ("operation show", "/api/v1/operations/{id}/items", "/operations/{id}"),
    ("operation run", "/api/v1/operations/{id}/run", "/operations/{id}/run"),
    ("operation pause", "/api/v1/operations/{id}/pause", "/operations/{id}/pause"),
    ("operation resume", "/api/v1/operations/{id}/resume", "/operations/{id}/resume"),
    ("operation cancel", "/api/v1/operations/{id}/cancel", "/operations/{id}/cancel"),
    ("delivery list", "/api/v1/deliveries", "/deliveries"),
    ("delivery show", "/api/v1/deliveries/{id}", "/deliveries/{id}"),
    ("delivery show --reveal", "/api/v1/deliveries/{id}/reveal", "/deliveries/{id}/reveal"),
    ("delivery resend", "/api/v1/deliveries/resend", "/deliveries/{id}/resend"),
    ("delivery resend", "/api/v1/deliveries/resend/plan", "/deliveries/resend/plan"),
    ("delivery discard", "/api/v1/deliveries/discard/plan", "/deliveries/discard/plan"),
    ("endpoint list", "/api/v1/endpoints", "/endpoints"),
    ("endpoint show", "/api/v1/endpoints/{id}", "/endpoints/{id}"),
    ("endpoint pause", "/api/v1/endpoints/{id}/pause", "/endpoints/{id}/pause"),
    ("endpoint resume", "/api/v1/endpoints/{id}/resume", "/endpoints/{id}/resume"),
    ("endpoint enable", "/api/v1/endpoints/{id}/enable", "/endpoints/{id}/enable"),
    ("endpoint test", "/api/v1/endpoints/test", "/endpoints/{id}/test"),
    ("contact find", "/api/v1/contacts/search", "/contacts"),
    ("contact show", "/api/v1/companies/{company}/contacts/{id}", "/contacts/{id}"),
    ("contact history", "/api/v1/companies/{company}/contacts/{id}/history", "/contacts/{id}"),
    ("contact unmerge", "/api/v1/companies/{company}/contacts/{id}/unmerge", "/contacts/{id}/unmerge"),
    ("contact erase", "/api/v1/companies/{company}/contacts/{id}/erase", "/contacts/{id}/erase"),
];

/// The rest of what all faces have.
const READS: [(&str, &str, &str); 4] = [
    ("contact show --reveal", "/api/v1/companies/{company}/contacts/{id}/reveal", "/contacts/{id}/reveal"),
    ("trigger check", "/api/v1/trigger/check", "/playground"),
    ("trigger preview", "/api/v1/trigger/preview", "/playground"),
    ("audit list", "/api/v1/audit", "/audit"),
];

#[apply(test)]
async fn every_verb_is_in_all_faces(app: &TestApp) {
    let verbs = || VERBS.into_iter().chain(READS);
    let routes = console::routes();
    let paths = |face: Face| routes.iter().filter(move |route| route.face == face);
    for (command, api, page) in verbs() {
        assert!(paths(Face::Api).any(|route| route.path == api), "no route {api}");
        assert!(paths(Face::Page).any(|route| route.path == page), "no page {page}");
        let words: Vec<&str> = command.split(' ').collect();
        let help = app.cli(&[&words[..2], &["--help"]].concat()).await;
        assert_eq!(help.code, Some(0), "{command}: {}", help.stderr);
        for option in &words[2..] {
            assert!(help.stdout.contains(option), "{command}: {}", help.stdout);
        }
    }
    // And no face has a change that the others do not have.
    for (face, known) in [
        (Face::Api, verbs().map(|(_, api, _)| api).collect::<BTreeSet<_>>()),
        (Face::Page, verbs().map(|(_, _, page)| page).collect()),
    ] {
        let changes = paths(face).filter(|route| route.kind == Kind::Change);
        let missing: Vec<&str> =
            changes.map(|route| route.path).filter(|path| !known.contains(path)).collect();
        assert_eq!(missing, [""; 0], "{face:?}");
    }
}

#[apply(test)]
async fn identity_of_a_contact_is_revealed_on_the_command_line(app: &TestApp) {
    app.run(&[]).await;
    let lead = Event::lead("Ada").email("ada@x.example").argument("identity", "529.982.247-25");
    app.broker.publish(&lead).await;
    app.wait_for_rows("contacts", 1).await;
    let found = app.json(&["contact", "find", "--company", "acme", "--email", "ada@x.example"]).await;
    let show = ["contact", "show", "--company", "acme", found[0]["id"].as_str().unwrap()];
    let masked = app.json(&show).await;
    assert_eq!(masked["contact"]["identity"], "***-25");
    assert_eq!(app.rows("audit_log").await, 0);
    let reveal = [&show[..], &["--reveal", "--operator", "grace", "--because", "asked by her"]].concat();
    assert_eq!(app.json(&reveal).await["contact"]["identity"], "529.982.247-25");
    assert!(app.cli(&reveal).await.stdout.contains("529.982.247-25"));
    let audited = "audit_log WHERE action = 'contact.reveal' AND via = 'command_line' AND operator = 'grace'";
    assert_eq!(app.rows(audited).await, 2);
}
