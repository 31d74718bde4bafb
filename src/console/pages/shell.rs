//! The frame of every page: navigation, who is signed in, and a notice about what was just done.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Redirect, Response};

use super::{
    super::{caller::Caller, problem::Problem},
    assets::Assets,
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
    /// Whether the script reloads it from time to time.
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

const LINKS: [Link; 9] = [
    Link { path: "/", name: "Overview", key: 'o' },
    Link { path: "/failures", name: "Failures", key: 'f' },
    Link { path: "/dead-letters", name: "Dead letters", key: 'd' },
    Link { path: "/operations", name: "Operations", key: 'r' },
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

    /// The same page with this title, by which tabs and the browser's history tell it apart. It must not name a person.
    pub(super) fn titled(self, title: String) -> Self {
        Self { title, ..self }
    }

    /// The same page, reloaded from time to time.
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

/// What was done, as one sentence. It crosses a redirect as a code of a closed list, so that nobody can craft a link that
/// shows their own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Done {
    OperationRun,
    OperationPaused,
    OperationResumed,
    OperationCanceled,
    Edited,
    NotSent,
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
pub(super) fn go(path: &str, done: Done) -> Response {
    let code: &str = done.into();
    let (address, query) = path.split_once('?').unwrap_or((path, ""));
    let mut target = format!("{address}?");
    // The notice of the change before this one has been read.
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done=")) {
        target.extend([pair, "&"]);
    }
    target.extend([DONE, "=", code]);
    Redirect::to(&target).into_response()
}

/// A notice on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: &'static str,
    tone: &'static str,
}

impl Notice {
    pub(super) const fn tone(&self) -> &'static str {
        self.tone
    }

    fn read(code: &str) -> Option<Self> {
        code.parse().ok().map(Self::of)
    }

    const fn of(done: Done) -> Self {
        let text = match done {
            Done::OperationRun => "It runs as soon as a process takes it up.",
            Done::OperationPaused => "It is paused. What is being published still ends.",
            Done::OperationResumed => "It goes on.",
            Done::OperationCanceled => "It is canceled. What has no outcome stays as it is.",
            Done::Edited => "The edited message was sent as a new event.",
            Done::NotSent => "The edited message is stored, but could not be sent. Replay it.",
            Done::Resent => "The delivery is due now.",
            Done::NotResent => "Its state does not allow to send it again.",
            Done::Paused => "The endpoint is paused. Requests in flight still end.",
            Done::Resumed => "The endpoint is no longer paused.",
            Done::Enabled => "The endpoint is enabled, and its failures are forgotten.",
            Done::Unchanged => "Nothing had to be changed.",
            Done::Unmerged => "The contacts are two again.",
            Done::Erased => "The person was erased.",
            Done::Noted => "The note was saved.",
        };
        let tone = if matches!(done, Done::NotSent | Done::NotResent | Done::Unchanged) {
            "waiting"
        } else {
            "done"
        };
        Self { text, tone }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::LOCATION;
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn notice_crosses_a_redirect() {
        for done in Done::VARIANTS {
            let response = go("/dead-letters?state=open&done=erased", *done);
            let location = response.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned();
            let code = location.strip_prefix("/dead-letters?state=open&done=").unwrap();
            assert_eq!(Notice::read(code), Some(Notice::of(*done)));
        }
    }

    #[test]
    fn no_link_shows_a_text_of_a_stranger() {
        for code in ["", "hello", "edited<script>", "call-0800", "Edited", "edited-1"] {
            assert_eq!(Notice::read(code), None, "{code}");
        }
    }
}
