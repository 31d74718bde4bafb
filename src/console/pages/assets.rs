//! Stylesheet, script and icon. Their addresses have a hash of their contents, so browsers may keep them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::super::problem::{Kind, Problem};

const STYLESHEET: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The path of the route that serves them.
pub(super) const PATH: &str = "/assets/{name}";

/// The addresses, for templates.
pub(super) struct Assets;

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
        let hash: String =
            Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/assets/console-{hash}.{extension}"), media_type, text }
    }
}

impl Assets {
    pub(super) fn stylesheet(&self) -> &'static str {
        let [stylesheet, _, _] = &*ALL;
        &stylesheet.path
    }

    pub(super) fn script(&self) -> &'static str {
        let [_, script, _] = &*ALL;
        &script.path
    }

    pub(super) fn icon(&self) -> &'static str {
        let [_, _, icon] = &*ALL;
        &icon.path
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
