//! The search for contacts. The form is posted, because browsers and proxies keep URLs, which must not contain a
//! name, phone or email.

use askama::Template;
use axum::{extract::State, response::Response};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::Shared,
    },
    parts::{Id, Moment, object, printable},
    query::PAGE,
    shell::{DONE, Shell, render},
};
use crate::{
    domain::{
        contact::{Contact, ContactId, field::Field},
        event::CompanyId,
    },
    operator::{
        contacts::{
            self, FindError, LookupError,
            names::{
                self,
                Given::{Beginning, Whole},
                NameSearch,
            },
        },
        views::{self, Sight},
    },
};

#[derive(Template)]
#[template(path = "contacts.html")]
struct Page {
    shell: Shell,
    company: String,
    phone: String,
    email: String,
    name: String,
    contact: String,
    fault: Option<String>,
    rows: Option<Vec<Row>>,
    /// The contact before which the next page of a search by name begins.
    next: Option<String>,
}

struct Row {
    href: String,
    id: Id,
    name: String,
    phone: String,
    email: String,
    updated: Moment,
    version: i64,
}

impl Row {
    fn new(contact: &Contact, sight: Sight, now: OffsetDateTime) -> Self {
        let value = |field: Field| printable(&views::contacts::value(contact, field, sight));
        Self {
            href: object("contacts", contact.company.as_str(), contact.id.0),
            id: Id::new(contact.id.0),
            name: Some(value(Field::Name)).filter(|name| !name.is_empty()).unwrap_or_else(nameless),
            phone: value(Field::Phone),
            email: value(Field::Email),
            updated: Moment::new(contact.updated_at, now),
            version: contact.version,
        }
    }
}

/// Shown as the name of a contact without one.
pub(super) fn nameless() -> String {
    "Contact without a name".to_owned()
}

/// How much this reader may see.
pub(super) fn sight(shell: &Shell) -> Sight {
    if shell.is_operator() { Sight::Full } else { Sight::Masked }
}

pub(super) async fn show(caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let (company, done) = (query.one("company")?, query.one(DONE)?);
    query.end()?;
    let shell = Shell::new(&caller, "/contacts", "Contacts").after(done.as_deref());
    let nothing = String::new;
    render(&Page {
        shell,
        company: company.unwrap_or_default(),
        phone: nothing(),
        email: nothing(),
        name: nothing(),
        contact: nothing(),
        fault: None,
        rows: None,
        next: None,
    })
}

pub(super) async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let asked = Asked {
        company: form.text("company")?,
        phone: form.text("phone")?,
        email: form.text("email")?,
        name: form.text("name")?,
        contact: form.text("contact")?,
        before: form.text("before")?,
    };
    form.end()?;
    let shell = Shell::new(&caller, "/contacts", "Contacts");
    let now = OffsetDateTime::now_utc();
    let sight = sight(&shell);
    let (fault, rows, next) = match find(&shared, &asked, sight).await? {
        Ok((found, next)) => (None, Some(found.iter().map(|one| Row::new(one, sight, now)).collect()), next),
        Err(fault) => (Some(fault), None, None),
    };
    let Asked { company, phone, email, name, contact, .. } = asked;
    let next = next.map(|next| next.to_string());
    render(&Page { shell, company, phone, email, name, contact, fault, rows, next })
}

/// What the form asks for.
struct Asked {
    company: String,
    phone: String,
    email: String,
    name: String,
    contact: String,
    before: String,
}

/// The contacts and where the next page begins, or what is wrong with the search.
type Found = Result<(Vec<Contact>, Option<ContactId>), String>;

/// Searches by id, else by phone and email, else by name.
async fn find(shared: &Shared, asked: &Asked, sight: Sight) -> Result<Found, Problem> {
    let Ok(company) = CompanyId::new(&asked.company) else {
        return Ok(Err("Give the id of a company.".to_owned()));
    };
    let given = |text| Some(text).filter(|text: &&str| !text.trim().is_empty());
    let (phone, email, name) = (given(&asked.phone), given(&asked.email), given(&asked.name));
    let ways = [phone.or(email), name, given(&asked.contact)];
    if ways.iter().flatten().count() > 1 {
        return Ok(Err(
            "Give a phone number and an email address, or a name, or a contact id, not several.".to_owned()
        ));
    }
    if let Some(contact) = given(&asked.contact) {
        let Ok(id) = Uuid::try_parse(contact.trim()) else {
            return Ok(Err("The contact id is not a whole UUID.".to_owned()));
        };
        return match contacts::show(&shared.database, &company, ContactId(id)).await {
            Ok(profile) => Ok(Ok((vec![profile.contact], None))),
            Err(LookupError::Database(error)) => Err(error.into()),
            Err(LookupError::Unknown) => Ok(Ok((Vec::new(), None))),
            Err(other) => Ok(Err(sentence(&other))),
        };
    }
    if let Some(name) = name {
        let name = match name.parse::<NameSearch>() {
            Ok(name) => name,
            Err(error) => return Ok(Err(sentence(&error))),
        };
        let given = if sight == Sight::Masked { Whole } else { Beginning };
        let before = Uuid::try_parse(&asked.before).ok().map(ContactId);
        return Ok(Ok(names::search(&shared.database, &company, &name, given, before, PAGE).await?));
    }
    let rules = shared.settings.rules();
    match contacts::find(&shared.database, &rules, &company, phone, email).await {
        Ok(found) => Ok(Ok((found, None))),
        Err(FindError::NoIdentifier) => {
            Ok(Err("Give a phone number, an email address, a name, or a contact id.".to_owned()))
        }
        Err(FindError::Database(error)) => Err(error.into()),
        Err(other) => Ok(Err(sentence(&other))),
    }
}

/// An error as a sentence.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    printable(&format!("{first}{}.", letters.as_str()))
}
