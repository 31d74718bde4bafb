//! Which command lines parse.

use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn documented_command_parses() {
    let id = "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";
    for line in [
        "dev",
        "dev --once --fresh",
        "run",
        "run --role upsert --role webhook --role dead-letter --role console",
        "--config x.toml migrate",
        "migrate --check --config x.toml",
        "publish events.ndjson",
        "publish - -o json",
        "tail",
        "tail --key contact.upserted.# --key trigger.fired -n 3 -o table",
        "trigger check definition.json",
        "trigger preview definition.json --arguments {}",
        "trigger preview definition.json --arguments {} --client-data {}",
        "contact find --company acme --phone 1",
        "contact find --company acme --email a@b.c --phone 1 -o json",
        &format!("contact show --company acme {id}"),
        &format!("contact history --company acme {id} -o ndjson"),
        &format!("contact erase --company acme {id}"),
        &format!("contact erase --company acme {id} --yes --dry-run --operator ada -o json"),
        "dead-letter list",
        "dead-letter list --reason broker --stage upsert --company c --trigger t --since 1h --state open --limit 3",
        &format!("dead-letter show {id}"),
        &format!("dead-letter replay {id} --dry-run --yes --rate 5"),
        "dead-letter discard --all --yes --operator ada --because reason",
        "dead-letter list --text x --endpoint 4e4f86f0-3309-8c1e-9a55-3f6f1f0c2b12 --event e --until 1h --signature 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2",
        "dead-letter groups --company c --limit 3 -o ndjson",
        &format!("dead-letter restore {id} --yes"),
        &format!("dead-letter edit {id} --body - --company c --dry-run --yes --operator ada"),
        "dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 text",
        "dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 --remove",
        "dead-letter export --company c",
        "dead-letter import - -o json",
        "audit list --operator ada --action dead_letter.edit --object o --since 1h --until 1m --limit 5",
        "delivery list",
        "delivery list --company c --state pending --state dead --endpoint 4e4f --event e --trigger t --since 24h --limit 50 -o ndjson",
        &format!("delivery list --contact {id}"),
        &format!("delivery show {id} --company c"),
        &format!("delivery resend {id} 0193f5a0 --dry-run --yes --rate 5"),
        "delivery resend --state dead --company c --yes",
        "endpoint list --company c --state open --state breaker_open",
        "endpoint show 4e4f --company c -o json",
        "endpoint pause https://hooks.example/sales --operator ada",
        "endpoint resume 4e4f",
        "endpoint enable 4e4f",
        "endpoint test https://hooks.example/sales --company acme -o json",
        "config check",
        "config show -o json",
        "config example",
        "dev-services --state x --disposable",
    ] {
        let words = ["contact-relay"].into_iter().chain(line.split(' '));
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn invalid_command_is_refused() {
    for line in [
        "",
        "serve",
        "run --role everything",
        "publish",
        "contact find --company acme",
        "contact find --phone 1",
        "contact show --company acme not-an-id",
        "contact erase --company acme",
        "delivery list --state gone",
        "delivery show",
        "delivery resend --rate 0 --state dead",
        "endpoint list --state closed",
        "endpoint pause",
        "dead-letter list --reason nope",
        "dead-letter replay --rate 0 --all",
        "dead-letter edit 0193f5a0",
        "dead-letter note 8d0c text",
        "dead-letter list --after x",
        "audit list --action nothing",
        "tail -o xml",
    ] {
        let words = ["contact-relay"].into_iter().chain(line.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}
