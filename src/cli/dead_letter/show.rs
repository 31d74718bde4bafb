//! `dead-letter show`: one dead letter in full. The body is printed because the operator asks for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use super::{
    super::{
        exit::Exit,
        output::{self, moment, printable},
    },
    Show,
};
use crate::{
    domain::fault::Signature,
    operator::{
        dead_letters::{self, Shown, Summary},
        views,
    },
    postgres::Database,
};

pub(super) async fn run(database: &Database, args: &Show) -> anyhow::Result<Exit> {
    let key = dead_letters::resolve(database, &args.id).await?;
    let shown = dead_letters::show(database, &key).await?;
    let shown = shown.ok_or_else(|| anyhow::anyhow!("there is no dead letter `{}`", args.id))?;
    output::object(args.output.format, &views::dead_letters::whole(&shown)?, |_| as_text(&shown))?;
    Ok(Exit::Done)
}

fn as_text(Shown { dead_letter, changes, note }: &Shown) -> String {
    let summary = &dead_letter.summary;
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let optional = |text: Option<&String>| text.cloned().unwrap_or_default();
    let facts = vec![
        ("id", summary.id.to_string()),
        ("reason", summary.reason.clone()),
        ("message", summary.message.clone()),
        ("stage", summary.stage.clone()),
        ("state", summary.state.clone()),
        ("company", summary.company.clone()),
        ("trigger", optional(summary.trigger.as_ref())),
        ("event", optional(summary.event_id.as_ref())),
        ("source", optional(dead_letter.source.as_ref())),
        ("signature", signature_of(summary)),
        ("note", note.as_ref().map(|note| note.text.replace('\n', " ")).unwrap_or_default()),
        ("trace", dead_letters::trace_id(dead_letter).unwrap_or_default()),
        ("contact", id(dead_letter.contact_id)),
        ("endpoint", id(summary.endpoint_id)),
        ("edited from", id(dead_letter.edited_from)),
        ("replaced by", id(dead_letter.superseded_by)),
        ("delivery", id(dead_letter.delivery_id)),
        ("attempts", summary.attempts.to_string()),
        ("replays", summary.replays.to_string()),
        ("first seen", moment(summary.first_seen_at)),
        ("last seen", moment(summary.last_seen_at)),
        ("settled", dead_letter.settled_at.map(moment).unwrap_or_default()),
        ("settled by", optional(dead_letter.settled_by.as_ref())),
        ("routing key", dead_letter.routing_key.clone()),
        ("properties", dead_letter.properties.to_string()),
        ("bytes", dead_letter.body.len().to_string()),
    ];
    let mut text = output::facts(12, facts);
    text.extend(
        changes.iter().map(|change| {
            printable(&format!("{} {} by {}", moment(change.at), change.action, change.operator))
        }),
    );
    text.push(String::new());
    match std::str::from_utf8(&dead_letter.body) {
        Ok(body) => text.extend(body.lines().map(printable)),
        Err(_) => {
            text.extend(["(not UTF-8; shown in base64)".to_owned(), STANDARD.encode(&dead_letter.body)]);
        }
    }
    text.join("\n")
}

fn signature_of(summary: &Summary) -> String {
    Signature::try_from(summary.signature.as_slice())
        .map(|signature| signature.to_string())
        .unwrap_or_default()
}
