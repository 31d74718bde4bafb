//! Placeholders that no list names: templates, formulas and examples.

use super::*;

#[test]
fn templates_are_placeholders_anywhere() {
    let placeholders = placeholders();
    for (text, source) in [
        ("{{ $json.body.name }}", "n8n, docs: expressions"),
        ("={{ $json.name }}", "n8n: an expression in a fixed field"),
        ("{{ $('Webhook').item.json.company }}", "n8n, docs: referencing nodes"),
        ("$('Form Trigger').first().json.name", "n8n without braces"),
        ("$json.name", "n8n without braces"),
        ("{{ $fromAI('name', '', 'string') }}", "n8n, docs: AI parameters"),
        ("{{customerName}}", "Mustache"),
        ("{{{name}}}", "Mustache: unescaped"),
        ("{{#if name}}{{name}}{{/if}}", "Handlebars, docs: block helpers"),
        ("{{> person}}", "Handlebars: partials"),
        ("{{ customer.name | upcase }}", "Liquid, docs: filters"),
        ("{% if name %}Ada{% endif %}", "Liquid, Jinja: tags"),
        ("{% assign n = 'Ada' %}", "Liquid, docs: variables"),
        ("{# name #}", "Jinja, docs: comments"),
        ("{{ person.first_name|default:'' }}", "Django, Klaviyo"),
        ("{{1.name}}", "Make, docs: mapping"),
        ("{{2}}", "WhatsApp's message templates"),
        ("{{bundle.inputData.name}}", "Zapier, docs: platform CLI"),
        ("{{12345__full_name}}", "Zapier's editor"),
        ("Olá, {{nome}}!", "as above: text around it"),
        ("{{ $json.body.na", "as above: cut"),
        ("${customer.name}", "JavaScript's template literals"),
        ("${{ github.actor }}", "GitHub's workflows"),
        ("$!{name}", "Velocity"),
        ("#{lead.name}", "Ruby, CoffeeScript"),
        ("#{_('data.webhook.name')}", "Workato"),
        ("@{triggerBody()?['name']}", "Power Automate"),
        ("@triggerBody()?['name']", "Power Automate without braces"),
        ("<%= lead.name %>", "Ruby: ERB, EJS"),
        ("<?= $name ?>", "PHP"),
        ("<? $name ?>", "Watson Assistant"),
        ("{!Contact.Name}", "Salesforce's merge fields"),
        ("*|FNAME|*", "Mailchimp's merge tags"),
        ("[% name %]", "Template Toolkit"),
        ("$(name)", "shells: a command"),
        ("$(cat name)", "shells: a command"),
        ("$((x))", "shells: a sum"),
        ("%{name}", "Ruby, Logstash, Elixir"),
        ("%%=v(@name)=%%", "Marketing Cloud"),
        ("%7B%7Bname%7D%7D", "RFC 3986, 2.1: two braces"),
        ("{{name}}@firma.example", "as above: only a part is a template"),
    ] {
        for field in [Field::Name, Field::Company, Field::Phone, Field::Email, Field::Street] {
            let why = placeholders.why(field, text, "parameter");
            assert_eq!(why, Some(Why::Expression), "{field} {text} ({source})");
        }
    }
}

/// Field, text and source.
const IN_MARKS: &[(Field, &str, &str)] = &[
    (Field::Name, "$customerName", "SuiteCRM: variables with a dollar sign"),
    (Field::Name, "$NAME", "shells"),
    (Field::Name, "$env:NAME", "PowerShell"),
    (Field::Name, "$session.params.name", "Dialogflow"),
    (Field::Name, "$.body.name", "JSONPath, Step Functions"),
    (Field::Name, "$_POST['name']", "PHP"),
    (Field::Name, "$first_name $last_name", "as above: two of them"),
    (Field::Name, "{name}", "Python's format"),
    (Field::Name, "{0}", "C#, Python: by position"),
    (Field::Name, "{1.name}", "Make without one pair"),
    (Field::Name, "{first_name} {last_name}", "as above: two of them"),
    (Field::Name, "%name%", "Windows variables"),
    (Field::Name, "%%first_name%%", "Marketing Cloud, Pardot"),
    (Field::Name, "%FIRSTNAME% %LASTNAME%", "as above: two of them"),
    (Field::Name, "%(name)s", "Python"),
    (Field::Name, "%s", "C"),
    (Field::Name, "%1$s", "Java, PHP"),
    (Field::Name, "%!s(<nil>)", "Go's fmt"),
    (Field::Name, "%!v(MISSING)", "Go's fmt"),
    (Field::Name, "<name>", "http://docopt.org: an argument"),
    (Field::Name, "<<Nome>>", "Word: mail merge"),
    (Field::Name, "«Nome»", "Word's merge fields"),
    (Field::Name, "[name]", "forms"),
    (Field::Name, "[[nome]]", "forms"),
    (Field::Name, "__NAME__", "LLM habit: a blank"),
    (Field::Company, "[Insert company here]", "forms"),
    (Field::City, "[city]", "as above: the field's own name"),
    (Field::ZipCode, "[x]", "forms"),
    (Field::Email, "[x]", "forms"),
    (Field::Email, "{nome}@empresa.example", "as above: the mailbox is a blank"),
    (Field::Name, ":parameter", "SQL: the parameter's name"),
    (Field::Name, "[object Object]", "JavaScript"),
    (Field::Name, "[object Object],[object Object]", "JavaScript: a list"),
    (Field::Name, "<Lead object at 0x7f3b5c>", "Python"),
    (Field::Name, "=A1", "spreadsheets: a cell"),
    (Field::Name, "=Leads!$B$2", "spreadsheets: a cell of another sheet"),
    (Field::Name, "=CONCATENAR(A1;\" \";B1)", "spreadsheets: a formula"),
    (Field::Name, "=VLOOKUP(A2,Leads!A:B,2,0)", "spreadsheets: a formula"),
    (Field::Name, "=A1&\" \"&B1", "spreadsheets: the formula for a full name"),
    (Field::Name, "=B2+C2", "spreadsheets: a sum"),
    (Field::Name, "=[@Nome]", "Excel: the column of a table"),
    (Field::Name, "#name#", "https://cfdocs.org: ColdFusion's variables"),
    (Field::Name, "##first_name##", "as above: merge tags"),
    (Field::Name, "|NAME|", "as above: merge tags"),
    (Field::Name, "||name||", "as above: merge tags"),
    (Field::Name, "{name|there}", "as above: a tag with its default"),
    (Field::Name, "{contact:name}", "WordPress: a tag of a form"),
    (Field::Name, "{first_name,fallback=}", "as above: a tag with its default"),
    (Field::Name, "{cuf_1234567}", "https://manychat.com: a custom field"),
    (Field::Name, "#lead.name", "Dialogflow: a context"),
    (Field::Name, "({name})", "as above: in parentheses"),
    (Field::Name, "($name)", "as above: in parentheses"),
    (Field::Name, "$first_$last", "as above: two of them"),
    (Field::Name, "<@U024BE7LH>", "Slack's mrkdwn: a mention without its label"),
    (Field::Name, "<!here>", "Slack's mrkdwn: a group"),
    (Field::Name, "getName()", "Java: a call"),
    (Field::Name, "lead.name()", "Ruby: a call"),
    (Field::Name, "self.name", "Python: an attribute"),
    (Field::Name, "lead[\"name\"]", "Python: an item"),
    (Field::Name, "data[0]['nome']", "JavaScript: an item"),
    (Field::Name, "TypeError: name is undefined", "JavaScript"),
];

#[test]
fn whole_values_in_marks_are_placeholders() {
    let placeholders = placeholders();
    for &(field, text, source) in IN_MARKS {
        let why = placeholders.why(field, text, "parameter");
        assert_eq!(why, Some(Why::Expression), "{field} {text} ({source})");
    }
}

/// Each of these once was taken for a template, and the key was lost.
#[test]
fn values_in_marks_are_values() {
    let placeholders = placeholders();
    for (field, text) in [
        (Field::Email, "[ada@x.example]"),
        (Field::Email, "<ada@x.example>"),
        (Field::Email, "{ada@x.example}"),
        (Field::Email, "o'neil_{x}@a.b-c.example"),
        (Field::Email, "<mailto:ada@x.example|ada@x.example>"),
        (Field::Email, "[ada@x.example](mailto:ada@x.example)"),
        (Field::Phone, "[85 99999-0001]"),
        (Field::Phone, "<85 99999-0001>"),
        (Field::Phone, "{85999990001}"),
        (Field::Phone, "[85 3333-4444 ramal 12]"),
        (Field::Birthday, "[1990-05-20]"),
        (Field::Birthday, "<20 de maio de 1990>"),
        (Field::Identity, "[AB123456]"),
        (Field::Identity, "<12abc34501de35>"),
        (Field::ZipCode, "[K1A 0B1]"),
        (Field::Name, "<b>Ada Lovelace</b>"),
        (Field::Name, "<a href=\"https://x.example\">Ada</a>"),
        (Field::Name, "**Ada**"),
        (Field::Name, "__Ada__"),
        (Field::Name, "=\"Ada\""),
        (Field::Name, "=T(\"Ada\")"),
        (Field::Email, "=HYPERLINK(\"mailto:ada@x.example\";\"ada@x.example\")"),
        (Field::Phone, "=+5585999990001"),
        (Field::Name, "@ada"),
        (Field::Company, "$tart Up"),
        (Field::Company, "$(5) Shop"),
        (Field::Name, "{name: Ana}"),
        (Field::Name, "{\"name\":\"Ana\"}"),
        (Field::Identity, "{AB123456}"),
        (Field::Company, "#1.2 Pizza"),
        (Field::Name, "(Ana)"),
        (Field::Phone, "|85 99999-0001|"),
        (Field::Name, "<@U024BE7LH|ana>"),
        (Field::Company, "#1 Pizza!"),
        (Field::Company, "Café()"),
        (Field::Company, "ana[bia]"),
    ] {
        assert_eq!(placeholders.why(field, text, "parameter"), None, "{field} {text}");
    }
}

#[test]
fn spreadsheet_errors_and_punctuation_are_placeholders() {
    let placeholders = placeholders();
    for (text, source) in [
        ("#N/A", "Excel, Sheets"),
        ("#n/a", "as above: any case"),
        ("#REF!", "Excel"),
        ("#VALUE!", "Excel"),
        ("#NAME?", "Excel"),
        ("#DIV/0!", "Excel"),
        ("#NULL!", "Excel"),
        ("#NUM!", "Excel"),
        ("#SPILL!", "Excel 365"),
        ("#CALC!", "Excel 365"),
        ("#GETTING_DATA", "Excel"),
        ("#ERROR!", "Sheets"),
        ("Loading...", "Sheets"),
        ("#N/D", "Excel in Portuguese and Spanish"),
        ("#VALOR!", "Excel in Portuguese"),
        ("#NOME?", "Excel in Portuguese"),
        ("#NÚM!", "Excel in Portuguese"),
        ("#¡REF!", "Excel in Spanish"),
        ("#¡VALOR!", "Excel in Spanish"),
        ("#¿NOMBRE?", "Excel in Spanish"),
        ("#VALEUR!", "Excel in French"),
        ("#NV", "Excel in German"),
        ("#WERT!", "Excel in German"),
        ("Err:502", "LibreOffice Calc"),
        ("#REF", "Excel, without its mark"),
        ("=#REF!", "Excel: the cell was deleted"),
        ("=#N/A", "Excel"),
        ("#Н/Д", "Excel in Russian"),
        ("#ЗНАЧ!", "Excel in Russian"),
        ("#ССЫЛКА!", "Excel in Russian"),
        ("#ИМЯ?", "Excel in Russian"),
        ("#ADR!", "Excel in Polish"),
        ("#DEĞER!", "Excel in Turkish"),
        ("#WAARDE!", "Excel in Dutch"),
    ] {
        for field in [Field::Name, Field::ZipCode, Field::Phone] {
            let why = placeholders.why(field, text, "parameter");
            assert_eq!(why, Some(Why::SpreadsheetError), "{field} {text} ({source})");
        }
    }
    for text in
        ["-", "...", "—", "??", "####", "{}", "[]", "\"\"", "''", "()", "- / -", "…", "!", "████", "■■■"]
    {
        assert_eq!(placeholders.why(Field::City, text, "parameter"), Some(Why::Filler), "{text}");
    }
    assert_eq!(placeholders.why(Field::City, "parameter", "parameter"), Some(Why::OwnName));
}

#[test]
fn addresses_of_examples_are_placeholders() {
    let placeholders = placeholders();
    for (email, source) in [
        ("user@example.com", "LLM habit"),
        ("ada.lovelace@example.com", "RFC 2606, 3"),
        ("ada@example.net", "RFC 2606, 3"),
        ("ada@example.org", "RFC 2606, 3"),
        ("ada@mail.example.com", "RFC 2606, 3: a part of it"),
        ("Test@Example.com", "as above: any case"),
        ("ada@analytical.test", "RFC 2606, 2"),
        ("ada@analytical.invalid", "RFC 2606, 2"),
        ("ada@app.localhost", "RFC 6761, 6.3"),
        ("john.doe@firma.example", "LLM habit"),
        ("JohnDoe@gmail.com", "LLM habit"),
        ("jane_doe@firma.example", "LLM habit"),
        ("fulano@gmail.com", "Portuguese: John Doe"),
        ("fulano.de.tal@firma.example", "Portuguese: John Doe"),
        ("seunome@gmail.com", "Portuguese: your name"),
        ("seu.email@firma.example", "Portuguese: your email"),
        ("tucorreo@gmail.com", "Spanish: your mail"),
        ("ada@exemplo.com", "Portuguese: example"),
        ("ada@exemplo.com.br", "Portuguese: example"),
        ("ada@ejemplo.com", "Spanish: example"),
        ("ada@seudominio.com.br", "Portuguese: your domain"),
        ("ada@yourcompany.com", "LLM habit"),
        ("email@email.com", "typed to get past a form"),
        ("joao@email.com", "LLM habit"),
        ("teste@teste.com", "typed to get past a form"),
        ("null@null.com", "JavaScript: two parts that were not there"),
        ("undefined@undefined.com.br", "JavaScript: two parts that were not there"),
        ("none@none.example", "Python: two parts that were not there"),
        ("naotem@naotem.com", "Portuguese: has none, twice"),
        ("notprovided@firma.example", "as above: a phrase without its space"),
        ("nao.informado@firma.example", "Portuguese: a phrase with a dot"),
        ("naoinformado@email.com", "Portuguese: a phrase without its space"),
        ("noemail@gmail.com", "LLM habit"),
        ("sememail@firma.example", "Portuguese: without email"),
        ("unknown@gmail.com", "LLM habit"),
        ("sem@email.com", "Portuguese: without"),
        ("your@email.com", "forms"),
        ("john@email.com", "LLM habit"),
        ("example@email.com", "LLM habit"),
        ("user@company.com", "LLM habit"),
        ("info@company.com", "LLM habit"),
        ("test@mail.com", "typed to get past a form"),
        ("foo@bar.com", "Jargon File: foo, bar"),
        ("name@example.co", "LLM habit: another top-level domain"),
        ("user@example.co.uk", "LLM habit: another top-level domain"),
        ("usuario@ejemplo.es", "Spanish: example"),
        ("user@domain.com.br", "LLM habit"),
        ("maria.silva@empresa.com", "Portuguese: a name at \"company\""),
    ] {
        assert_eq!(
            placeholders.why(Field::Email, email, "parameter"),
            Some(Why::Example),
            "{email} ({source})"
        );
    }
}

#[test]
fn other_addresses_are_no_placeholders() {
    let placeholders = placeholders();
    for (email, reason) in [
        ("ada@firma.example", "stands for a real one"),
        ("ada@notexample.com", "another domain"),
        ("ada@example.com.evil.example", "another domain"),
        ("ada@example.co", "another domain"),
        ("johndoering@firma.example", "another name"),
        ("doe@firma.example", "another name"),
        ("ada@contest.com", "another ending"),
        ("ada@localhost", "RFC 6761: the parser refuses it"),
        ("null@firma.example", "a mailbox"),
        ("ada@email.com", "mail.com has customers there"),
        ("john.appleseed@mail.com", "mail.com has customers there"),
        ("ada@company.com", "a person's name that no example has"),
        ("info@firma.example", "a mailbox"),
        ("contato@empresa.example", "stands for a real one"),
        ("nose@gmail.com", "too short for a phrase without its space"),
        ("maria@mail.ru", "a provider in Russia"),
        ("juan@email.cz", "a provider in Czechia"),
        ("maria@mail.utoronto.ca", "a university"),
        ("info@mail.acme.com", "a company's own"),
        ("contato@empresa.digital", "a company's own"),
        ("john@company.acme.io", "a company's own"),
        ("maria@mail.com", "mail.com has customers there"),
        ("**ada@firma.example**", "CommonMark, 6.2: bold"),
        ("**E-mail:** ada@firma.example", "CommonMark, 6.2: a bold label"),
        ("[**ada@firma.example**](mailto:ada@firma.example)", "CommonMark, 6.2 and 6.3"),
    ] {
        assert_eq!(placeholders.why(Field::Email, email, "parameter"), None, "{email} ({reason})");
    }
}
