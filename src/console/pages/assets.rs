//! Stylesheet, script and icon. Their URLs contain a hash of their contents, so browsers may cache them forever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::super::problem::{Kind, Problem};

const STYLESHEET: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The path of the route that serves them.
pub(super) const PATH: &str = "/assets/{name}";

/// The addresses, for templates.
#[derive(Clone, Copy)]
pub(super) struct Assets {
    pub(super) stylesheet: &'static str,
    pub(super) script: &'static str,
    pub(super) icon: &'static str,
}

struct Asset {
    path: String,
    media_type: &'static str,
    text: &'static str,
}

static ALL: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("css", "text/css; charset=utf-8", STYLESHEET),
        Asset::new("js", "text/javascript; charset=utf-8", SCRIPT),
        Asset::new("svg", "image/svg+xml", ICON),
    ]
});

impl Asset {
    fn new(extension: &str, media_type: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let hash: String = URL_SAFE_NO_PAD.encode(digest).chars().take(12).collect();
        Self { path: format!("/assets/console-{hash}.{extension}"), media_type, text }
    }
}

impl Assets {
    pub(super) fn new() -> Self {
        let [stylesheet, script, icon] = &*ALL;
        Self { stylesheet: &stylesheet.path, script: &script.path, icon: &icon.path }
    }
}

/// Serves one of them.
pub(super) async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = ALL.iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    let asset =
        asset.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such file; load the page again"))?;
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of WCAG.
    fn luminance(color: &str) -> f64 {
        let part = |at: usize| f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        let linear =
            |value: f64| if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for the edges of fields and for charts.
    #[test]
    fn colors_can_be_told_from_their_ground() {
        let (light, dark) = STYLESHEET.split_once("@media (prefers-color-scheme: dark)").unwrap();
        for scheme in [light, dark] {
            let color = |name: &str| {
                let (_, rest) = scheme.split_once(&format!("--{name}: ")).unwrap();
                &rest[..7]
            };
            for (name, ground, least) in [
                ("field", "surface", 3.0),
                ("field", "ground", 3.0),
                ("bar-failed", "surface", 3.0),
                ("bar-waiting", "surface", 3.0),
                ("bar-done", "surface", 3.0),
                ("bar-quiet", "surface", 3.0),
                ("bar-failed", "quiet-ground", 3.0),
                ("bar-waiting", "quiet-ground", 3.0),
                ("bar-done", "quiet-ground", 3.0),
                ("text", "surface", 4.5),
                ("muted", "surface", 4.5),
                ("muted", "ground", 4.5),
                ("accent", "surface", 4.5),
                ("failed", "failed-ground", 4.5),
                ("waiting", "waiting-ground", 4.5),
                ("done", "done-ground", 4.5),
                ("quiet", "quiet-ground", 4.5),
            ] {
                let found = contrast(color(name), color(ground));
                assert!(found >= least, "{name} on {ground}: {found:.2}");
            }
        }
    }
}
