//! Floods of dead letters in companies that have erased somebody.

use contact_relay::{
    domain::{
        contact::Identifier,
        event::{CompanyId, meaning},
        fault::{Reason, Stage},
        value::{
            email::Email,
            phone::{Region, Regions},
        },
    },
    postgres::{
        dead_letters::{self, NewDeadLetter, Recognition, SearchBudget},
        suppressions,
    },
};
use lapin::BasicProperties;
use macro_rules_attribute::apply;
use time::OffsetDateTime;

use super::EMAIL;
use crate::support::{app::TestApp, eventually, test};

/// A message that has to be searched for erased people, because it has no time.
fn message(company: &str, number: usize, emails: usize) -> NewDeadLetter {
    let emails =
        (0..emails).map(|email| format!("a{number}-{email}@x.example ")).collect::<Vec<_>>().concat();
    with_body(company, emails)
}

fn with_body(company: &str, body: String) -> NewDeadLetter {
    NewDeadLetter {
        company: company.to_owned(),
        stage: Stage::Upsert,
        reason: Reason::Undecodable,
        message: String::new(),
        meaning: meaning(body.as_bytes()),
        body: body.into_bytes().into(),
        routing_key: "trigger.fired".to_owned(),
        properties: "{}".to_owned(),
        source: None,
        event_id: None,
        event_key: None,
        trigger: None,
        delivery_id: None,
        endpoint_id: None,
        attempts: 1,
        replay_of: None,
        known_at: None,
        is_blank: false,
    }
}

/// Companies that have erased somebody.
async fn erased_in(app: &TestApp, companies: impl IntoIterator<Item = String>) {
    let erased = "INSERT INTO suppression_keys (company_id, key, last_erased_at)
        SELECT id, '\\x00', now() FROM UNNEST($1::text[]) id";
    let companies: Vec<String> = companies.into_iter().collect();
    sqlx::query(erased).bind(companies).execute(&app.pool).await.unwrap();
}

/// Which of them are blank, in a transaction that looks at all of them and stores them. `None` if they are too many for it.
async fn blank(app: &TestApp, dead: &mut [NewDeadLetter], regions: &Regions) -> Option<Vec<bool>> {
    blank_within(app, &SearchBudget::default(), dead, regions).await
}

async fn blank_within(
    app: &TestApp,
    budget: &SearchBudget,
    dead: &mut [NewDeadLetter],
    regions: &Regions,
) -> Option<Vec<bool>> {
    let mut transaction = app.pool.begin().await.unwrap();
    let recognition = Recognition { pepper: "", regions, budget };
    dead_letters::blank(&mut transaction, &recognition, dead).await.unwrap()?;
    dead_letters::insert(&mut transaction, dead).await.unwrap();
    transaction.commit().await.unwrap();
    Some(dead.iter().map(|new| new.is_blank).collect())
}

fn regions(by_company: impl IntoIterator<Item = (CompanyId, Region)>) -> Regions {
    Regions::new(Region::new("BR").unwrap(), by_company)
}

/// It takes time to look for erased people in them.
#[apply(test)]
async fn flood_is_searched_in_several_transactions(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let mut dead: Vec<_> = (0..50).map(|number| message("acme", number, 500)).collect();
    assert_eq!(blank(app, &mut dead, &regions([])).await, None);
    for half in dead.chunks_mut(25) {
        assert_eq!(blank(app, half, &regions([])).await, Some(vec![false; 25]));
    }
}

#[apply(test)]
async fn message_that_takes_too_long_to_search_alone_loses_its_contents(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let mut dead = [message("acme", 1, 1), message("acme", 2, 20_001)];
    assert_eq!(blank(app, &mut dead, &regions([])).await, None);
    assert_eq!(blank(app, &mut dead[1..], &regions([])).await, Some(vec![true]));
    assert_eq!(blank(app, &mut dead[..1], &regions([])).await, Some(vec![false]));
}

#[apply(test)]
async fn message_that_lost_its_contents_gets_them_back_when_it_is_searched(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let whole = message("acme", 1, 1);
    let without = NewDeadLetter { body: Vec::new().into(), is_blank: true, ..whole.clone() };
    dead_letters::insert(&mut app.pool.acquire().await.unwrap(), &[without]).await.unwrap();
    let contents =
        "dead_letters WHERE NOT is_blank AND position('a1-0@x.example' IN convert_from(body, 'UTF8')) > 0";
    assert_eq!(app.rows(contents).await, 0);
    assert_eq!(blank(app, &mut [whole], &regions([])).await, Some(vec![false]));
    assert_eq!((app.rows(contents).await, app.rows("dead_letters").await), (1, 1));
}

/// Nothing has to be looked up, but reading them takes time as well.
#[apply(test)]
async fn large_messages_are_searched_in_several_transactions(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let mut dead: Vec<_> = (0..6).map(|n| with_body("acme", format!("{n}{}", "x".repeat(1 << 20)))).collect();
    assert_eq!(blank(app, &mut dead, &regions([])).await, None);
    assert_eq!(blank(app, &mut dead[..4], &regions([])).await, Some(vec![false; 4]));
}

/// Erasures have searched it since it was stored.
#[apply(test)]
async fn message_that_cannot_be_searched_keeps_the_contents_that_are_stored(app: &TestApp) {
    let large = message("acme", 1, 20_001);
    dead_letters::insert(&mut app.pool.acquire().await.unwrap(), std::slice::from_ref(&large)).await.unwrap();
    erased_in(app, ["acme".to_owned()]).await;
    assert_eq!(blank(app, &mut [large], &regions([])).await, Some(vec![false]));
    let contents = "dead_letters WHERE NOT is_blank AND length(body) > 20000 AND attempts = 2";
    assert_eq!(app.rows(contents).await, 1);
}

/// Whatever comes after a batch waits for it.
#[apply(test)]
async fn batch_is_searched_for_some_seconds_at_most(app: &TestApp) {
    erased_in(app, (0..100).map(|number| format!("c{number}"))).await;
    let (regions, budget) = (regions([]), SearchBudget::default());
    let mut are_blank = Vec::new();
    for number in 0..12 {
        let mut dead = [message("", number, 199)];
        are_blank.extend(blank_within(app, &budget, &mut dead, &regions).await.unwrap());
    }
    assert_eq!((are_blank[..10].contains(&true), are_blank[11]), (false, true));
}

/// More than one transaction searches, of messages that name no company and arrive together: at worker 1, and at the collector.
#[apply(test)]
async fn messages_of_a_flood_keep_their_contents(app: &TestApp) {
    app.broker.declare().await;
    app.cli(&["migrate"]).await;
    erased_in(app, ["acme".to_owned()]).await;
    for number in 0..100 {
        let body = message("", number, 500).body;
        if number % 2 == 0 {
            app.broker.publish_bytes("trigger.fired", &body, BasicProperties::default()).await;
        } else {
            app.broker.publish_dead_letter(&body).await;
        }
    }
    app.broker
        .publish_bytes("trigger.fired", &message("", 100, 20_001).body, BasicProperties::default())
        .await;
    let process = app.run(&[]).await;
    app.wait_for_rows("dead_letters WHERE NOT is_blank AND company_id = ''", 100).await;
    app.wait_for_rows("dead_letters WHERE is_blank", 1).await;
    let is_logged = async || process.log().contains("kept 1 messages without their contents").then_some(());
    eventually("it is logged", is_logged).await;
    app.assert_settled().await;
}

/// It is searched once for each region, not once for each company.
#[apply(test)]
async fn message_without_a_company_is_searched_once_for_each_region(app: &TestApp) {
    let company = |number: usize| CompanyId::new(&format!("company-{number:03}")).unwrap();
    erased_in(app, (0..200).map(|number| company(number).to_string())).await;
    let us = Region::new("US").unwrap();
    let regions = regions((0..200).step_by(2).map(|number| (company(number), us)));
    let large = with_body("", "x".repeat(100 * 1024));
    assert_eq!(blank(app, &mut [large], &regions).await, Some(vec![false]));
}

/// A message without a company is compared with the erased people of all companies, if they are not too many.
#[apply(test)]
async fn messages_are_compared_with_the_erased_people_of_their_company_however_many_others_there_are(
    app: &TestApp,
) {
    erased_in(app, (0..1_001).map(|number| format!("company-{number:04}"))).await;
    let (company, ada) = (CompanyId::new("zz").unwrap(), Identifier::Email(Email::parse(EMAIL).unwrap()));
    let mut transaction = app.pool.begin().await.unwrap();
    let now = OffsetDateTime::now_utc();
    suppressions::insert(&mut transaction, "", &company, &[ada], now).await.unwrap();
    transaction.commit().await.unwrap();
    let about_her = |company| with_body(company, format!("{EMAIL} of '{company}'"));
    let mut dead = [about_her("zz"), message("zz", 1, 1), message("", 2, 1), about_her("other")];
    assert_eq!(blank(app, &mut dead, &regions([])).await, Some(vec![true, false, true, false]));
}
