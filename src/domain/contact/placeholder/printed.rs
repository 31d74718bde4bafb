//! What programming languages write for an object that has no text, `[object Object]`, `<Lead object at 0x7f3a2c>`, and when
//! they fail: `TypeError: …`.

/// What is in brackets, in lower case: JavaScript's objects and functions, Go's maps, n8n's errors.
const IN_BRACKETS: [&str; 10] = [
    "[object ",
    "[function",
    "[asyncfunction",
    "[circular",
    "[getter",
    "[native code",
    "[error:",
    "[execute node",
    "[invalid syntax",
    "map[",
];
/// What is in angle brackets: Python, and Ruby after a `#`.
const IN_ANGLES: [&str; 5] = [" object at 0x", "<function ", "<bound method ", "<class '", "<built-in "];
/// What lists and maps begin with in PHP's `print_r` and `var_dump`, in lower case.
const DUMPS: [&str; 4] = ["array (", "array(", "stdclass object (", "object("];
/// What an address in memory comes after: Perl's references, Lua's tables.
const ADDRESSES: [&str; 5] = ["HASH(0x", "ARRAY(0x", "CODE(0x", "table: 0x", "function: 0x"];

/// In bytes; a shorter text is no message of an error.
const SHORTEST_ERROR: usize = 12;
/// What messages of errors begin with: Liquid; JavaScript; Ruby; PHP; Python; .NET; Go; Java.
const MESSAGES: [&str; 25] = [
    "Liquid error: ",
    "Liquid error (",
    "Liquid syntax error",
    "Liquid warning: ",
    "undefined is not ",
    "null is not an object",
    "Cannot read propert",
    "Can't find variable: ",
    "undefined method ",
    "undefined local variable ",
    "Undefined variable",
    "Undefined index",
    "Undefined array key ",
    "Undefined property",
    "Warning: Undefined ",
    "Notice: Undefined ",
    "Traceback (most recent call last)",
    "Object reference not set to an instance",
    "panic: runtime error",
    "Exception in thread ",
    "NullPointerException",
    "list index out of range",
    "string indices must be integers",
    "Request failed with status code ",
    "'NoneType' object ",
];

/// Whether the text is the message of an error: `TypeError: Cannot read properties of undefined (reading 'name')`.
pub(super) fn is_error(text: &str) -> bool {
    if text.len() < SHORTEST_ERROR {
        return false;
    }
    is_message(text) || begins_with_error(text.strip_prefix("Uncaught ").unwrap_or(text))
}

fn is_message(text: &str) -> bool {
    let may_be_one = matches!(
        text.bytes().next(),
        Some(
            b'L' | b'u'
                | b'U'
                | b'n'
                | b'C'
                | b'W'
                | b'N'
                | b'T'
                | b'O'
                | b'p'
                | b'E'
                | b'l'
                | b's'
                | b'R'
                | b'\''
        )
    );
    may_be_one && MESSAGES.iter().any(|message| text.starts_with(message))
}

/// Whether the class of an error is before the text: `KeyError: 'name'`, `java.lang.NullPointerException`.
fn begins_with_error(text: &str) -> bool {
    let is_of_a_class = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let end = text.find(|c: char| !is_of_a_class(c)).unwrap_or(text.len());
    let Some((class, rest)) = text.split_at_checked(end) else { return false };
    let is_error = ["Error", "Exception"].iter().any(|kind| {
        class.strip_suffix(kind).is_some_and(|which| which.ends_with(|c: char| c.is_ascii_lowercase()))
    });
    // `Error: Ana Souza` may be a band.
    let is_bare = || {
        let is_class = matches!(class, "Error" | "Exception");
        is_class && rest.strip_prefix(": ").is_some_and(|rest| is_message(rest) || begins_with_error(rest))
    };
    let is_call = || ["('", "(\"", "()"].iter().any(|call| rest.starts_with(call)) && rest.ends_with(')');
    is_error && (rest.starts_with(':') || rest.is_empty() && class.contains('.') || is_call()) || is_bare()
}

/// Whether the text is an object with marks around it.
pub(super) fn is_marked_object(text: &str) -> bool {
    let starts = |with: &&str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    text.ends_with(']') && IN_BRACKETS.iter().any(starts)
        || text.ends_with('>')
            && (text.starts_with('<') && IN_ANGLES.iter().any(|sign| text.contains(sign))
                || text.starts_with("#<"))
}

/// Whether the text is any other object that a program has printed.
pub(super) fn is_object(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.last() {
        Some(b')') => {
            ADDRESSES.iter().any(|sign| text.starts_with(sign)) || text.contains("=>") && is_dump(text)
        }
        Some(b'}') => text.contains("[native code]") || text.contains("=>") && is_dump(text),
        Some(b']') => IN_BRACKETS.last().is_some_and(|map| text.starts_with(map)) || is_type(text),
        Some(byte) if byte.is_ascii_alphanumeric() => {
            bytes.contains(&b'@') && is_java_object(text)
                || bytes.contains(&b':') && ADDRESSES.iter().any(|sign| text.starts_with(sign))
                || is_type(text)
        }
        _ => false,
    }
}

fn is_dump(text: &str) -> bool {
    DUMPS.iter().any(|with| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with)))
}

/// `java.lang.Object@1b6d3586`, `[Ljava.lang.String;@4e25154f`: the class and a hash (Java, `Object.toString`).
fn is_java_object(text: &str) -> bool {
    let Some((class, hash)) = text.rsplit_once('@') else { return false };
    let is_hash = (5..=8).contains(&hash.len())
        && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && hash.bytes().any(|byte| byte.is_ascii_digit());
    let is_class = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '$' | '_' | '[' | ';');
    is_hash && class.contains(['.', '[', '$']) && class.chars().all(is_class)
}

/// A type of .NET that has no text: ``System.Collections.Generic.List`1[System.String]``.
fn is_type(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("System.") else { return false };
    // `System.Net` may be a firm; objects are deeper in their namespaces.
    let is_deep = rest.contains(['.', '`', '[']);
    let is_known = || ["Object", "String", "Int32", "Int64", "DBNull", "DateTime", "Guid"].contains(&rest);
    rest.starts_with(|c: char| c.is_ascii_uppercase())
        && (is_deep || is_known())
        && rest
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '`' | '[' | ']' | ',' | '_' | '+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_without_a_text_are_recognized() {
        for (text, source) in [
            ("[object Object]", "JavaScript: an object as text"),
            ("[object Promise]", "JavaScript: a promise"),
            ("[Function: name]", "https://nodejs.org/api/util.html#utilinspectobject-options"),
            ("[Function (anonymous)]", "https://nodejs.org/api/util.html#utilinspectobject-options"),
            ("[AsyncFunction: name]", "https://nodejs.org/api/util.html#utilinspectobject-options"),
            ("[Circular *1]", "https://nodejs.org/api/util.html#utilinspectobject-options"),
            ("function name() { [native code] }", "ECMA-262, 20.2.3.5"),
            ("[ERROR: No value]", "n8n: an expression that failed"),
            ("[Execute node 'Webhook' for preview]", "n8n: an expression without its data"),
            ("map[name:Ana]", "https://pkg.go.dev/fmt: a map"),
            ("<Lead object at 0x7f3a2c>", "Python: repr of an object"),
            ("<object object at 0x7f3a2c>", "Python: repr of an object"),
            ("<function name at 0x7f3a2c>", "Python: repr of a function"),
            (
                "<bound method Lead.name of <Lead object at 0x7f3a2c>>",
                "Python: a call without its parentheses",
            ),
            ("<class 'NoneType'>", "Python: repr of a type"),
            ("<built-in function id>", "Python: a name that is taken"),
            ("#<Contact:0x000055d0c8>", "Ruby: inspect"),
            ("#<Contact id: 1, name: nil>", "Ruby: inspect of a record"),
            ("java.lang.Object@1b6d3586", "Java: Object.toString"),
            ("com.acme.Lead$Name@4e25154f", "Java: Object.toString of an inner class"),
            ("[Ljava.lang.String;@4e25154f", "Java: Object.toString of an array"),
            ("System.Object", "https://learn.microsoft.com/en-us/dotnet/api/system.object.tostring"),
            (
                "System.Collections.Generic.List`1[System.String]",
                "https://learn.microsoft.com/en-us/dotnet/api/system.object.tostring",
            ),
            ("System.String[]", "https://learn.microsoft.com/en-us/dotnet/api/system.object.tostring"),
            ("HASH(0x55d0c8e1f2a0)", "https://perldoc.perl.org/perlref: a reference as text"),
            ("ARRAY(0x55d0c8e1f2a0)", "https://perldoc.perl.org/perlref: a reference as text"),
            ("table: 0x55d0c8e1f2a0", "https://www.lua.org/manual/5.4/manual.html#pdf-tostring"),
            ("Array ( [0] => Ana )", "https://www.php.net/manual/en/function.print-r.php"),
            ("stdClass Object ( [name] => Ana )", "https://www.php.net/manual/en/function.print-r.php"),
            ("array(1) { [0]=> string(3) \"Ana\" }", "https://www.php.net/manual/en/function.var-dump.php"),
        ] {
            assert!(is_object(text) || is_marked_object(text), "{text} ({source})");
        }
    }

    #[test]
    fn errors_are_no_values() {
        for (text, source) in [
            ("Liquid error: undefined variable name", "Liquid: strict variables"),
            ("Liquid error (line 1): divided by 0", "Liquid"),
            ("TypeError: Cannot read properties of undefined (reading 'name')", "JavaScript: V8"),
            ("Uncaught TypeError: lead is null", "JavaScript: Firefox"),
            ("undefined is not an object", "JavaScript: Safari"),
            ("undefined is not an object (evaluating 'lead.name')", "JavaScript: Safari"),
            ("Cannot read property 'name' of undefined", "JavaScript: V8 before version 9"),
            ("ReferenceError: name is not defined", "JavaScript"),
            ("KeyError: 'name'", "Python"),
            ("KeyError('name')", "Python: repr"),
            ("list index out of range", "Python"),
            ("NullPointerException", "Java"),
            ("Error: Cannot read properties of undefined", "JavaScript"),
            ("Error: Request failed with status code 404", "https://axios-http.com/docs/handling_errors"),
            ("AttributeError: 'NoneType' object has no attribute 'name'", "Python"),
            ("jinja2.exceptions.UndefinedError: 'lead' is undefined", "Jinja"),
            ("Traceback (most recent call last): File \"x.py\"", "Python"),
            ("undefined method `name' for nil:NilClass", "Ruby"),
            ("NoMethodError: undefined method `name' for nil", "Ruby"),
            ("java.lang.NullPointerException", "Java"),
            ("java.lang.NullPointerException: name", "Java"),
            ("Exception in thread \"main\" java.lang.Error", "Java"),
            ("System.NullReferenceException: Object reference not set to an instance of an object.", ".NET"),
            ("Object reference not set to an instance of an object.", ".NET"),
            ("Warning: Undefined variable $name in x.php", "PHP"),
            ("Undefined array key \"name\"", "PHP"),
            ("panic: runtime error: invalid memory address or nil pointer dereference", "Go"),
        ] {
            assert!(is_error(text), "{text} ({source})");
        }
        for text in [
            "TypeError",
            "Terror: o bar",
            "Human Error: Records",
            "Error: Ana Souza",
            "undefined labs",
            "Undefined Labs",
            "Trial & Error Ltda",
            "NoException",
            "Ana Souza da Silva",
            "",
        ] {
            assert!(!is_error(text), "{text}");
        }
    }

    #[test]
    fn names_and_addresses_are_none() {
        for text in [
            "Ana",
            "ana@x.example",
            "ana.souza@abcdef",
            "ada@facade.example",
            "System",
            "System of a Down",
            "System.Net",
            "System.de",
            "[solidcore]",
            "Map [Fortaleza]",
            "#1 <Pizza>",
            "<Ana>",
            "Object Design (Brasil)",
            "Array Filmes (SP)",
            "Table: 12",
            "Function}",
            "",
        ] {
            assert!(!is_object(text) && !is_marked_object(text), "{text}");
        }
    }
}
