//! A browser without script: signs in by the form, keeps the cookie, follows one redirect, and reads pages as browsers do.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};
use reqwest::{
    Client, Response,
    header::{COOKIE, LOCATION, ORIGIN, REFERER, SET_COOKIE},
    redirect::Policy,
};
use url::form_urlencoded;

use crate::support::{app::TestApp, process::Process};

/// Every element that a page may have. What strangers sent is none of them.
const ELEMENTS: [&str; 54] = [
    "a",
    "b",
    "bdi",
    "body",
    "br",
    "button",
    "code",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "form",
    "h1",
    "h2",
    "head",
    "header",
    "html",
    "img",
    "kbd",
    "input",
    "label",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "rect",
    "script",
    "section",
    "select",
    "span",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "textarea",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
    "h3",
    "legend",
    "hr",
];

pub(super) struct Browser {
    client: Client,
    base: String,
    cookie: String,
    /// The token of the session's forms.
    pub(super) csrf: String,
}

/// A page that was loaded.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) html: String,
    /// Its text, as a reader sees it.
    pub(super) text: String,
    /// Its start tags.
    tags: Vec<Tag>,
    /// The path that a redirect led to.
    pub(super) at: String,
}

/// Tokens of all roles for the processes that are started from now on.
pub(super) fn let_in(app: &TestApp) {
    app.set("http.tokens", "vera:viewer:view,olga:operator:operate,edda:editor:edit,ada:admin:administer");
}

pub(super) fn client() -> Client {
    // The service's provider; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(Policy::none()).build().expect("a client")
}

impl Browser {
    /// Signs in with the token by the form.
    pub(super) async fn sign_in(process: &Process, token: &str) -> Self {
        let base = format!("http://{}", process.http());
        let mut browser = Self { client: client(), base, cookie: String::new(), csrf: String::new() };
        let response = browser.send("/sign-in", &[("then", "/audit"), ("token", token)]).await;
        assert_eq!(response.headers().get(LOCATION).expect("a redirect"), "/audit");
        let cookie = response.headers().get(SET_COOKIE).expect("a cookie").to_str().unwrap().to_owned();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        let page = browser.get("/audit").await;
        assert_eq!(page.status, 200, "{}", page.html);
        browser.csrf = page.value_of("csrf").expect("a form with a token");
        browser
    }

    /// Somebody who has not signed in.
    pub(super) fn stranger(process: &Process) -> Self {
        let base = format!("http://{}", process.http());
        Self { client: client(), base, cookie: String::new(), csrf: String::new() }
    }

    pub(super) async fn get(&self, path: &str) -> Page {
        let request = self.client.get(format!("{}{path}", self.base));
        let response = request.header(COOKIE, &self.cookie).header("accept", "text/html").send().await;
        Page::read(path, response.expect("a response")).await
    }

    /// Loads a page that must be there, and checks that nothing in it can run.
    pub(super) async fn open(&self, path: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.html);
        page.assert_harmless();
        page
    }

    /// Sends a form of ours and follows its redirect.
    pub(super) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let response = self.send(path, &[&[("csrf", self.csrf.as_str())], fields].concat()).await;
        let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        let page = match location {
            Some(location) => self.get(&location).await,
            None => Page::read(path, response).await,
        };
        page.assert_harmless();
        page
    }

    /// Sends a form of ours with a file, as browsers do.
    pub(super) async fn upload(&self, path: &str, fields: &[(&str, &str)], file: &str) -> Page {
        let head = |name: &str| format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"");
        let field = |(name, value): &(&str, &str)| format!("{}\r\n\r\n{value}\r\n", head(name));
        let fields: String = fields.iter().map(field).collect();
        let body = format!("{fields}{}; filename=\"x.ndjson\"\r\n\r\n{file}\r\n--x-y--\r\n", head("file"));
        let response = self.post(path, &self.base, "multipart/form-data; boundary=x-y", body).await;
        let page = Page::read(path, response).await;
        page.assert_harmless();
        page
    }

    /// Sends these fields, and returns the bare response.
    pub(super) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.send_from(path, fields, &self.base).await
    }

    /// The same from a page of `origin`.
    pub(super) async fn send_from(&self, path: &str, fields: &[(&str, &str)], origin: &str) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.post(path, origin, "application/x-www-form-urlencoded", body).await
    }

    async fn post(&self, path: &str, origin: &str, content_type: &str, body: String) -> Response {
        self.client
            .post(format!("{}{path}", self.base))
            .header(COOKIE, &self.cookie)
            .header(ORIGIN, origin)
            .header(REFERER, format!("{origin}/dead-letters?state=open"))
            .header("accept", "text/html")
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .expect("a response")
    }
}

impl Page {
    async fn read(path: &str, response: Response) -> Self {
        let status = response.status().as_u16();
        let policy = response.headers().get("content-security-policy").expect("a policy").to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("default-src 'none'"), "{policy}");
        let html = response.text().await.expect("text");
        let seen = read(&html);
        let (tags, text) = (seen.tags.into_inner(), seen.text.into_inner());
        Self { status, html, text, tags, at: path.to_owned() }
    }

    /// The value of the first field with this name.
    pub(super) fn value_of(&self, name: &str) -> Option<String> {
        self.values_of(name).into_iter().next()
    }

    /// The values of all fields with this name.
    pub(super) fn values_of(&self, name: &str) -> Vec<String> {
        let fields = self.named("input").filter(|tag| attribute(tag, "name").as_deref() == Some(name));
        fields.filter_map(|tag| attribute(tag, "value")).collect()
    }

    /// The targets of all links that begin so.
    pub(super) fn links(&self, beginning: &str) -> Vec<String> {
        let targets = self.named("a").filter_map(|tag| attribute(tag, "href"));
        targets.filter(|target| target.starts_with(beginning)).collect()
    }

    /// The names of the fields of a listing's filter.
    pub(super) fn filters(&self) -> Vec<String> {
        let (_, form) = self.html.split_once("<form class=\"card filters\"").expect("a filter");
        let (form, _) = form.split_once("</form>").expect("the end of the filter");
        let fields = read(form).tags.into_inner().into_iter().filter(|tag| {
            let is_hidden = attribute(tag, "type").as_deref() == Some("hidden");
            matches!(&*tag.name, "input" | "select") && !is_hidden
        });
        fields.filter_map(|tag| attribute(&tag, "name")).collect()
    }

    /// The actions of all forms that are posted.
    pub(super) fn actions(&self) -> Vec<String> {
        let forms = self.named("form").filter(|tag| attribute(tag, "method").as_deref() == Some("post"));
        let buttons = self.named("button").filter_map(|tag| attribute(tag, "formaction"));
        forms.filter_map(|tag| attribute(tag, "action")).chain(buttons).collect()
    }

    /// The names of the fields of the form that is sent to this address.
    pub(super) fn fields_of(&self, action: &str) -> Vec<String> {
        let at = self.html.find(&format!("action=\"{action}\"")).expect("the form");
        let (before, after) = self.html.split_at(at);
        let begin = before.rfind("<form").expect("its beginning");
        let end = at + after.find("</form>").expect("its end");
        let tags = read(&self.html[begin..end]).tags.into_inner();
        tags.iter().filter_map(|tag| attribute(tag, "name")).collect()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(move |tag| &*tag.name == name)
    }

    /// Nothing in the page can run, or look like something else: only our own files, known elements, no handlers, no styles.
    pub(super) fn assert_harmless(&self) {
        for tag in &self.tags {
            let name = &*tag.name;
            assert!(ELEMENTS.contains(&name), "an element <{name}> in {}", self.at);
            for attribute in &tag.attrs {
                let (key, value) = (&*attribute.name.local, attribute.value.trim());
                assert!(!key.starts_with("on") && key != "style" && key != "srcdoc", "{key} of <{name}>");
                let leads_out = matches!(key, "href" | "src" | "action" | "formaction") && !is_ours(value);
                assert!(!leads_out, "<{name} {key}=\"{value}\"> in {}", self.at);
            }
            let is_ours = |tag| attribute(tag, "src").is_some_and(|src| src.starts_with("/assets/console-"));
            assert!(name != "script" || is_ours(tag), "an inline script in {}", self.at);
        }
        self.assert_enter_is_harmless();
    }

    /// Enter in a field presses the first button of its form. If there are several, nobody has chosen that one.
    fn assert_enter_is_harmless(&self) {
        for form in self.html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let tags = read(&format!("<form{form}")).tags.into_inner();
            let is = |tag: &Tag, what: &str| attribute(tag, "type").as_deref() == Some(what);
            let has_field = tags.iter().any(|tag| &*tag.name == "input" && !is(tag, "hidden"));
            let buttons: Vec<&Tag> =
                tags.iter().filter(|tag| &*tag.name == "button" && !is(tag, "button")).collect();
            if has_field && buttons.len() > 1 {
                assert!(attribute(buttons[0], "disabled").is_some(), "{}: <form{form}", self.at);
            }
        }
    }
}

/// A path of the console, or a place of the page.
fn is_ours(target: &str) -> bool {
    target.starts_with('#')
        || target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\")
}

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| attribute.value.to_string())
}

#[derive(Default)]
struct Seen {
    tags: RefCell<Vec<Tag>>,
    text: RefCell<String>,
}

impl TokenSink for Seen {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => {
                let name = tag.name.to_string();
                let is_start = tag.kind == TagKind::StartTag;
                if is_start {
                    self.tags.borrow_mut().push(tag);
                }
                return match name.as_str() {
                    "title" | "textarea" if is_start => TokenSinkResult::RawData(RawKind::Rcdata),
                    "script" if is_start => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" if is_start => TokenSinkResult::RawData(RawKind::Rawtext),
                    _ => TokenSinkResult::Continue,
                };
            }
            Token::CharacterTokens(text) => self.text.borrow_mut().push_str(&text),
            Token::CommentToken(comment) => panic!("a comment: {comment}"),
            Token::DoctypeToken(_) | Token::NullCharacterToken | Token::EOFToken | Token::ParseError(_) => (),
        }
        TokenSinkResult::Continue
    }
}

fn read(html: &str) -> Seen {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Seen::default(), TokenizerOpts::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink
}
