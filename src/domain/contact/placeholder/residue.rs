//! Recognizes what a template engine, a workflow tool, a program or a spreadsheet left in place of a value.

use crate::domain::{contact::field::Field, value::text::folded};

/// No name, address or number contains any of these, so one of them makes the whole value residue, wherever it
/// is and also without its end: tools cut long texts.
///
/// In this order: Mustache, Handlebars, Liquid, Jinja, n8n, Make, Zapier; Liquid's and Jinja's tags; Jinja's
/// comments; Salesforce; JavaScript, shells, Velocity; Ruby, Workato; Power Automate; ERB, ASP; PHP, XML;
/// Mailchimp; Template Toolkit; two opening braces in a URL; n8n without its braces.
const OPENINGS: [&str; 23] = [
    "{{",
    "{%",
    "{#",
    "{!",
    "${",
    "$!{",
    "#{",
    "@{",
    "<%",
    "<?",
    "*|",
    "[%",
    "%7B%7B",
    "%7b%7b",
    "$('",
    "$(\"",
    "$json",
    "$node[",
    "$node.",
    "$input.",
    "$items(",
    "$fromAI(",
    "$workflow.",
];

/// Words that mark a bracketed text as a form's blank.
const BLANKS: &str = "name nome nombre sobrenome apellido email mail correo phone telefone telefono celular company \
    empresa your seu sua su insert inserir insertar insira ingrese digite customer cliente lead user";

/// Functions whose argument is the value (`=T("x")`, a link), in the languages of their spreadsheets.
const SHOWING: [&str; 4] = ["T", "HYPERLINK", "HIPERLINK", "HIPERVINCULO"];

/// Errors of spreadsheets between `#` and `!` or `?`, folded: Excel, Sheets and Calc in English, Portuguese,
/// Spanish, German, French and Italian.
const ERRORS: &str = "ref value valor name nome nombre div/0 null nulo num spill despejar desborde desbordamiento calc \
    field campo blocked bloqueado unknown connect conectar busy ocupado error erro python external n/a n/d wert bezug \
    zahl uberlauf valeur nom valore rif propagation";
/// Errors that end without a mark.
const UNMARKED_ERRORS: &str =
    "#n/a #n/d #nv #getting_data #obtendo_dados #obteniendo_datos loading... carregando... cargando...";
/// In bytes; a longer text is not an error.
const LONGEST_ERROR: usize = 32;

/// Whether a spreadsheet could not calculate the value: `#N/A`, `#REF!`, `#¡VALOR!`, `Err:502`.
pub(super) fn is_spreadsheet_error(text: &str) -> bool {
    if text.len() > LONGEST_ERROR || !(text.starts_with(['#', 'E']) || text.ends_with("...")) {
        return false;
    }
    let text = folded(text);
    if let Some(number) = text.strip_prefix("err:") {
        return number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    }
    let marked = text.strip_prefix('#').and_then(|name| name.strip_suffix(['!', '?']));
    marked.is_some_and(|name| is_in(ERRORS, name.trim_start_matches(['¡', '¿'])))
        || is_in(UNMARKED_ERRORS, &text)
}

/// Whether the text is an expression or a form's blank that was never filled in. `parameter` is the name of the
/// parameter that fills the field.
pub(super) fn is_expression(field: Field, text: &str, parameter: &str) -> bool {
    let is_suspect = text.contains(['$', '{', '<', '%', '[', '*', '«'])
        || text.starts_with(['=', '@', ':', '_', '#', '&']);
    is_suspect && is_left_over(field, text, parameter)
}

fn is_left_over(field: Field, text: &str, parameter: &str) -> bool {
    OPENINGS.iter().any(|opening| text.contains(opening))
        || is_one(field, text, parameter)
        || text.contains([' ', ',']) && {
            let mut words = text.split([' ', ',', ';']).filter(|word| !word.is_empty());
            words.all(|word| is_one(field, word, parameter) || is_spreadsheet_error(word))
        }
}

fn is_one(field: Field, text: &str, parameter: &str) -> bool {
    is_call(text)
        || is_format(text)
        || is_marked(text)
        || is_object(text)
        || is_variable(field, text, parameter)
        || is_blank(field, text, parameter)
        || text.strip_prefix([':', '@', '#', '%', '&', '=']).is_some_and(|name| name == parameter)
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
    let Some(path) = text.strip_prefix('$') else { return false };
    let path = path.trim_start_matches(['$', '!']);
    let name = path.trim_start_matches(['.', '_', '[', '\'', '"']);
    if !name.starts_with(char::is_alphabetic) {
        return false;
    }
    if path.contains(' ') {
        return names_a_blank(field, path, parameter);
    }
    path.chars().all(|c| c.is_alphanumeric() || "_-.[](){}%/:'\"?|>,".contains(c))
}

/// `{name}`, `{0}`, `{1.name}`, `<your name>`, `%NAME%`, `%%name%%`.
fn is_marked(text: &str) -> bool {
    let text = text.strip_prefix('=').unwrap_or(text);
    if let Some(inner) = within(text, "{", "}") {
        return is_name(inner) || matches!(inner.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9']);
    }
    let tag = within(text, "<", ">").map(|inner| inner.trim_matches(['<', '>']));
    tag.or_else(|| within(text, "%", "%")).is_some_and(is_name)
}

/// `[your name]`, `[[name]]`, `«Nome»`, `__NAME__`. A company may be called `[solidcore]`.
fn is_blank(field: Field, text: &str, parameter: &str) -> bool {
    let inner =
        within(text, "[", "]").or_else(|| within(text, "«", "»")).or_else(|| within(text, "__", "__"));
    inner.is_some_and(|inner| {
        is_name(inner) && (!field.is_free_text() || names_a_blank(field, inner, parameter))
    })
}

/// Whether a text within marks can be the name of a variable or a blank. An address, a number and a date are
/// values, whatever they are wrapped in.
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

/// What JavaScript and Python write for an object: `[object Promise]`, `<Lead object at 0x7f…>`.
fn is_object(text: &str) -> bool {
    let starts = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    starts("[object ") && text.ends_with(']')
        || text.starts_with('<') && text.ends_with('>') && text.contains(" object at 0x")
}

/// A formula or a call that was never evaluated: `=CONCATENATE(A1;B1)`, `=A1`, `@triggerBody()?['name']`.
fn is_call(text: &str) -> bool {
    let Some(call) = text.strip_prefix(['=', '@']) else { return false };
    let Some((name, _)) = call.split_once('(') else {
        return text.starts_with('=') && is_cell(call);
    };
    let is_identifier = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
    is_identifier
        && name.starts_with(char::is_alphabetic)
        && !SHOWING.contains(&&*folded(name).to_uppercase())
}

/// `A1`, `$A$1`, `Leads!B2`, `'My leads'!B2`.
fn is_cell(text: &str) -> bool {
    let cell = text.rsplit_once('!').map_or(text, |(_sheet, cell)| cell).replace('$', "");
    let row = cell.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let column = cell.len() - row.len();
    (1..=3).contains(&column) && !row.is_empty() && row.bytes().all(|byte| byte.is_ascii_digit())
}
