//! The runbook names commands, reasons and metrics that exist, and every reason. So do the commands of `operations.md`.

use std::collections::BTreeSet;

use clap::Parser as _;
use strum::VariantArray as _;

use super::Cli;
use crate::{
    domain::fault::Reason,
    metrics::{Format, Metrics},
};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// Names of sessions of Postgres, which look like commands.
const SESSIONS: [&str; 1] = ["contact-relay upsert+webhook"];

/// The contents of code spans and blocks.
fn code(page: &'static str) -> Vec<&'static str> {
    let mut code = Vec::new();
    for (index, part) in page.split("```").enumerate() {
        match index % 2 {
            0 => code.extend(part.split('`').skip(1).step_by(2)),
            _ => code.extend(part.lines().map(|line| line.split('#').next().unwrap_or_default().trim())),
        }
    }
    code
}

/// The words of a shell command without its quotes and redirections.
fn words(command: &str) -> Vec<String> {
    let command = command.split(['<', '>']).next().unwrap_or_default();
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    for word in &mut words {
        match word.as_str() {
            "ID" => "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11".clone_into(word),
            "SIGNATURE" => "0193f5a07c1e7b8a9a553f6f1f0c2b11".clone_into(word),
            "COMMAND" => "publish".clone_into(word),
            "REASON" => "broker".clone_into(word),
            _ => {}
        }
    }
    words
}

#[test]
fn commands_of_the_pages_parse() {
    for (page, least) in [(RUNBOOK, 30), (OPERATIONS, 50)] {
        let is_command = |code: &&str| code.starts_with("contact-relay ") && !SESSIONS.contains(code);
        let commands: Vec<&str> = code(page).into_iter().filter(is_command).collect();
        assert!(commands.len() > least, "{commands:?}");
        for command in commands {
            if let Err(error) = Cli::try_parse_from(words(command))
                && error.use_stderr()
            {
                panic!("{command}: {error}");
            }
        }
    }
}

#[test]
fn runbook_has_each_reason_and_no_other() {
    let section = RUNBOOK.split("\n## ").find(|section| section.starts_with("Dead letters")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: Vec<&str> = rows.map(|(reason, _)| reason).collect();
    let known: Vec<&str> = Reason::VARIANTS.iter().map(|reason| reason.name()).collect();
    assert_eq!(listed, known, "in this order");
}

#[test]
fn metrics_of_the_alerts_exist() {
    let text = Metrics::new().write(Format::Prometheus);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let known: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let ours = |name: &&str| name.starts_with("contact_relay_") || name.starts_with("process_");
    let named =
        code(RUNBOOK).into_iter().flat_map(|code| code.split(|letter| !is_name(letter)).collect::<Vec<_>>());
    let named: BTreeSet<&str> = named.filter(ours).collect();
    assert!(named.len() > 15, "{named:?}");
    for name in &named {
        assert!(known.contains(name), "{name} is no metric");
    }
    // The values of labels exist, too.
    // Those of the broker are its own.
    for code in code(RUNBOOK).into_iter().filter(|code| !code.contains("rabbitmq_")) {
        for (label, value) in code.split(['{', ',', '}']).filter_map(|part| part.split_once('=')) {
            let values = value.trim_start_matches(['~', '"']).trim_end_matches('"').split("\\|");
            for value in values.filter(|_| value.ends_with('"') && label.chars().all(is_name)) {
                assert!(text.contains(&format!("{label}=\"{value}\"")), "{label}={value}");
            }
        }
    }
}
