//! `contact show`: a contact, and the event that each value came from.

use super::{
    super::{
        confirm::Who,
        exit::Exit,
        output::{self, moment},
    },
    One,
};
use crate::{
    domain::contact::{ContactId, field::Field},
    operator::{
        contacts::{self, Profile},
        views::{self, Sight},
    },
    postgres::Database,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    one: One,
    /// Do not mask the identity document; recorded
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    who: Who,
}

pub(super) async fn run(database: &Database, args: &Show) -> anyhow::Result<Exit> {
    let Show { one: One { company, id, output }, reveal, who } = args;
    let id = ContactId(*id);
    let identity = if *reveal { contacts::reveal(database, &who.actor()?, company, id).await? } else { None };
    let profile = contacts::show(database, company, id).await?;
    let mut value = views::contacts::profile(&profile, Sight::Full);
    if let (Some(identity), Some(shown)) = (&identity, value.pointer_mut("/contact/identity")) {
        *shown = identity.as_str().into();
    }
    output::object(output.format, &value, |_| as_text(&profile, identity.as_deref()))?;
    Ok(Exit::Done)
}

fn trigger(profile: &Profile, field: Field) -> Option<&str> {
    profile.triggers.get(field).map(String::as_str)
}

fn as_text(profile: &Profile, identity: Option<&str>) -> String {
    let contact = &profile.contact;
    let mut text = format!(
        "contact {} of company {}, version {}\ncreated {}, updated {}",
        contact.id,
        output::printable(contact.company.as_str()),
        contact.version,
        moment(contact.created_at),
        moment(contact.updated_at),
    );
    let keys = contact.keys.iter().map(|key| {
        let former = if profile.is_former(key) { "former" } else { "" };
        [key.kind().to_owned(), key.value().to_owned(), former.to_owned()]
    });
    let merged = profile.aliases.iter().map(|alias| [alias.id.to_string(), moment(alias.merged_at)]);
    let separated = profile
        .separations
        .iter()
        .map(|one| [one.other.to_string(), moment(one.since), one.operator.clone().unwrap_or_default()]);
    for (any, table) in [
        (true, fields(profile, identity)),
        (true, output::table(["key", "value", ""], keys)),
        (!profile.aliases.is_empty(), output::table(["merged contact", "at"], merged)),
        (!profile.separations.is_empty(), output::table(["kept apart from", "since", "by"], separated)),
    ] {
        if any {
            text.push_str("\n\n");
            text.push_str(&table);
        }
    }
    text
}

/// With the identity document, if it is shown.
fn fields(profile: &Profile, identity: Option<&str>) -> String {
    let rows = profile.contact.values.iter().map(|(field, value)| {
        let stamp = &value.stamp;
        let revealed = identity.filter(|_| field == Field::Identity).map(str::to_owned);
        [
            field.name().to_owned(),
            revealed.unwrap_or_else(|| views::contacts::value(&profile.contact, field, Sight::Full)),
            if profile.is_unverified(field) { "unverified".to_owned() } else { String::new() },
            moment(stamp.time),
            trigger(profile, field).unwrap_or_default().to_owned(),
            stamp.event.id().to_owned(),
            stamp.event.source().to_owned(),
            stamp.step.to_string(),
        ]
    });
    output::table(["field", "value", "", "event time", "trigger", "event", "source", "step"], rows)
}
