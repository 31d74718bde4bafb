//! Recognizes what a template engine, a workflow tool, a program or a spreadsheet left in place of a value.

mod parts;

use super::{
    printed,
    spreadsheet::{is_call, is_spreadsheet_error},
};
use crate::domain::{contact::field::Field, value::text::folded};

/// No name, address or number contains any of these, so one of them makes the whole value residue, wherever it
/// is and also without its end: tools cut long texts. Each is what follows its first character.
///
/// After `{`: Mustache, Handlebars, Liquid, Jinja, n8n, Make, Zapier; Liquid's and Jinja's tags; Jinja's comments;
/// Salesforce.
const AFTER_BRACE: [&str; 4] = ["{", "%", "#", "!"];
/// After `$`: JavaScript, shells; Velocity; n8n without its braces; shells' commands and sums.
const AFTER_DOLLAR: [&str; 12] =
    ["{", "!{", "json", "node[", "node.", "input.", "items(", "fromAI(", "workflow.", "('", "(\"", "(("];
/// After `%`: Ruby, Logstash, Elixir; Marketing Cloud; two opening braces in a URL.
const AFTER_PERCENT: [&str; 4] = ["{", "%=", "7B%7B", "7b%7b"];

/// Words that mark a bracketed text as a form's blank.
const BLANKS: &str = "name fname lname firstname lastname nome nombre sobrenome apellido email mail correo phone telefone \
    telefono celular company empresa your seu sua su insert inserir insertar insira ingrese digite customer cliente lead user";

/// What paths to a value begin with in programs and workflow tools: `event.body.name`, `process.env.NAME`.
const ROOTS: &str = "args arguments body contact context customer data env event fields form input inputs item json lead msg \
    params payload process props query req request response row self session state steps this trigger user vars variables";

/// Whether the text is an expression or a form's blank that was never filled in. `parameter` is the name of the
/// parameter that fills the field.
pub(super) fn is_expression(field: Field, text: &str, parameter: &str) -> bool {
    // `«` is the byte 0xab after 0xc2 in UTF-8.
    let is_mark = |byte| matches!(byte, b'$' | b'{' | b'<' | b'%' | b'[' | b'*' | 0xab);
    let is_suspect =
        text.bytes().any(is_mark) || text.starts_with(['=', '@', ':', '_', '#', '&', '|', '(', '!', '-']);
    is_suspect && (is_left_over(field, text, parameter) || parts::spoils(field, text, parameter))
        || is_path(field, text, parameter)
        || printed::is_object(text)
        || text.ends_with([')', ']']) && is_action(text)
        || text.ends_with("()") && is_getter(field, text, parameter)
        || printed::is_error(text)
}

/// What Power Automate's expressions begin with. Its text boxes keep them without their `@` when they were pasted.
const ACTIONS: [&str; 11] = [
    "triggerBody()",
    "triggerOutputs()",
    "item()?",
    "items('",
    "body('",
    "outputs('",
    "variables('",
    "parameters('",
    "actions('",
    "coalesce(",
    "concat(",
];

fn is_action(text: &str) -> bool {
    ACTIONS.iter().any(|action| text.starts_with(action))
}

fn is_left_over(field: Field, text: &str, parameter: &str) -> bool {
    has_opening(text)
        || is_one(field, text, parameter)
        || within(text, "(", ")").is_some_and(|inner| is_one(field, inner, parameter))
        || text.contains([' ', ',']) && {
            let mut words = text.split([' ', ',', ';']).filter(|word| !word.is_empty());
            words.all(|word| is_one(field, word, parameter) || is_spreadsheet_error(word))
        }
}

/// Besides those above: Ruby, Workato; Power Automate; ERB, ASP, PHP, XML; Mailchimp; Template Toolkit.
fn has_opening(text: &str) -> bool {
    text.bytes().enumerate().any(|(at, byte)| {
        // These characters are ASCII, so what follows them begins a character.
        let follows = |openings: &[&str]| {
            let rest = text.get(at + 1..).unwrap_or_default();
            openings.iter().any(|opening| rest.starts_with(opening))
        };
        match byte {
            // Smarty; `{$5}` is a price.
            b'{' => {
                follows(&AFTER_BRACE) || follows(&["$"]) && is_command(text.get(at + 2..).unwrap_or_default())
            }
            b'$' => {
                follows(&AFTER_DOLLAR)
                    || follows(&["("]) && is_command(text.get(at + 2..).unwrap_or_default())
            }
            b'%' => follows(&AFTER_PERCENT),
            b'#' | b'@' => follows(&["{"]),
            b'<' => follows(&["%", "?"]),
            b'*' => follows(&["|"]),
            b'[' => follows(&["%"]),
            _ => false,
        }
    })
}

/// Whether this text after `$(` begins with the name of a command or a variable. `$(5)` is a price.
fn is_command(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_one(field: Field, text: &str, parameter: &str) -> bool {
    is_call(text)
        || is_format(text)
        || is_marked(text)
        || printed::is_marked_object(text)
        || is_mention(text)
        || is_variable(field, text, parameter)
        || is_subscript(field, text, parameter)
        || is_blank(field, text, parameter)
        || text.strip_prefix([':', '@', '#', '%', '&', '=']).is_some_and(|name| name == parameter)
}

/// A path to a value that was never resolved: `lead.name`, `@param.name`. An address has an `@` within.
fn is_path(field: Field, text: &str, parameter: &str) -> bool {
    let path = text.strip_prefix('@').unwrap_or(text);
    let Some((root, name)) = path.split_once('.') else { return false };
    let is_step = |step: &str| {
        step.starts_with(|c: char| c.is_ascii_alphabetic())
            && step.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    is_step(root)
        && name.split('.').all(is_step)
        && (path.len() < text.len() || is_in(ROOTS, root))
        && names_a_blank(field, last, parameter)
}

/// A call that was never made: `getName()`, `lead.name()`.
fn is_getter(field: Field, text: &str, parameter: &str) -> bool {
    let path = text.trim_end_matches("()");
    let is_path = path.starts_with(|c: char| c.is_ascii_alphabetic())
        && path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    let name = path.rsplit('.').next().unwrap_or_default();
    let got =
        name.strip_prefix("get").filter(|got| got.starts_with(|c: char| c.is_ascii_uppercase() || c == '_'));
    is_path && (got.is_some() || names_a_blank(field, name, parameter))
}

/// A place in a list or a map that was never looked up: `lead["name"]`, `data[0]['email']`.
fn is_subscript(field: Field, text: &str, parameter: &str) -> bool {
    let Some((root, places)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) else {
        return false;
    };
    let is_root = root.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && root.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    let last = places.rsplit('[').next().unwrap_or_default();
    let name = within(last, "\"", "\"").or_else(|| within(last, "'", "'")).or_else(|| last.strip_prefix(':'));
    is_root && name.is_some_and(|name| is_in(ROOTS, root) || names_a_blank(field, name, parameter))
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

fn within<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.strip_prefix(open).and_then(|text| text.strip_suffix(close))
}

/// `$name`, `$session.params.name`, `$.body.name`, `$_POST['name']`, `=$json.name`, but not `$100 Startup`.
fn is_variable(field: Field, text: &str, parameter: &str) -> bool {
    let text = text.strip_prefix('=').unwrap_or(text);
    // Dialogflow: `#lead.name`.
    if let Some(path) = text.strip_prefix('#').filter(|path| path.contains('.') && is_name(path)) {
        return names_a_blank(field, path, parameter);
    }
    let Some(path) = text.strip_prefix('$') else { return false };
    let path = path.trim_start_matches(['$', '!']);
    let name = path.trim_start_matches(['.', '_', '[', '\'', '"']);
    if !name.starts_with(char::is_alphabetic) {
        return false;
    }
    if path.contains(' ') {
        return names_a_blank(field, path, parameter);
    }
    path.chars().all(|c| c.is_alphanumeric() || "_-.[](){}%/:'\"?|>,$".contains(c))
}

/// What Meta's tool for tests sends in every field of a lead.
const TEST_LEAD: &str = "<test lead: dummy data for ";

/// `{name}`, `{0}`, `{1.name}`, `{name|there}`, `<your name>`, `%NAME%`, `%%name%%`.
fn is_marked(text: &str) -> bool {
    let text = text.strip_prefix('=').unwrap_or(text);
    if let Some(inner) = within(text, "{", "}") {
        // Python's conversions.
        let inner = ["!r", "!s", "!a"].iter().find_map(|end| inner.strip_suffix(end)).unwrap_or(inner);
        let is_filtered = || {
            let name = inner.split([':', '|', ',', '=', '?']).next().unwrap_or_default();
            name.len() < inner.len()
                && is_name(name)
                && !inner.contains(['@', '{', '"'])
                && !inner.contains(": ")
        };
        // Custom fields of chatbots have numbers: `{cuf_1234567}`.
        let is_numbered = inner.contains('_')
            && inner.starts_with(char::is_alphabetic)
            && inner.chars().all(|c| c.is_alphanumeric() || c == '_');
        return is_name(inner)
            || is_filtered()
            || is_numbered
            || matches!(inner.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9']);
    }
    if text.starts_with(TEST_LEAD) {
        return true;
    }
    let tag = within(text, "<", ">").map(|inner| inner.trim_matches(['<', '>']));
    tag.or_else(|| within(text, "%", "%")).is_some_and(is_name)
}

/// Around a form's blank. `#[payload.name]` is Mule's, `@name@` Maven's, `!name!` of Windows' command files, `&name;` XML's.
const BLANK_MARKS: [(&str, &str); 13] = [
    ("[", "]"),
    ("«", "»"),
    ("__", "__"),
    ("##", "##"),
    ("#[", "]"),
    ("#", "#"),
    ("||", "||"),
    ("|", "|"),
    ("@@", "@@"),
    ("@", "@"),
    ("-", "-"),
    ("!", "!"),
    ("&", ";"),
];

/// `[your name]`, `[[name]]`, `«Nome»`, `__NAME__`, `##name##`, `|NAME|`. A company may be called `[solidcore]`.
fn is_blank(field: Field, text: &str, parameter: &str) -> bool {
    let inner = BLANK_MARKS.iter().find_map(|(open, close)| within(text, open, close));
    inner.is_some_and(|inner| {
        is_name(inner) && (!field.is_free_text() || names_a_blank(field, inner, parameter))
    })
}

/// Whether a text within marks can be the name of a variable or a blank. An address, a number and a date are
/// values, in any wrapping.
fn is_name(inner: &str) -> bool {
    let digits = inner.bytes().filter(u8::is_ascii_digit).count();
    let fits = inner.chars().all(|c| c.is_alphanumeric() || " _-.[]{}%/$".contains(c));
    let has_word = || inner.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().count() >= 3);
    let is_identifier = || digits <= 3 && !inner.contains(' ') && has_word();
    fits && inner.contains(char::is_alphabetic) && (digits == 0 || is_identifier())
}

fn names_a_blank(field: Field, name: &str, parameter: &str) -> bool {
    let name = folded(name);
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    name.trim_matches(['[', ']']) == folded(parameter)
        || words.any(|word| is_in(BLANKS, word) || word.eq_ignore_ascii_case(field.name()))
}

/// A format that was never applied: C's and Python's `%s`, `%(name)s` and `%1$s`, Go's `%!s(<nil>)`.
fn is_format(text: &str) -> bool {
    let Some(format) = text.strip_prefix('%') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(format, "s" | "d" | "i" | "f" | "v" | "q" | "@")
        || format.starts_with('(') && format.ends_with([')', 's', 'd', 'r'])
        || format.starts_with('!') && format.ends_with(')')
        || format
            .split_once('$')
            .is_some_and(|(place, end)| is_number(place) && matches!(end, "s" | "d" | "@"))
}

/// A person, a channel or a group in Slack, without a label: `<@U024BE7LH>`, `<!here>`.
fn is_mention(text: &str) -> bool {
    within(text, "<", ">").is_some_and(|inner| {
        let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_alphanumeric() || "^-_".contains(c));
        inner.strip_prefix(['@', '#', '!']).is_some_and(is_id)
    })
}
