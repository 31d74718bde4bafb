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
