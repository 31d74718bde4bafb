//! Dead letters as lines of JSON: streamed into an answer and read from a body, neither of which is ever whole in
//! memory.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::BytesMut;
use futures_util::stream;
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret as _;

use super::{
    body,
    idempotency::Personal,
    problem::{Kind, Problem},
    shared::Shared,
};
use crate::{
    operator::{
        audit::Actor,
        dead_letters::transfer::{Export, Importer, Outcome, Tally, Terms},
    },
    telemetry::chain,
};

/// The type of a file of dead letters.
const MEDIA_TYPE: &str = "application/x-ndjson";

/// The longest line. A message of 1 MiB takes six times as much if each of its bytes is escaped.
const MAX_LINE: usize = 8 << 20;

/// Maximum size of a file.
const MAX_FILE: u64 = 1 << 30;

/// How long the next bytes of a file may take to arrive.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// An export as a file to download, which is written while it is read. If the database fails, the connection breaks off.
pub(super) fn download(export: Export) -> Response {
    let lines = stream::try_unfold(export, |mut export: Export| async move {
        let next = export.page().await.inspect_err(|error| {
            tracing::warn!(error = chain(error), "an export of dead letters broke off");
        });
        let Some(records) = next.map_err(std::io::Error::other)? else { return Ok(None) };
        let mut lines = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        Ok::<_, std::io::Error>(Some((Bytes::from(lines), export)))
    });
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let name = HeaderValue::from_static("attachment; filename=\"dead-letters.ndjson\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    response.extensions_mut().insert(Personal);
    response
}

/// A file of lines that arrives while it is read.
pub(super) struct File {
    body: Body,
    /// Bytes that have arrived and were not taken.
    waiting: BytesMut,
    /// Bytes of `waiting` that have no line break.
    searched: usize,
    /// Bytes that have arrived.
    size: u64,
    /// The rest of a line that was too long is skipped.
    is_skipping: bool,
}

impl<S: Sync> FromRequest<S> for File {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !body::is_of_type(&parts.headers, MEDIA_TYPE) {
            let detail = format!("send lines of JSON with the header `content-type: {MEDIA_TYPE}`");
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > MAX_FILE) {
            return Err(too_large());
        }
        Ok(Self::new(body))
    }
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, format!("the file may have at most {} MiB; split it", MAX_FILE >> 20))
}

impl File {
    /// The lines of a body.
    pub(super) fn new(body: Body) -> Self {
        Self { body, waiting: BytesMut::new(), searched: 0, size: 0, is_skipping: false }
    }

    /// The next line. One that is too long is empty but for a byte that no JSON begins with.
    ///
    /// # Errors
    /// When the file is too large, breaks off, or stops arriving.
    async fn next(&mut self) -> Result<Option<BytesMut>, Problem> {
        loop {
            let unsearched = self.waiting.get(self.searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.waiting.split_to(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(self.whole(line)));
            }
            self.searched = self.waiting.len();
            if self.searched > MAX_LINE {
                self.waiting.clear();
                (self.searched, self.is_skipping) = (0, true);
            }
            let frame = tokio::time::timeout(IDLE_TIMEOUT, self.body.frame()).await;
            let frame = frame.map_err(|_| Problem::new(Kind::RequestTimeout, "the file stopped arriving"))?;
            let Some(frame) = frame else {
                let is_end = self.waiting.is_empty() && !self.is_skipping;
                self.searched = 0;
                let line = self.waiting.split();
                return Ok((!is_end).then(|| self.whole(line)));
            };
            let frame = frame.map_err(|_| Problem::new(Kind::InvalidRequest, "the file ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            self.size += data.len() as u64;
            if self.size > MAX_FILE {
                return Err(too_large());
            }
            self.waiting.extend_from_slice(&data);
        }
    }

    fn whole(&mut self, line: BytesMut) -> BytesMut {
        if std::mem::take(&mut self.is_skipping) { BytesMut::from(&b"?"[..]) } else { line }
    }
}

/// Imports a file line by line, or only reports the outcome of each line.
///
/// # Errors
/// When the file or the database fails. What was imported before stays, and the file may be imported again.
pub(super) async fn import(
    shared: &Shared,
    actor: &Actor,
    mut file: File,
    is_dry: bool,
) -> Result<Tally, Problem> {
    let regions = shared.settings.contacts.regions();
    let pepper = shared.settings.contacts.suppression_pepper.expose_secret();
    let terms = Terms { pepper, regions: &regions };
    let importer = Importer { database: &shared.database, actor, terms, is_dry };
    let (mut tally, mut number) = (Tally::default(), 0_u64);
    loop {
        number += 1;
        let next = file.next().await.map_err(|problem| stopped(problem, number, &tally, is_dry))?;
        let Some(line) = next else { return Ok(tally) };
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let outcome = importer.import(&line).await;
        let outcome = outcome.map_err(|error| stopped(error.into(), number, &tally, is_dry))?;
        tally.add(number, outcome);
    }
}

/// The problem that ended an import, with the outcome so far.
fn stopped(mut problem: Problem, line: u64, tally: &Tally, is_dry: bool) -> Problem {
    if is_dry || tally.of(Outcome::Imported) == 0 {
        return problem;
    }
    problem.detail = format!("line {line}: {}; the lines before it are imported", problem.detail);
    problem.unsure()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a file that arrives in these parts.
    async fn lines(parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let parts = parts.into_iter().map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        let mut file = File::new(Body::from_stream(stream::iter(parts)));
        let mut lines = Vec::new();
        while let Some(line) = file.next().await.unwrap() {
            lines.push(line.to_vec());
        }
        lines
    }

    #[tokio::test]
    async fn lines_are_found_however_they_arrive() {
        let whole = b"a\nbc\n\nlast".to_vec();
        let expected: [&[u8]; 4] = [b"a\n", b"bc\n", b"\n", b"last"];
        for size in 1..=whole.len() {
            let parts = whole.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(lines(parts).await, expected, "{size}");
        }
        assert_eq!(lines(vec![]).await, [b""; 0]);
        assert_eq!(lines(vec![b"\n".to_vec()]).await, [b"\n"]);
    }

    #[tokio::test]
    async fn line_that_is_too_long_is_passed_over() {
        let long = vec![b'x'; MAX_LINE / 2 + 1];
        let parts = vec![b"a\n".to_vec(), long.clone(), long.clone(), long.clone(), b"x\nb".to_vec()];
        assert_eq!(lines(parts).await, [&b"a\n"[..], b"?", b"b"]);
        assert_eq!(lines(vec![long.clone(), long]).await, [b"?"]);
    }
}
