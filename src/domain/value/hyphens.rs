//! Dashes and minus signs that stand for a hyphen: word processors, phones and East Asian keyboards put them in its place.

use std::borrow::Cow;

/// In dates, documents and postal codes each of them stands for a hyphen. The prolonged sound mark of Japanese looks like one.
const DASHES: [char; 8] =
    ['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}', '\u{30fc}'];

/// In the name of a host. An em dash separates words, and the sound mark is a letter.
const OF_HOSTS: [char; 5] = ['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2212}'];

/// With a hyphen for every dash.
pub(super) fn with_hyphens(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() || !text.contains(DASHES) { text } else { Cow::Owned(text.replace(DASHES, "-")) }
}

/// With a hyphen for every dash that may be one in an address; `None` if there is none.
pub(in crate::domain) fn with_hyphens_of_hosts(text: &str) -> Option<String> {
    (!text.is_ascii() && text.contains(OF_HOSTS)).then(|| text.replace(OF_HOSTS, "-"))
}
