//! What Slack answers to an incoming webhook: one word of text with a 4xx or 5xx.
//!
//! The words are those of <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>,
//! their statuses those of <https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use serde_json::Value;

use crate::domain::webhook::attempt::{Class, Outcome};

/// What is wrong, told by Slack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What happened and what helps, for a person. Holds nothing that Slack sent.
    pub sentence: &'static str,
    /// Whether no message will ever be taken at this address again, as after a 410.
    pub gone: bool,
}

/// The longest answer that can be a word of Slack's, in bytes. What is longer comes from somebody else.
const MAX_ANSWER: usize = 1024;

/// The word, whether the address is gone for good, and the sentence.
const PROBLEMS: [(&str, bool, &str); 21] = [
    ("no_service", true, "Slack has disabled or removed this webhook: make a new one"),
    ("no_service_id", true, "the address is not that of a Slack webhook: copy it again"),
    ("no_active_hooks", true, "Slack has disabled this webhook: enable it, or make a new one"),
    ("invalid_token", true, "the address is not that of a Slack webhook, or was revoked: copy it again"),
    ("no_team", true, "the Slack workspace of this webhook does not exist any more"),
    ("team_disabled", true, "the Slack workspace of this webhook is not active any more"),
    ("channel_is_archived", true, "the Slack channel is archived: unarchive it, or choose another one"),
    (
        "channel_not_found",
        false,
        "Slack finds no such channel or user: it was deleted, or the body names another",
    ),
    ("user_not_found", false, "Slack finds no such user"),
    ("action_prohibited", false, "an administrator of the Slack workspace has forbidden this message"),
    (
        "posting_to_general_channel_denied",
        false,
        "an administrator of the Slack workspace has restricted posting to #general",
    ),
    ("invalid_payload", false, "Slack does not understand the body: it must be a message in JSON"),
    ("invalid_blocks", false, "Slack refuses the blocks of the body: try them in the Block Kit Builder"),
    ("invalid_blocks_format", false, "Slack refuses the blocks of the body: they must be a list"),
    ("invalid_attachments", false, "Slack refuses the attachments of the body"),
    ("too_many_attachments", false, "the body has more than the 100 attachments that Slack takes"),
    ("no_text", false, "the message is empty: it needs text, blocks or attachments"),
    (
        "missing_text_or_fallback_or_attachments",
        false,
        "the message is empty: it needs text, blocks or attachments",
    ),
    ("rollup_error", false, "Slack had a failure of its own"),
    ("rate_limited", false, "Slack takes about one message a second for each webhook, and got more"),
    ("ratelimited", false, "Slack takes about one message a second for each webhook, and got more"),
];

/// Puts what Slack means with its answer into the outcome of an attempt.
pub fn explain(outcome: &mut Outcome) {
    let (Class::HttpStatus | Class::Rejected | Class::Gone, Some(status)) = (outcome.class, outcome.status)
    else {
        return;
    };
    if let Some(problem) = problem(status, &outcome.response_body) {
        outcome.error = Some(format!("Slack answered {status} ({})", problem.sentence));
        if problem.gone {
            outcome.class = Class::Gone;
        }
    }
}

/// What Slack means with this answer. `None` for a 2xx, and for an answer that is not one of Slack's words.
#[must_use]
pub fn problem(status: u16, body: &[u8]) -> Option<Problem> {
    if (200..300).contains(&status) || body.len() > MAX_ANSWER {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    // Some answers of Slack are JSON, as those of its other interfaces are.
    let answer: Option<Value> = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
    let word = answer.as_ref().and_then(|answer| answer.get("error")?.as_str()).unwrap_or(text);
    let (_, gone, sentence) = PROBLEMS.iter().find(|(known, ..)| *known == word)?;
    // A server that has failed does not know what is gone.
    Some(Problem { sentence, gone: *gone && status < 500 })
}
