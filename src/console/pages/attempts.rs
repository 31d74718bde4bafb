//! Requests and attempts, as the pages of deliveries, endpoints and the playground show them.

use time::OffsetDateTime;

use super::parts::{Badge, Moment, Payload, object, printable};
use crate::postgres::attempts::Attempt;

/// A request, without secrets.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Payload>,
}

impl Request {
    pub(super) fn new(method: &str, url: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Self {
        let header = |(name, value): &(String, String)| (printable(name), printable(value));
        Self {
            method: printable(method),
            url: printable(url),
            headers: headers.iter().map(header).collect(),
            body: body.filter(|body| !body.is_empty()).map(Payload::new),
        }
    }
}

/// One line of a timeline.
pub(super) struct Line {
    pub(super) title: String,
    pub(super) tone: &'static str,
    pub(super) outcome: Badge,
    pub(super) status: String,
    pub(super) started: Moment,
    pub(super) timing: String,
    pub(super) error: String,
    /// The answer of the receiver, which may be personal data.
    pub(super) answer: Option<Payload>,
    /// The page of its delivery, where the timeline has those of several.
    pub(super) delivery: Option<String>,
}

impl Line {
    pub(super) fn new(attempt: &Attempt, now: OffsetDateTime, shows_answer: bool) -> Self {
        let times = [("connected after", attempt.connect_ms), ("answered after", attempt.answer_ms)];
        let times = times.into_iter().filter_map(|(what, ms)| Some(format!(", {what} {} ms", ms?)));
        Self {
            title: format!("Attempt {}", attempt.attempt),
            tone: if attempt.class == "delivered" { "done" } else { "failed" },
            outcome: Badge::attempt(&attempt.class),
            status: attempt.status.map(|status| status.to_string()).unwrap_or_default(),
            started: Moment::new(attempt.started_at, now),
            timing: format!("took {} ms{}", attempt.duration_ms, times.collect::<String>()),
            error: attempt.error.as_deref().map(printable).unwrap_or_default(),
            answer: attempt.response_body.as_deref().filter(|_| shows_answer).map(Payload::new),
            delivery: None,
        }
    }

    /// With a link to its delivery.
    pub(super) fn of_delivery(self, company: &str, attempt: &Attempt) -> Self {
        Self { delivery: Some(object("deliveries", company, attempt.delivery_id)), ..self }
    }
}
