//! The frame of every page: navigation, who is signed in, and a notice about what was just done.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Redirect, Response};

use super::{
    super::{caller::Caller, problem::Problem},
    assets::Assets,
    parts::words,
};
use crate::settings::Role;

/// The parameter that carries the notice over a redirect.
pub(super) const DONE: &str = "done";

/// The frame of one page.
pub(super) struct Shell {
    pub(super) title: String,
    /// The path of the navigation's link that is current.
    pub(super) here: &'static str,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) csrf: String,
    /// Whether the script loads it again from time to time.
    pub(super) is_live: bool,
    pub(super) notice: Option<Notice>,
    pub(super) links: &'static [Link],
    pub(super) assets: Assets,
    level: Role,
}

/// A link of the navigation.
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) key: char,
}

const LINKS: [Link; 8] = [
    Link { path: "/", name: "Overview", key: 'o' },
    Link { path: "/failures", name: "Failures", key: 'f' },
    Link { path: "/dead-letters", name: "Dead letters", key: 'd' },
    Link { path: "/deliveries", name: "Deliveries", key: 'v' },
    Link { path: "/endpoints", name: "Endpoints", key: 'e' },
    Link { path: "/contacts", name: "Contacts", key: 'c' },
    Link { path: "/playground", name: "Playground", key: 'p' },
    Link { path: "/audit", name: "Audit", key: 'a' },
];

impl Shell {
    pub(super) fn new(caller: &Caller, here: &'static str, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            here,
            name: caller.actor.name.clone(),
            role: caller.role.name(),
            csrf: caller.csrf.clone().unwrap_or_default(),
            is_live: false,
            notice: None,
            links: &LINKS,
            assets: Assets::new(),
            level: caller.role,
        }
    }

    /// The same page, loaded again from time to time.
    pub(super) fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// The same page with the notice that a redirect has left in its query.
    pub(super) fn after(self, done: Option<&str>) -> Self {
        Self { notice: done.and_then(Notice::read), ..self }
    }

    pub(super) fn is_operator(&self) -> bool {
        self.level >= Role::Operator
    }

    pub(super) fn is_editor(&self) -> bool {
        self.level >= Role::Editor
    }

    pub(super) fn is_admin(&self) -> bool {
        self.level >= Role::Admin
    }
}

/// Renders a page.
pub(super) fn render(page: &impl Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|error| Problem::internal(&error))?;
    Ok(Html(text).into_response())
}

/// What was done, as one sentence. It crosses a redirect as a code of a closed list with numbers, so that nobody can
/// make a link that shows a text of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Done {
    Replayed,
    Discarded,
    Restored,
    Edited,
    Resent,
    NotResent,
    Paused,
    Resumed,
    Enabled,
    Unchanged,
    Unmerged,
    Erased,
    Noted,
}

/// Goes to a page of ours, which then says what was done.
pub(super) fn go(path: &str, done: Done, counts: &[u64]) -> Response {
    let code: &str = done.into();
    let (address, query) = path.split_once('?').unwrap_or((path, ""));
    let mut target = format!("{address}?");
    // The notice of the change before this one has been read.
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done=")) {
        target.extend([pair, "&"]);
    }
    target.extend([DONE, "=", code]);
    target.extend(counts.iter().flat_map(|count| ["-".to_owned(), count.to_string()]));
    Redirect::to(&target).into_response()
}

/// A notice on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    tone: &'static str,
}

impl Notice {
    pub(super) const fn tone(&self) -> &'static str {
        self.tone
    }

    fn read(code: &str) -> Option<Self> {
        let mut parts = code.split('-');
        let done: Done = parts.next()?.parse().ok()?;
        let counts: Vec<u64> = parts.map_while(|count| count.parse().ok()).take(3).collect();
        Some(Self::of(done, &counts))
    }

    fn of(done: Done, counts: &[u64]) -> Self {
        let count = |place: usize| counts.get(place).copied().unwrap_or_default();
        let (ended, skipped, failed) = (count(0), count(1), count(2));
        let text = match done {
            Done::Replayed | Done::Discarded | Done::Restored => {
                let skipped_too = match skipped {
                    0 => String::new(),
                    _ => format!(" Left {skipped} alone, because their state did not allow it."),
                };
                let failed_too = match failed {
                    0 => String::new(),
                    _ => format!(" {failed} could not be published and are open again."),
                };
                format!("{} {}.{skipped_too}{failed_too}", capitalized(done), letters(ended))
            }
            Done::Edited => "The edited message was sent as a new event.".to_owned(),
            Done::Resent => "The delivery is due now.".to_owned(),
            Done::NotResent => "Its state does not allow to send it again.".to_owned(),
            Done::Paused => "The endpoint is paused. Requests in flight still end.".to_owned(),
            Done::Resumed => "The endpoint is no longer paused.".to_owned(),
            Done::Enabled => "The endpoint is enabled, and its failures are forgotten.".to_owned(),
            Done::Unchanged => "Nothing had to be changed.".to_owned(),
            Done::Unmerged => "The contacts are two again.".to_owned(),
            Done::Erased => "The person was erased.".to_owned(),
            Done::Noted => "The note was saved.".to_owned(),
        };
        let is_waiting = matches!(done, Done::NotResent | Done::Unchanged) || skipped > 0;
        let tone = if failed > 0 {
            "failed"
        } else if is_waiting {
            "waiting"
        } else {
            "done"
        };
        Self { text, tone }
    }
}

fn capitalized(done: Done) -> String {
    let name = words(done.into());
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

#[cfg(test)]
mod tests {
    use axum::http::header::LOCATION;
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn notice_crosses_a_redirect() {
        for done in Done::VARIANTS {
            let response = go("/dead-letters?state=open&done=erased", *done, &[2, 1, 0]);
            let location = response.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned();
            let code = location.strip_prefix("/dead-letters?state=open&done=").unwrap();
            assert_eq!(Notice::read(code), Some(Notice::of(*done, &[2, 1, 0])));
        }
        assert_eq!(
            Notice::read("replayed-1-2-3").unwrap().text,
            "Replayed 1 dead letter. Left 2 alone, because their state did not allow it. 3 could not be published and are \
             open again."
        );
    }

    #[test]
    fn no_link_shows_a_text_of_a_stranger() {
        for code in ["", "hello", "replayed<script>", "call-0800", "Replayed-1"] {
            assert_eq!(Notice::read(code), None, "{code}");
        }
        assert_eq!(Notice::read("replayed-x").unwrap().text, "Replayed 0 dead letters.");
    }
}
