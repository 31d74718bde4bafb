//! Finds target and label of a link that is the whole text, as chats, documents and mail programs write it. Nothing
//! here decides whether the two agree.

use std::borrow::Cow;

use crate::domain::value::{
    email::Email,
    text::{after_prefix, percent_decoded, plain},
};

/// What a target begins with.
const SCHEMES: [&str; 18] = [
    "mailto:",
    "tel:",
    "http://",
    "https://",
    "callto:",
    "sms:",
    "smsto:",
    "whatsapp:",
    "wa:",
    "facetime:",
    "sip:",
    "skype:",
    "ftp://",
    "geo:",
    "maps:",
    "x-apple-data-detectors:",
    "//",
    "www.",
];

/// A link; `label` is empty if it shows its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link<'a> {
    pub(super) target: &'a str,
    pub(super) label: &'a str,
}

impl<'a> Link<'a> {
    pub(super) fn new(target: &'a str, label: &'a str) -> Self {
        Self { target: target.trim(), label: label.trim() }
    }
}

/// The link that this text is.
pub(super) fn parse(text: &str) -> Option<Link<'_>> {
    anchor(text)
        .or_else(|| bbcode(text))
        .or_else(|| angle(text))
        .or_else(|| markdown(text))
        .or_else(|| wiki(text))
        .or_else(|| after_label(text))
}

/// The addresses of a link to write an email (RFC 6068, 2), decoded: those before its query, or else its `to`. Without any
/// it is no value.
pub(super) fn mailto(text: &str) -> Option<String> {
    let text = plain(text);
    let link = after_prefix(&text, "mailto:")?.trim_start_matches(['/', ' ']);
    let (addresses, query) = link.split_once('?').unwrap_or((link, ""));
    let to = || query.split('&').find_map(|pair| after_prefix(pair, "to="));
    let addresses = if addresses.trim().is_empty() { to().unwrap_or_default() } else { addresses };
    percent_decoded(addresses).map(Cow::into_owned)
}

fn has_scheme(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| after_prefix(text, scheme).is_some())
}

fn is_target(text: &str) -> bool {
    has_scheme(text) || Email::parse(text).is_some_and(|_| !text.contains(['<', '>', ' ']))
}

fn before_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

/// `<a href="target">label</a>`.
fn anchor(text: &str) -> Option<Link<'_>> {
    let rest = after_prefix(text, "<a").filter(|rest| rest.starts_with(char::is_whitespace))?;
    let (attributes, rest) = rest.split_at_checked(end_of_tag(rest)?)?;
    let label = before_suffix(rest.strip_prefix('>')?, "</a>")?;
    if label.to_ascii_lowercase().contains("<a") {
        return None;
    }
    href(attributes).map(|target| Link::new(target, label))
}

/// The position of the `>` that no quotes enclose.
fn end_of_tag(attributes: &str) -> Option<usize> {
    let mut quote = None;
    attributes.char_indices().find_map(|(at, c)| {
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '>' => return Some(at),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        None
    })
}

fn href(attributes: &str) -> Option<&str> {
    let lower = attributes.to_ascii_lowercase();
    let at = lower.match_indices("href").map(|(at, _)| at).find(|at| {
        let before = attributes.get(..*at).and_then(|before| before.chars().next_back());
        before.is_some_and(|c| c.is_whitespace() || matches!(c, '"' | '\''))
    })?;
    let value = attributes.get(at + "href".len()..)?.trim_start().strip_prefix('=')?.trim_start();
    match value.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split(value.chars().next()?).next(),
        None => value.split_whitespace().next(),
    }
}

/// `[url=target]label[/url]`, `[email]target[/email]`.
fn bbcode(text: &str) -> Option<Link<'_>> {
    ["url", "email", "mail"].iter().find_map(|name| {
        let rest = after_prefix(text.strip_prefix('[')?, name)?;
        let (target, rest) = rest.split_once(']')?;
        let label = before_suffix(rest, &format!("[/{name}]"))?;
        let target = if target.is_empty() { label } else { target.strip_prefix('=')?.trim_matches('"') };
        (!label.contains("[/")).then(|| Link::new(target, label))
    })
}

/// `<target|label>` of Slack, `<target>` (RFC 3986, C; RFC 5322, 3.4). Slack's `<@U024BE7LH|label>` is a person.
fn angle(text: &str) -> Option<Link<'_>> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    if inner.contains(['<', '>']) {
        return None;
    }
    let (target, label) = inner.split_once('|').unwrap_or((inner, ""));
    if target.starts_with('@') && !label.is_empty() {
        return Some(Link::new("", label));
    }
    is_target(target.trim()).then(|| Link::new(target, label))
}

/// `[label](target "title")`, `[label](<target>)` (`CommonMark`, 6.3).
fn markdown(text: &str) -> Option<Link<'_>> {
    let (label, rest) = text.strip_prefix('[')?.strip_suffix(')')?.split_once("](")?;
    let rest = rest.trim();
    let (target, title) = match rest.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?,
        None => rest.split_once(' ').filter(|(_, title)| is_title(title.trim())).unwrap_or((rest, "")),
    };
    let is_link = is_target(target) || target.starts_with(['#', '/', '+']) || is_like_a_host(target);
    let is_all = title.trim().is_empty() || is_title(title.trim());
    (is_link && is_all && !rest.contains("](")).then(|| Link::new(target, label))
}

fn is_title(text: &str) -> bool {
    text.len() > 1 && text.starts_with(['"', '\'', '('])
}

/// Whether a target without a scheme, such as a number or `firma.example/contato`, can be one.
fn is_like_a_host(target: &str) -> bool {
    let digits = target.bytes().filter(u8::is_ascii_digit).count();
    digits >= 8 || target.contains('.') && !target.contains(char::is_whitespace)
}

/// `[label|target]` and `[target]` of Jira and Confluence, `[target label]` of `MediaWiki`.
fn wiki(text: &str) -> Option<Link<'_>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    if inner.contains(['[', ']']) {
        return None;
    }
    if let Some((label, target)) = inner.rsplit_once('|') {
        return has_scheme(target.trim()).then(|| Link::new(target, label));
    }
    let (target, label) = inner.split_once(' ').unwrap_or((inner, ""));
    has_scheme(target).then(|| Link::new(target, label))
}

/// `label<target>` and `label [target]` of Outlook, `label (target)` of programs that turn HTML into text, and a
/// name before an address (RFC 5322, 3.4).
fn after_label(text: &str) -> Option<Link<'_>> {
    let ends = [('<', '>'), ('(', ')'), ('[', ']')];
    let (open, close) = ends.into_iter().find(|(_, close)| text.ends_with(*close))?;
    let (label, target) = text.strip_suffix(close)?.rsplit_once(open)?;
    let is_written = |scheme: &&str| after_prefix(target, scheme).is_some();
    let is_target = match open {
        '<' => is_target(target.trim()),
        // `Ana (tel: 3333-4444)` is a remark.
        _ => ["mailto:", "http://", "https://", "tel:+"].iter().any(is_written) && !target.contains(' '),
    };
    // `… [label](target)` and `… <target|label>` are links after something else.
    let is_other = label.ends_with(']') || target.contains('|');
    let is_one = !label.trim().is_empty() && !label.contains(['<', '>']) && !is_other;
    (is_target && is_one).then(|| Link::new(target, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_every_markup() {
        let (mail, name) = ("mailto:ada@x.example", "Ada");
        for (text, target, label, source) in [
            ("<mailto:ada@x.example|Ada>", mail, name, "Slack's mrkdwn"),
            ("<mailto:ada@x.example>", mail, "", "CommonMark, 6.4: autolink"),
            ("<ada@x.example>", "ada@x.example", "", "CommonMark, 6.4: email autolink"),
            ("<@U024BE7LH|Ada>", "", name, "Slack's mrkdwn: a mention"),
            ("<https://x.example|x.example>", "https://x.example", "x.example", "Slack's mrkdwn"),
            ("[Ada](mailto:ada@x.example)", mail, name, "CommonMark, 6.3"),
            ("[Ada](<mailto:ada@x.example>)", mail, name, "CommonMark, 6.3; Discord"),
            ("[Ada](mailto:ada@x.example \"Write to Ada\")", mail, name, "CommonMark, 6.3: a title"),
            ("[x](https://x.example/a_(b))", "https://x.example/a_(b)", "x", "CommonMark, 6.3: parentheses"),
            ("[Ada](+5585999990001)", "+5585999990001", name, "LLM habit"),
            ("<a href=\"mailto:ada@x.example\">Ada</a>", mail, name, "HTML, 4.5.1"),
            ("<A class='x' HREF='mailto:ada@x.example' target=_blank>Ada</A>", mail, name, "HTML: any case"),
            ("<a href=mailto:ada@x.example>Ada</a>", mail, name, "HTML: no quotes"),
            ("<a title=\"a > b\" href = \"mailto:ada@x.example\">Ada</a>", mail, name, "HTML: a quoted >"),
            (
                "<a data-href=\"x\" href=\"mailto:ada@x.example\">Ada</a>",
                mail,
                name,
                "HTML: another attribute",
            ),
            ("[mailto:ada@x.example]", mail, "", "Jira"),
            ("[Ada|mailto:ada@x.example]", mail, name, "Jira"),
            ("[mailto:ada@x.example Ada]", mail, name, "MediaWiki"),
            ("[url=mailto:ada@x.example]Ada[/url]", mail, name, "BBCode"),
            ("[EMAIL]ada@x.example[/EMAIL]", "ada@x.example", "ada@x.example", "BBCode"),
            ("Ada<mailto:ada@x.example>", mail, name, "Outlook, as plain text"),
            ("Ada [mailto:ada@x.example]", mail, name, "Outlook, in a quoted head"),
            ("Ada (mailto:ada@x.example)", mail, name, "as above: Apple Mail"),
            ("Ada <ada@x.example>", "ada@x.example", name, "RFC 5322, 3.4"),
            ("85 99999-0001<tel:+5585999990001>", "tel:+5585999990001", "85 99999-0001", "Outlook"),
        ] {
            let link = parse(text).unwrap_or_else(|| panic!("{text} ({source})"));
            assert_eq!((link.target, link.label), (target, label), "{text} ({source})");
        }
    }

    #[test]
    fn addresses_of_a_link_are_decoded() {
        for (text, expected, source) in [
            ("mailto:ada@x.example", Some("ada@x.example"), "RFC 6068, 6.1"),
            (
                "MAILTO:ada@x.example?subject=Oi&body=a%20b",
                Some("ada@x.example"),
                "RFC 6068, 6.1: fields of a head",
            ),
            ("mailto:ada%2Bsales@x.example", Some("ada+sales@x.example"), "RFC 6068, 5: a plus"),
            ("mailto:ada%40x.example", Some("ada@x.example"), "RFC 6068, 5: the sign"),
            ("mailto:?to=ada@x.example", Some("ada@x.example"), "RFC 6068, 2: to in the query"),
            ("mailto:?subject=Oi&to=ada%40x.example", Some("ada@x.example"), "as above: after another one"),
            ("mailto:Ada%20%3Cada%40x.example%3E", Some("Ada <ada@x.example>"), "RFC 5322, 3.4: a name"),
            ("mailto:ada@x.example,bob@x.example", Some("ada@x.example,bob@x.example"), "RFC 6068, 2: two"),
            ("mailto://ada@x.example", Some("ada@x.example"), "RFC 3986, 3: with an authority"),
            ("mailto:?subject=Oi", Some(""), "RFC 6068, 2: to nobody"),
            ("mailto:%ff@x.example", None, "RFC 6068, 5: not UTF-8"),
            ("ada@x.example", None, "RFC 5322, 3.4"),
        ] {
            assert_eq!(mailto(text).as_deref(), expected, "{text} ({source})");
        }
    }

    #[test]
    fn other_texts_are_no_links() {
        for text in [
            "",
            "<",
            "<>",
            "<name>",
            "<3",
            "[solidcore]",
            "[Ada](Lovelace)",
            "[a](b@x.example) e [c](d@x.example)",
            "<a>Ada</a>",
            "<a href=\"x\">Ada</a> <a href=\"y\">Bia</a>",
            "<@U024BE7LH>",
            "<#C024BE7LR|general>",
            "<!here>",
            "Ada (Lovelace)",
            "Ada (tel: 3333-4444)",
            "Ada <ada@x.example>, Bia <bia@x.example>",
            "85 3333-4444 (ramal 12)",
            "a > b",
            "x <y>",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
