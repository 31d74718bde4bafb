//! Small parts of pages with their own markup: times, ids, badges, bodies, and the query of a link.
//!
//! Most texts on a page come from strangers. They reach the markup only through the templates, which escape them.

use askama::{Template, filters::HtmlSafe};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use url::form_urlencoded;
use uuid::Uuid;

use crate::domain::json;

/// Maximum number of characters of a payload on a page.
const MAX_SHOWN: usize = 200_000;

/// A moment: how long ago or how soon, with the exact time as a tooltip.
#[derive(Clone, Template)]
#[template(
    source = r#"<time datetime="{{ machine }}" title="{{ exact }}">{{ relative }}</time>"#,
    ext = "html"
)]
pub(super) struct Moment {
    machine: String,
    exact: String,
    relative: String,
}

impl HtmlSafe for Moment {}

impl Moment {
    pub(super) fn new(at: OffsetDateTime, now: OffsetDateTime) -> Self {
        let exact =
            format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3] UTC");
        let at = at.to_offset(time::UtcOffset::UTC);
        Self {
            machine: at.format(&Rfc3339).unwrap_or_default(),
            exact: at.format(exact).unwrap_or_default(),
            relative: relative(at, now),
        }
    }

    pub(super) fn of(at: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<Self> {
        at.map(|at| Self::new(at, now))
    }
}

/// `just now`, `5 min ago`, `in 3 h`.
fn relative(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let distance = now - at;
    if distance.abs() < Duration::seconds(1) {
        return "just now".to_owned();
    }
    if distance.is_negative() { format!("in {}", span(-distance)) } else { format!("{} ago", span(distance)) }
}

/// A duration in its largest unit, rounded down.
pub(super) fn span(duration: Duration) -> String {
    let duration = duration.max(Duration::ZERO);
    match (duration.whole_seconds(), duration.whole_minutes(), duration.whole_hours()) {
        (seconds @ ..60, _, _) => format!("{seconds} s"),
        (_, minutes @ ..60, _) => format!("{minutes} min"),
        (_, _, hours @ ..48) => format!("{hours} h"),
        (_, _, hours) => format!("{} d", hours / 24),
    }
}

/// An id, shortened to its end: the beginnings of ids that are made one after the other are the same.
#[derive(Clone, Template)]
#[template(
    source = r#"<span class="id"><code title="{{ whole }}">{{ short }}</code><button type="button" class="copy scripted" data-copy="{{ whole }}" aria-label="Copy {{ whole }}" hidden>Copy</button></span>"#,
    ext = "html"
)]
pub(super) struct Id {
    whole: String,
    short: String,
}

impl HtmlSafe for Id {}

impl Id {
    pub(super) fn new(id: Uuid) -> Self {
        Self::text(&id.to_string())
    }

    /// Its end, which tells it apart.
    pub(super) fn short(&self) -> &str {
        &self.short
    }

    /// An id that somebody else chose.
    pub(super) fn text(id: &str) -> Self {
        let whole = printable(id);
        let length = whole.chars().count();
        let short = if length > 14 {
            whole.chars().take(4).chain(['…']).chain(whole.chars().skip(length - 6)).collect()
        } else {
            whole.clone()
        };
        Self { whole, short }
    }
}

/// What a color means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Tone {
    /// Needs attention.
    Failed,
    /// It continues by itself.
    Waiting,
    /// It ended as it should.
    Done,
    /// Nothing to do.
    Quiet,
}

/// One word with the color of its meaning.
#[derive(Clone, Template)]
#[template(source = r#"<span class="badge {{ tone }}">{{ text }}</span>"#, ext = "html")]
pub(super) struct Badge {
    tone: &'static str,
    text: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub(super) fn new(tone: Tone, text: &str) -> Self {
        Self { tone: tone.into(), text: words(text) }
    }

    /// The state of a dead letter.
    pub(super) fn dead_letter(state: &str) -> Self {
        let tone = match state {
            "open" => Tone::Failed,
            "replaying" => Tone::Waiting,
            "resolved" => Tone::Done,
            _ => Tone::Quiet,
        };
        Self::new(tone, state)
    }

    /// The state of a delivery.
    pub(super) fn delivery(state: &str) -> Self {
        let tone = match state {
            "dead" => Tone::Failed,
            "pending" => Tone::Waiting,
            "delivered" | "digested" => Tone::Done,
            _ => Tone::Quiet,
        };
        Self::new(tone, state)
    }

    /// The state of an endpoint.
    pub(super) fn endpoint(state: &str) -> Self {
        let tone = match state {
            "open" => Tone::Done,
            "disabled" | "breaker_open" | "failing" => Tone::Failed,
            "held" | "paused" => Tone::Waiting,
            _ => Tone::Quiet,
        };
        Self::new(tone, state)
    }

    /// How an attempt ended.
    pub(super) fn attempt(class: &str) -> Self {
        Self::new(if class == "delivered" { Tone::Done } else { Tone::Failed }, class)
    }
}

/// A name of the code as words: `breaker open`.
pub(super) fn words(name: &str) -> String {
    printable(&name.replace('_', " "))
}

/// The text without characters that would reverse, hide or move the text beside it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { '\u{fffd}' } else { c }).collect()
}

fn misleads(c: char) -> bool {
    let is_control = c.is_control() && !matches!(c, '\n' | '\t');
    is_control
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes that somebody sent, as text.
#[derive(Clone)]
pub(super) struct Payload {
    /// JSON with indentation.
    pub(super) pretty: Option<String>,
    /// As it arrived; for bytes that are not text, what is readable of them.
    pub(super) raw: String,
    pub(super) is_text: bool,
    /// Whether the page has only the beginning.
    pub(super) is_cut: bool,
    pub(super) bytes: usize,
}

impl Payload {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes);
        let json = json::parse(bytes).filter(|value| value.is_object() || value.is_array());
        let pretty = json.and_then(|value| serde_json::to_string_pretty(&value).ok());
        let pretty = pretty.filter(|pretty| pretty.chars().count() <= MAX_SHOWN);
        let raw = String::from_utf8_lossy(bytes);
        let is_cut = raw.chars().nth(MAX_SHOWN).is_some();
        Self {
            pretty: pretty.as_deref().map(printable),
            raw: printable(&raw.chars().take(MAX_SHOWN).collect::<String>()),
            is_text: text.is_ok(),
            is_cut,
            bytes: bytes.len(),
        }
    }
}

/// A number with separators between its thousands.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0 { format!("-{grouped}") } else { grouped }
}

/// A path with a query of the parameters that have a value.
pub(super) fn link<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.into_iter().filter(|(_, value)| !value.is_empty()) {
        serializer.append_pair(name, value);
    }
    let query = serializer.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The page of one object. The company is a parameter, because its id may contain any character.
pub(super) fn object(kind: &str, company: &str, id: Uuid) -> String {
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    // Even an empty one: some dead letters have no company.
    serializer.append_pair("company", company);
    format!("/{kind}/{id}?{}", serializer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_relative_and_keeps_the_exact_time() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        for (seconds, expected) in [
            (0, "just now"),
            (-1, "1 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-3_600, "1 h ago"),
            (-172_800, "2 d ago"),
            (90, "in 1 min"),
        ] {
            assert_eq!(relative(now + Duration::seconds(seconds), now), expected);
        }
        let shown = Moment::new(now, now).to_string();
        assert_eq!(
            shown,
            r#"<time datetime="1970-01-02T00:00:00Z" title="1970-01-02 00:00:00.000 UTC">just now</time>"#
        );
    }

    #[test]
    fn numbers_have_separators() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn query_keeps_any_company() {
        let link = object("contacts", "a&b=/?#\"<", Uuid::nil());
        assert_eq!(link, "/contacts/00000000-0000-0000-0000-000000000000?company=a%26b%3D%2F%3F%23%22%3C");
        assert_eq!(super::link("/x", [("a", ""), ("b", "1 2")]), "/x?b=1+2");
    }

    #[test]
    fn ids_and_badges_escape_what_strangers_chose() {
        let hostile = r#""><script>alert(1)</script>"#;
        for shown in [Id::text(hostile).to_string(), Badge::new(Tone::Quiet, hostile).to_string()] {
            assert!(!shown.contains("<script") && !shown.contains("\">&#60;\""), "{shown}");
        }
        assert_eq!(printable("a\u{202e}b\u{0}c\n"), "a\u{fffd}b\u{fffd}c\n");
    }

    #[test]
    fn payload_is_pretty_only_if_it_is_json() {
        let payload = Payload::new(br#"{"b":1,"a":[2]}"#);
        assert!(payload.pretty.is_some_and(|pretty| pretty.starts_with("{\n  \"b\": 1")));
        let payload = Payload::new(b"\xff\x00");
        assert!(payload.pretty.is_none() && !payload.is_text && payload.bytes == 2);
        let long = "x".repeat(MAX_SHOWN + 1);
        assert!(Payload::new(long.as_bytes()).is_cut);
    }
}
