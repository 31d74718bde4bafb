//! Forms with a file (`multipart/form-data`, RFC 7578): small fields, and then the file, which is read while it arrives.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::BytesMut;
use futures_util::stream;
use http_body_util::BodyExt as _;

use super::{
    body::{self, Params},
    problem::{Kind, Problem},
    transfer::File,
};

/// The name of the field with the file.
const FILE: &str = "file";

/// The type of such a form.
const MEDIA_TYPE: &str = "multipart/form-data";

/// Maximum size of the fields before the file, with their heads, and of what follows it.
const MAX_FIELDS: usize = 16 << 10;

/// How long the fields may take to arrive.
const FIELDS_TIMEOUT: Duration = Duration::from_secs(15);

/// A form that sends a file.
pub(super) struct Upload {
    pub(super) fields: Params,
    pub(super) file: File,
}

/// The fields of a request whose body is only the file any more.
#[derive(Clone)]
struct Opened(Params);

/// Whether the body is a form with a file.
pub(super) fn is_upload(headers: &HeaderMap) -> bool {
    body::is_of_type(headers, MEDIA_TYPE)
}

/// Reads the fields before the file. Returns them, and the request for [`Upload`].
///
/// # Errors
/// When they are too large, do not arrive in time, or the form has no file.
pub(super) async fn open(request: Request) -> Result<(Params, Request), Problem> {
    let (mut parts, body) = request.into_parts();
    let Some(boundary) = boundary(&parts.headers) else {
        let detail = format!("send a form with the header `content-type: {MEDIA_TYPE}; boundary=…`");
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    };
    let mut form = Reader::new(body, &boundary);
    let fields = tokio::time::timeout(FIELDS_TIMEOUT, form.fields()).await;
    let fields =
        fields.map_err(|_| Problem::new(Kind::RequestTimeout, "the form did not arrive in time"))??;
    parts.extensions.insert(Opened(fields.clone()));
    Ok((fields, Request::from_parts(parts, form.file())))
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Problem> {
        // The check of the form's token may have opened it.
        let (fields, request) = match request.extensions_mut().remove::<Opened>() {
            Some(Opened(fields)) => (fields, request),
            None => open(request).await?,
        };
        Ok(Self { fields, file: File::new(request.into_body()) })
    }
}

/// The boundary between the fields, which has 1 to 70 characters.
fn boundary(headers: &HeaderMap) -> Option<String> {
    if !is_upload(headers) {
        return None;
    }
    let mut parameters = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').skip(1);
    let boundary = parameters.find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    (1..=70).contains(&boundary.len()).then(|| boundary.to_owned())
}

/// A form that arrives.
struct Reader {
    body: Body,
    /// What has arrived and was not taken.
    waiting: BytesMut,
    /// What stands between two fields.
    delimiter: Vec<u8>,
}

impl Reader {
    fn new(body: Body, boundary: &str) -> Self {
        // The first boundary has no line break before it.
        Self { body, waiting: BytesMut::from("\r\n"), delimiter: format!("\r\n--{boundary}").into_bytes() }
    }

    /// The fields up to the file.
    async fn fields(&mut self) -> Result<Params, Problem> {
        let delimiter = self.delimiter.clone();
        let (mut fields, mut left) = (Vec::new(), MAX_FIELDS);
        self.until(&delimiter, &mut left).await?;
        loop {
            let head = self.until(b"\r\n\r\n", &mut left).await?;
            let name = name(&head).ok_or_else(|| malformed("a field of the form has no name"))?;
            if name == FILE {
                return Ok(Params::of(fields).of_form());
            }
            let value = self.until(&delimiter, &mut left).await?;
            let value = String::from_utf8(value.to_vec());
            fields.push((name, value.map_err(|_| malformed("a field of the form is not UTF-8"))?));
        }
    }

    /// Takes what comes before `mark`, and the mark. `left` is how much more may come.
    async fn until(&mut self, mark: &[u8], left: &mut usize) -> Result<BytesMut, Problem> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.waiting, searched, mark) {
                let mut taken = self.waiting.split_to(at + mark.len());
                *left = left.checked_sub(taken.len()).ok_or_else(too_large)?;
                taken.truncate(at);
                return Ok(taken);
            }
            searched = (self.waiting.len() + 1).saturating_sub(mark.len());
            if self.waiting.len() > *left {
                return Err(too_large());
            }
            let has_more = self.more().await.map_err(|_| malformed("the form ended early"))?;
            if !has_more {
                return Err(malformed("the form has no file"));
            }
        }
    }

    /// Waits for more. False at the end.
    async fn more(&mut self) -> Result<bool, axum::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.waiting.extend_from_slice(&data);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The rest up to the next boundary.
    fn file(self) -> Body {
        Body::from_stream(stream::try_unfold(Some(self), |form| async move {
            let Some(mut form) = form else { return Ok(None) };
            form.part().await.map(|(part, is_last)| Some((part, (!is_last).then_some(form))))
        }))
    }

    /// The next bytes of the file, and whether they are the last ones.
    async fn part(&mut self) -> io::Result<(Bytes, bool)> {
        loop {
            if let Some(at) = find(&self.waiting, 0, &self.delimiter) {
                let last = self.waiting.split_to(at).freeze();
                // A client that is still sending would not read the answer.
                while self.waiting.len() < MAX_FIELDS && self.more().await.map_err(io::Error::other)? {}
                return Ok((last, true));
            }
            // The end may be the beginning of a boundary.
            let certain = (self.waiting.len() + 1).saturating_sub(self.delimiter.len());
            if certain > 0 {
                return Ok((self.waiting.split_to(certain).freeze(), false));
            }
            if !self.more().await.map_err(io::Error::other)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn malformed(detail: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

fn too_large() -> Problem {
    let detail = format!("the fields before the file may have at most {} KiB", MAX_FIELDS >> 10);
    Problem::new(Kind::TooLarge, detail)
}

/// The place of `mark`, which begins with a byte that is rare, from a place on.
fn find(bytes: &[u8], from: usize, mark: &[u8]) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| Some(byte) == mark.first())?;
        if bytes.get(at..)?.starts_with(mark) {
            return Some(at);
        }
        at += 1;
    }
}

/// The name of a field, from its head.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let is_disposition = |line: &&str| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    };
    // The name comes before that of the file, which may contain anything.
    let name = head.lines().find(is_disposition)?.split_once("name=\"")?.1;
    Some(name.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x-y\"";

    fn request(content_type: &'static str, parts: Vec<Vec<u8>>) -> Request {
        let parts = parts.into_iter().map(|part| Ok::<_, io::Error>(Bytes::from(part)));
        let mut request = Request::new(Body::from_stream(stream::iter(parts)));
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        request
    }

    fn form(file: &str) -> String {
        format!(
            "--x-y\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nsecret\r\n\
             --x-y\r\ncontent-disposition: form-data; name=\"reason\"\r\n\r\n\r\n\
             --x-y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name=\\\"csrf\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{file}\r\n--x-y--\r\n"
        )
    }

    async fn read(parts: Vec<Vec<u8>>) -> Result<(Option<String>, Vec<u8>), Kind> {
        let opened = open(request(TYPE, parts)).await.map_err(|problem| problem.kind)?;
        let (mut fields, request) = opened;
        let file = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        let file = file.map_err(|_| Kind::Internal)?.to_vec();
        Ok((fields.one("csrf").unwrap(), file))
    }

    #[tokio::test]
    async fn fields_and_file_are_found_however_they_arrive() {
        for file in ["", "a\nb\n", "\r\n--x-\r\n--", "\r\n\r\n--x"] {
            let whole = form(file).into_bytes();
            for size in 1..=whole.len() {
                let parts = whole.chunks(size).map(<[u8]>::to_vec).collect();
                let read = read(parts).await.unwrap();
                assert_eq!(read, (Some("secret".to_owned()), file.as_bytes().to_vec()), "{size}");
            }
        }
    }

    #[tokio::test]
    async fn form_that_breaks_off_or_is_too_large_is_refused() {
        let whole = form("a\n").into_bytes();
        let file_from = whole.len() - "a\n\r\n--x-y--\r\n".len();
        for end in 0..whole.len() - "--\r\n".len() {
            let expected = if end < file_from { Kind::InvalidRequest } else { Kind::Internal };
            assert_eq!(read(vec![whole[..end].to_vec()]).await.unwrap_err(), expected, "{end}");
        }
        let long = "x".repeat(MAX_FIELDS);
        for text in [long.clone(), form("").replace("secret", &long)] {
            assert_eq!(read(vec![text.into_bytes()]).await.unwrap_err(), Kind::TooLarge);
        }
        let nameless = form("").replace("name=", "title=");
        assert_eq!(read(vec![nameless.into_bytes()]).await.unwrap_err(), Kind::InvalidRequest);
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "text/plain; boundary=x-y"]
        {
            let refused = open(request(content_type, vec![form("").into_bytes()])).await;
            assert_eq!(refused.err().map(|problem| problem.kind), Some(Kind::UnsupportedMediaType));
        }
    }
}
