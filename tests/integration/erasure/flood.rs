//! Floods of dead letters in companies that have erased somebody.

use contact_relay::{
    domain::{
        event::meaning,
        fault::{Reason, Stage},
    },
    postgres::dead_letters::{self, NewDeadLetter, Recognition},
    settings,
};
use macro_rules_attribute::apply;

use crate::support::{app::TestApp, test};

/// A message that has to be searched for erased people, because it has no time.
fn message(company: &str, number: usize, emails: usize) -> NewDeadLetter {
    let emails =
        (0..emails).map(|email| format!("a{number}-{email}@x.example ")).collect::<Vec<_>>().concat();
    NewDeadLetter {
        company: company.to_owned(),
        stage: Stage::Upsert,
        reason: Reason::Undecodable,
        message: String::new(),
        meaning: meaning(emails.as_bytes()),
        body: emails.into_bytes().into(),
        routing_key: "trigger.fired".to_owned(),
        properties: serde_json::json!({}),
        source: None,
        event_id: None,
        event_key: None,
        trigger: None,
        delivery_id: None,
        attempts: 1,
        replay_of: None,
        is_blank: false,
    }
}

/// It takes time to look for erased people in them.
#[apply(test)]
async fn flood_of_a_company_is_not_searched_to_the_end_and_costs_no_other_its_contents(app: &TestApp) {
    let pairs = app.environment_of_processes().into_iter().map(|(name, value)| (name.into(), value.into()));
    let regions = settings::load(None, pairs).unwrap().settings.contacts.regions();
    let erased = "INSERT INTO suppression_keys (company_id, key, last_erased_at)
        SELECT id, '\\x00', now() FROM UNNEST(ARRAY['acme', 'globex']) id";
    sqlx::query(erased).execute(&app.pool).await.unwrap();
    // Each can be searched.
    let mut dead: Vec<_> = (0..50).map(|number| message("acme", number, 500)).collect();
    dead.push(message("acme", 50, 1));
    dead.push(message("globex", 51, 500));
    let recognition = Recognition { pepper: "", regions: &regions };
    let mut transaction = app.pool.begin().await.unwrap();
    dead_letters::blank(&mut transaction, &recognition, &mut dead).await.unwrap();
    let is_blank = |index: usize| dead[index].is_blank;
    assert_eq!([0, 49, 50, 51].map(is_blank), [false, true, true, false]);
}
