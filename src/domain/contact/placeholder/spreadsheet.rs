//! Recognizes what a spreadsheet shows instead of a result, and formulas and calls that were never evaluated.

use crate::domain::value::text::folded;

/// Errors of spreadsheets between `#` and `!` or `?`, folded: Excel, Sheets and Calc in English, Portuguese,
/// Spanish, German, French, Italian, Russian, Polish, Turkish and Dutch.
const ERRORS: &str = "ref value valor name nome nombre div/0 null nulo num spill despejar desborde desbordamiento calc \
    field campo blocked bloqueado unknown connect conectar busy ocupado error erro python external n/a n/d wert bezug \
    zahl uberlauf valeur nom valore rif propagation nv n/disp desbordar timeout array illegal \
    н/д знач ссылка имя дел/0 пусто число перенос вычисл arg adr liczba nazwa dziel/0 yok deger basv ad sayi sayi/0 bos \
    waarde verw naam getal deel/0 nb n/b leeg";
/// Errors that end without a mark.
const UNMARKED_ERRORS: &str = "#n/a #n/d #н/д #yok #nb #nv #n/disp #ref #valor #value #div/0 #null #nulo #getting_data #obtendo_dados \
    #obteniendo_datos loading... carregando... cargando... chargement... caricamento... ladt...";
/// In bytes; a longer text is not an error.
const LONGEST_ERROR: usize = 32;

/// Functions whose argument is the value (`=T("x")`, a link), in the languages of their spreadsheets.
const SHOWING: [&str; 4] = ["T", "HYPERLINK", "HIPERLINK", "HIPERVINCULO"];

/// In bytes; a longer text is not read as a formula.
const LONGEST_FORMULA: usize = 2048;

/// Between the operands of a formula.
const OPERATORS: [char; 12] = ['&', '+', '-', '*', '/', '^', ',', ';', '=', '<', '>', ':'];

/// Whether a spreadsheet could not calculate the value: `#N/A`, `#REF!`, `=#REF!`, `#¡VALOR!`, `Err:502`.
pub(super) fn is_spreadsheet_error(text: &str) -> bool {
    let text = text.strip_prefix('=').unwrap_or(text);
    if text.len() > LONGEST_ERROR || !(text.starts_with(['#', 'E']) || text.ends_with(['.', '…'])) {
        return false;
    }
    let text = folded(text).replace('…', "...");
    if let Some(number) = text.strip_prefix("err:") {
        return number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    }
    let marked = text.strip_prefix('#').and_then(|name| name.strip_suffix(['!', '?']));
    marked.is_some_and(|name| is_in(ERRORS, name.trim_start_matches(['¡', '¿'])))
        || is_in(UNMARKED_ERRORS, &text)
}

/// A formula or a call that was never evaluated: `=CONCATENATE(A1;B1)`, `=A1`, `=A1&" "&B1`, `@triggerBody()?['name']`.
pub(super) fn is_call(text: &str) -> bool {
    let Some(call) = text.strip_prefix(['=', '@']) else { return false };
    is_function(call) || text.starts_with('=') && call.len() <= LONGEST_FORMULA && is_formula(call)
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Whether the text begins with the call of a function that calculates.
fn is_function(text: &str) -> bool {
    let Some((name, arguments)) = text.split_once('(') else { return false };
    let is_identifier = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
    is_identifier
        && name.starts_with(char::is_alphabetic)
        && !(arguments.trim_start().starts_with('"') && SHOWING.contains(&&*folded(name).to_uppercase()))
}

/// Whether operands are joined by operators and one of them is a cell, a column or a call. Numbers and quoted texts
/// alone are values: `=+5585999990001`, `="Ana"`.
fn is_formula(formula: &str) -> bool {
    let mut rest = formula;
    let mut refers = false;
    loop {
        rest = rest.trim_start_matches(['(', ' ', '+', '-']);
        if is_function(rest) {
            return true;
        }
        let Some((is_reference, after)) = operand(rest) else { return false };
        refers |= is_reference;
        let after = after.trim_start_matches([')', ' ', '%']);
        if after.is_empty() {
            return refers;
        }
        let Some(next) = after.strip_prefix(OPERATORS) else { return false };
        rest = next;
    }
}

/// Whether the operand at the start is a reference, and the text after it. `None` if there is no operand.
fn operand(text: &str) -> Option<(bool, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').map(|(_, after)| (false, after));
    }
    // `'My leads'!B2`
    if let Some(sheet) = text.strip_prefix('\'') {
        let (_, cell) = sheet.split_once("'!")?;
        let (cell, after) = until_operator(cell)?;
        return is_cell(cell).then_some((true, after));
    }
    // `[@Nome completo]`, `Tabela1[@Nome]`
    if let Some((table, column)) = text.split_once('[').filter(|(table, _)| table.chars().all(is_of_a_name)) {
        let (column, after) = column.split_once(']')?;
        let is_column = column.starts_with('@') || !table.is_empty();
        return (is_column && !column.is_empty()).then(|| (true, after.trim_start_matches(']')));
    }
    // `#REF!`, `#N/A`, `#DIV/0!`: a slash may belong to it.
    if text.starts_with('#') {
        let end = text.find(['!', '?', '&', '+', ',', ';', ')', ' ']).unwrap_or(text.len());
        let is_marked = text.get(end..).is_some_and(|rest| rest.starts_with(['!', '?']));
        let (error, after) = text.split_at_checked(end + usize::from(is_marked))?;
        return is_spreadsheet_error(error).then_some((true, after));
    }
    let (word, after) = until_operator(text)?;
    if is_cell(word) {
        return Some((true, after));
    }
    let is_number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_number.then_some((false, after))
}

fn until_operator(text: &str) -> Option<(&str, &str)> {
    let end =
        text.find(|c: char| OPERATORS.contains(&c) || matches!(c, ')' | ' ' | '%')).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.')
}

/// `A1`, `$A$1`, `Leads!B2`.
fn is_cell(text: &str) -> bool {
    let cell = text.rsplit_once('!').map_or(text, |(_sheet, cell)| cell).replace('$', "");
    let row = cell.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let column = cell.len() - row.len();
    (1..=3).contains(&column) && !row.is_empty() && row.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_told_from_values() {
        for (text, source) in [
            ("=A1", "Excel: a cell"),
            ("=$A$1", "Excel: a cell that does not move"),
            ("=Leads!$B$2", "Excel: a cell of another sheet"),
            ("='My leads'!B2", "Excel: a cell of a sheet with a space"),
            ("=A1&\" \"&B1", "Excel: the usual formula for a full name"),
            ("=A2 & \", \" & B2", "Excel: with spaces"),
            ("=\"Lead \"&A1", "Excel: a text first"),
            ("=B2+C2", "Excel: a sum"),
            ("=-A1*2", "Excel: a sign"),
            ("=(A1+B1)/2", "Excel: parentheses"),
            ("=A1:B2", "Excel: a range"),
            ("=#REF!", "Excel: the cell was deleted"),
            ("=#REF!&A1", "Excel: one of the cells was deleted"),
            ("=#N/A", "Excel: not available"),
            ("=[@Nome]", "Excel: the column of a table"),
            ("=[@[Nome completo]]", "Excel: a column with a space"),
            ("=Tabela1[@Nome]", "Excel: the column of another table"),
            ("=Leads[Nome]", "Excel: all of a column"),
            ("=A1&UPPER(B1)", "Excel: a call within"),
            ("=HYPERLINK(A1)", "Excel: a link to a cell"),
            ("=CONCATENAR(A1;\" \";B1)", "Excel: a call in Portuguese"),
            ("=SE(A1=\"\";B1;C1)", "Excel: a condition in Portuguese"),
            ("@triggerBody()?['name']", "Power Automate"),
        ] {
            assert!(is_call(text), "{text} ({source})");
        }
        for text in [
            "",
            "=",
            "=\"Ana\"",
            "=T(\"Ana\")",
            "=HYPERLINK(\"mailto:ada@x.example\";\"ada@x.example\")",
            "=85999990001",
            "=+5585999990001",
            "=+55 85 99999-0001",
            "=60175-055",
            "=x",
            "=Ana",
            "=a1",
            "=\"Ana",
            "=[solidcore]",
            "=)",
            "A1",
            "@ada",
        ] {
            assert!(!is_call(text), "{text}");
        }
    }
}
