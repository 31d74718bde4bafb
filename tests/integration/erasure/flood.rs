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
        dead_letters::{self, NewDeadLetter, Recognition},
        suppressions,
    },
};
use macro_rules_attribute::apply;
use time::OffsetDateTime;

use super::EMAIL;
use crate::support::{app::TestApp, test};

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
        attempts: 1,
        replay_of: None,
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

/// Which of them are blank, in a transaction that looks at all of them and stores them.
async fn blank(app: &TestApp, dead: &mut [NewDeadLetter], regions: &Regions) -> Vec<bool> {
    let mut transaction = app.pool.begin().await.unwrap();
    dead_letters::blank(&mut transaction, &Recognition { pepper: "", regions }, dead).await.unwrap();
    dead_letters::insert(&mut transaction, dead).await.unwrap();
    transaction.commit().await.unwrap();
    dead.iter().map(|new| new.is_blank).collect()
}

fn regions(by_company: impl IntoIterator<Item = (CompanyId, Region)>) -> Regions {
    Regions::new(Region::new("BR").unwrap(), by_company)
}

/// It takes time to look for erased people in them.
#[apply(test)]
async fn flood_of_a_company_is_not_searched_to_the_end_and_costs_no_other_its_contents(app: &TestApp) {
    erased_in(app, ["acme", "globex"].map(str::to_owned)).await;
    // Each can be searched.
    let mut dead: Vec<_> = (0..50).map(|number| message("acme", number, 500)).collect();
    dead.push(message("acme", 50, 1));
    dead.push(message("globex", 51, 500));
    let is_blank = blank(app, &mut dead, &regions([])).await;
    assert_eq!([0, 49, 50, 51].map(|index| is_blank[index]), [false, true, true, false]);
}

#[apply(test)]
async fn message_that_lost_its_contents_in_a_flood_gets_them_back_when_it_comes_alone(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let mut dead: Vec<_> = (0..50).map(|number| message("acme", number, 500)).collect();
    assert_eq!(blank(app, &mut dead, &regions([])).await.last(), Some(&true));
    let contents =
        "dead_letters WHERE NOT is_blank AND position('a49-499@x.example' IN convert_from(body, 'UTF8')) > 0";
    assert_eq!(app.rows(contents).await, 0);
    assert_eq!(blank(app, &mut [message("acme", 49, 500)], &regions([])).await, [false]);
    assert_eq!((app.rows(contents).await, app.rows("dead_letters").await), (1, 50));
}

/// Nothing has to be looked up, but reading them takes time as well.
#[apply(test)]
async fn large_messages_are_not_all_searched(app: &TestApp) {
    erased_in(app, ["acme".to_owned()]).await;
    let mut dead: Vec<_> = (0..6).map(|n| with_body("acme", format!("{n}{}", "x".repeat(1 << 20)))).collect();
    assert_eq!(blank(app, &mut dead, &regions([])).await, [false, false, false, false, true, true]);
}

/// It is searched once for each region, not once for each company.
#[apply(test)]
async fn message_without_a_company_is_searched_once_for_each_region(app: &TestApp) {
    let company = |number: usize| CompanyId::new(&format!("company-{number:03}")).unwrap();
    erased_in(app, (0..200).map(|number| company(number).to_string())).await;
    let us = Region::new("US").unwrap();
    let regions = regions((0..200).step_by(2).map(|number| (company(number), us)));
    let large = with_body("", "x".repeat(100 * 1024));
    assert_eq!(blank(app, &mut [large], &regions).await, [false]);
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
    assert_eq!(blank(app, &mut dead, &regions([])).await, [true, false, true, false]);
}
