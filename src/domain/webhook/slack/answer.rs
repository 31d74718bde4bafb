//! Slack's answers to an incoming webhook: an error code as plain text with a 4xx or 5xx.
//!
//! Sources: the codes are from
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>, their
//! statuses from <https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use serde_json::Value;

use crate::domain::webhook::attempt::{Class, Outcome};

/// An error that Slack reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What happened and how to fix it. Contains nothing that Slack sent.
    pub sentence: &'static str,
    /// Whether the webhook will never accept a message again, as after a 410.
    pub gone: bool,
}

/// In bytes; a longer answer is not an error code of Slack.
const MAX_ANSWER: usize = 1024;

/// Code, whether the webhook is gone for good, and what the code means.
const PROBLEMS: [(&str, bool, &str); 21] = [
    ("no_service", true, "Slack disabled or removed this webhook; create a new one"),
    ("no_service_id", true, "this is not the URL of a Slack webhook; copy it again"),
    ("no_active_hooks", true, "Slack disabled this webhook; enable it or create a new one"),
    ("invalid_token", true, "this is not the URL of a Slack webhook, or it was revoked; copy it again"),
    ("no_team", true, "the Slack workspace of this webhook no longer exists"),
    ("team_disabled", true, "the Slack workspace of this webhook is no longer active"),
    ("channel_is_archived", true, "the Slack channel is archived; unarchive it or choose another one"),
    (
        "channel_not_found",
        false,
        "Slack does not know the channel or user; it was deleted, or the body names another one",
    ),
    ("user_not_found", false, "Slack does not know the user"),
    ("action_prohibited", false, "an administrator of the Slack workspace prohibits this message"),
    (
        "posting_to_general_channel_denied",
        false,
        "an administrator of the Slack workspace restricts posting to #general",
    ),
    ("invalid_payload", false, "Slack does not understand the body; it must be a JSON message"),
    ("invalid_blocks", false, "Slack rejects the blocks of the body; try them in the Block Kit Builder"),
    ("invalid_blocks_format", false, "Slack rejects the blocks of the body; they must be a list"),
    ("invalid_attachments", false, "Slack rejects the attachments of the body"),
    ("too_many_attachments", false, "the body has more than 100 attachments"),
    ("no_text", false, "the message is empty; it needs text, blocks or attachments"),
    (
        "missing_text_or_fallback_or_attachments",
        false,
        "the message is empty; it needs text, blocks or attachments",
    ),
    ("rollup_error", false, "Slack had an internal error"),
    ("rate_limited", false, "Slack accepts about one message per second and webhook, and got more"),
    ("ratelimited", false, "Slack accepts about one message per second and webhook, and got more"),
];

/// Replaces the error of an outcome with the meaning of Slack's answer.
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

/// Looks up the error code of an answer. `None` for a 2xx and for an unknown code.
#[must_use]
pub fn problem(status: u16, body: &[u8]) -> Option<Problem> {
    if (200..300).contains(&status) || body.len() > MAX_ANSWER {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    // Some answers are JSON, as in Slack's Web API.
    let answer: Option<Value> = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
    let code = answer.as_ref().and_then(|answer| answer.get("error")?.as_str()).unwrap_or(text);
    let (_, gone, sentence) = PROBLEMS.iter().find(|(known, ..)| *known == code)?;
    // After a server error the code says nothing about the webhook.
    Some(Problem { sentence, gone: *gone && status < 500 })
}
