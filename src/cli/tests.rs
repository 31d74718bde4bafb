//! Which command lines parse.

mod alerts;
mod runbook;

use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// One command a line; `ID` stands for an id.
const DOCUMENTED: &str = r"
dev
dev --once --fresh
run
run --role upsert --role webhook --role dead-letter --role console
--config x.toml migrate
migrate --check --config x.toml
publish events.ndjson
publish - -o json
tail
tail --key contact.upserted.# --key trigger.fired -n 3 -o table
trigger check definition.json
trigger preview definition.json --arguments {}
trigger preview definition.json --arguments {} --client-data {}
contact find --company acme --phone 1
contact find --company acme --email a@b.c --phone 1 -o json
contact find --company acme --name ada --limit 10 --after ID
endpoint list --company acme --address hooks.example
delivery list --after AQAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAA
contact show --company acme ID
contact show --company acme ID --reveal --because reason
contact history --company acme ID -o ndjson
contact erase --company acme ID
contact erase --company acme ID --yes --dry-run --operator ada -o json
dead-letter list
dead-letter list --reason broker --stage upsert --company c --trigger t --since 1h --state open --limit 3
dead-letter show ID
dead-letter replay ID --dry-run --yes --rate 5
dead-letter discard --all --yes --operator ada --because reason
dead-letter list --text x --endpoint 4e4f86f0-3309-8c1e-9a55-3f6f1f0c2b12 --event e --until 1h --signature 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2
dead-letter groups --company c --limit 3 -o ndjson
dead-letter restore ID --yes
dead-letter edit ID --body - --company c --dry-run --yes --operator ada
dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 text
dead-letter note 8d0c0b1f5d1a4d0fb6a3d8d6d0f4b9c2 --remove
dead-letter export --company c
dead-letter import - -o json
dead-letter import - --dry-run
audit list --operator ada --action dead_letter.edit --object o --since 1h --until 1m --limit 5
delivery list
delivery list --company c --state pending --state dead --endpoint 4e4f --event e --trigger t --since 24h --limit 50 -o ndjson
delivery list --contact ID
delivery show ID --company c
delivery show ID --reveal --operator ada --because reason
operation run ID --rate 5 --canary
operation run ID --rate unlimited --no-canary
operation resume ID --rate 5
operation resume ID --rate unlimited
operation show ID --items 5 --state dead
delivery resend ID 0193f5a0 --dry-run --yes --rate 5
delivery resend --state dead --company c --yes
delivery resend --state dead --canary
delivery discard ID 0193f5a0 --dry-run --yes --rate 5
delivery discard --endpoint 4e4f --company c --since 1h --yes --operator ada --because gone
endpoint list --company c --state open --state breaker_open
endpoint show 4e4f --company c -o json
endpoint pause https://hooks.example/sales --operator ada
endpoint resume 4e4f
endpoint enable 4e4f
endpoint test https://hooks.example/sales --company acme -o json
healthcheck
healthcheck --timeout 500ms
operation list -o json
operation show ID --items 10 --after 10
operation pause ID
operation resume ID --operator ada --because x
operation cancel ID
dead-letter replay --all --canary --rate 5 --yes
config check
config show -o json
config example
completions bash
verify
verify --company acme -o json
doctor -o ndjson
dev-services --state x --disposable
";

#[test]
fn documented_command_parses() {
    for line in DOCUMENTED.lines().filter(|line| !line.is_empty()) {
        let line = line.replace("ID", "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11");
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
        "contact find --company acme --name ada --phone 1",
        "contact find --company acme --email a@b.c --after 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11",
        "contact find --phone 1",
        "contact show --company acme not-an-id",
        "contact erase --company acme",
        "delivery list --state gone",
        "delivery show",
        "delivery resend --rate 0 --state dead",
        "delivery discard --canary --state pending",
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
