//! What a migration must not do, because it runs while workers use the tables. `docs/development.md` has the rules for
//! people.

use std::collections::BTreeSet;

/// A migration with this first line runs without a transaction, and without a limit on its time.
const LONG: &str = "-- no-transaction\n";

/// Statements that may take long, because nobody waits for them. Each can be repeated.
const LONG_STATEMENTS: [&str; 4] = [
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS ",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ",
    "DROP INDEX CONCURRENTLY IF EXISTS ",
    "ALTER TABLE ",
];

/// Statements that take milliseconds. Those of a table must be about one table in each file, unless the file creates it.
const SHORT_STATEMENTS: [&str; 12] = [
    "CREATE TABLE ",
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    "CREATE SEQUENCE ",
    "CREATE VIEW ",
    "CREATE OR REPLACE VIEW ",
    "COMMENT ON ",
    "DROP TABLE ",
    "DROP SEQUENCE ",
    "DROP VIEW ",
    "DROP INDEX ",
    "ALTER TABLE ",
];

/// Parts of an `ALTER TABLE` that read or write all rows while the table is locked, and what to do instead.
const SLOW: [(&str, &str); 9] = [
    (" EXCLUDE ", "let the service check it"),
    (" TYPE ", "add a column of the new type"),
    (" SET NOT NULL", "add a NOT VALID constraint and validate it"),
    (" GENERATED ", "let the service write it"),
    ("SERIAL", "add a sequence"),
    (" UNIQUE", "create a unique index concurrently"),
    (" PRIMARY KEY", "create a unique index concurrently"),
    (" REFERENCES ", "let the service check it"),
    (" VALIDATE ", "validate it in a file without a transaction"),
];

/// Functions whose value is the same in the whole transaction. With another one as its default, a new column is written
/// to all rows.
const STABLE: [&str; 2] = ["NOW()", "CURRENT_TIMESTAMP"];

/// What is wrong with a migration.
pub(crate) fn faults(text: &str) -> Vec<String> {
    let statements = statements(text);
    if text.starts_with(LONG) {
        return match &*statements {
            [only] => long_fault(only).into_iter().collect(),
            _ => vec!["a file without a transaction has one statement".to_owned()],
        };
    }
    let created = statements.iter().filter_map(|statement| statement.strip_prefix("CREATE TABLE "));
    let created: BTreeSet<&str> = created.map(first_word).collect();
    let mut faults = Vec::new();
    let mut altered = BTreeSet::new();
    for statement in &statements {
        let about = table(statement).filter(|table| !created.contains(table));
        altered.extend(about.filter(|_| !statement.starts_with("CREATE ")));
        faults.extend(short_fault(statement, about.is_some()));
    }
    if altered.len() > 1 {
        faults.push(format!("changes several tables: {altered:?}; use a file for each"));
    }
    faults
}

fn long_fault(statement: &str) -> Option<String> {
    let is_known = LONG_STATEMENTS.iter().any(|known| statement.starts_with(known))
        && (!statement.starts_with("ALTER TABLE ") || statement.contains(" VALIDATE CONSTRAINT "));
    (!is_known).then(|| format!("`{statement}` does not belong into a file without a transaction"))
}

fn short_fault(statement: &str, exists: bool) -> Option<String> {
    if !SHORT_STATEMENTS.iter().any(|known| statement.starts_with(known))
        || statement.contains(" CONCURRENTLY ")
    {
        return Some(format!("`{statement}` does not belong into a file with a transaction"));
    }
    if statement.contains(" INDEX ") && statement.starts_with("CREATE ") {
        return exists.then(|| format!("`{statement}` keeps writers waiting; create it concurrently"));
    }
    if !statement.starts_with("ALTER TABLE ") || !exists {
        return None;
    }
    let slow = SLOW.iter().find(|(part, _)| statement.contains(part));
    if let Some((part, instead)) = slow {
        return Some(format!("`{statement}`:{part} takes as long as the table is large; {instead}"));
    }
    if statement.matches(" CHECK").count() > statement.matches(" NOT VALID").count() {
        return Some(format!("`{statement}` reads all rows; add NOT VALID, and validate it in another file"));
    }
    let default = statement.split(" DEFAULT ").skip(1).find(|value| {
        let value = value.split(',').next().unwrap_or_default();
        value.contains('(') && !STABLE.iter().any(|stable| value.starts_with(stable))
    });
    (default.is_some() && statement.contains(" ADD COLUMN "))
        .then(|| format!("`{statement}` may write all rows; use a constant default"))
}

/// The table that a statement changes.
fn table(statement: &str) -> Option<&str> {
    let after = [
        "ALTER TABLE IF EXISTS ",
        "ALTER TABLE ONLY ",
        "ALTER TABLE ",
        "DROP TABLE IF EXISTS ",
        "DROP TABLE ",
    ];
    if let Some(name) = after.iter().find_map(|begin| statement.strip_prefix(begin)) {
        return Some(first_word(name));
    }
    let (_, indexed) = statement.split_once(" ON ").filter(|(begin, _)| begin.contains(" INDEX "))?;
    Some(first_word(indexed))
}

fn first_word(text: &str) -> &str {
    text.split([' ', '(']).next().unwrap_or_default()
}

/// The statements in upper case, without comments, literals and repeated blanks.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let outside: String = code.join(" ").split('\'').step_by(2).collect::<Vec<_>>().join("''");
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
    outside.split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

#[test]
fn what_stops_workers_is_found() {
    for (text, found) in [
        ("CREATE TABLE new (id uuid PRIMARY KEY, n int CHECK (n > 0)); CREATE INDEX ON new (n);", None),
        (
            "ALTER TABLE contacts ADD COLUMN n smallint NOT NULL DEFAULT 0, ADD COLUMN at timestamptz DEFAULT now();",
            None,
        ),
        ("ALTER TABLE contacts ADD CONSTRAINT c CHECK (n > 0) NOT VALID;", None),
        ("-- no-transaction\nALTER TABLE contacts VALIDATE CONSTRAINT c;", None),
        ("-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i\n    ON contacts (n); -- why\n", None),
        ("DROP VIEW v; CREATE VIEW v AS SELECT ';' FROM contacts; ALTER TABLE contacts DROP COLUMN n;", None),
        ("CREATE INDEX i ON contacts (n);", Some("create it concurrently")),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON contacts (n);", Some("with a transaction")),
        ("-- no-transaction\nCREATE INDEX CONCURRENTLY i ON contacts (n);", Some("without a transaction")),
        ("-- no-transaction\nALTER TABLE contacts ADD COLUMN n integer;", Some("without a transaction")),
        ("-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS i; SELECT 1;", Some("one statement")),
        ("ALTER TABLE contacts ADD CONSTRAINT c CHECK (n > 0);", Some("add NOT VALID")),
        ("ALTER TABLE contacts ADD COLUMN n integer CHECK(n > 0);", Some("add NOT VALID")),
        ("ALTER TABLE contacts VALIDATE CONSTRAINT c;", Some("validate it in")),
        ("ALTER TABLE contacts ALTER COLUMN version TYPE numeric;", Some("new type")),
        ("alter table contacts alter column name set not null;", Some("NOT VALID constraint")),
        ("ALTER TABLE contacts ADD COLUMN id uuid DEFAULT gen_random_uuid();", Some("constant default")),
        ("UPDATE contacts SET name = '';", Some("with a transaction")),
        ("ALTER TABLE contacts DROP COLUMN n; ALTER TABLE effects DROP COLUMN n;", Some("several tables")),
    ] {
        let faults = faults(text);
        match found {
            None => assert_eq!(faults, [""; 0], "{text}"),
            Some(part) => assert!(faults.len() == 1 && faults[0].contains(part), "{text}: {faults:?}"),
        }
    }
}
