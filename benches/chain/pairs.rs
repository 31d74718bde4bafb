//! Comparisons: the same part under two or more conditions, in turn, each round's rates divided by that of the
//! first condition.

use std::path::PathBuf;

use sqlx::PgConnection;

use crate::{
    arguments::Arguments,
    collector::Collector,
    load::Load,
    receiver::Receiver,
    report::{self, Report},
    stage::{Part, Stage},
    trouble::{self, ClosedLanes},
    world::World,
};

/// The end of the name of the variable with the collector's address.
const COLLECTOR: &str = "TELEMETRY__OTLP_ENDPOINT";

/// One condition.
enum Arm {
    Plain,
    Snapshot,
    ClosedLanes(usize),
    Companies(usize),
    Contacts(usize),
    Processes(usize),
    Failing,
    /// The share of the events that are traced, for a collector that takes all spans.
    Traces(&'static str),
    /// Traces of all events, for a collector that refuses connections.
    TracesForNobody,
    OtherBuild(PathBuf),
}

impl Arm {
    fn name(&self) -> String {
        match self {
            Self::Plain => "this build".to_owned(),
            Self::Snapshot => "beside a pinned snapshot".to_owned(),
            Self::ClosedLanes(lanes) => format!("beside {lanes} closed lanes"),
            Self::Companies(companies) => format!("companies: {companies}"),
            Self::Contacts(contacts) => format!("contacts before: {contacts}"),
            Self::Processes(processes) => format!("processes: {processes}"),
            Self::Failing => "one request in a thousand fails".to_owned(),
            Self::Traces(ratio) => format!("traces, telemetry.sample_ratio = {ratio}"),
            Self::TracesForNobody => "traces, collector unreachable".to_owned(),
            Self::OtherBuild(_) => "other build".to_owned(),
        }
    }

    /// Prepares what all rounds of this condition run on.
    async fn prepare<'a>(
        &self,
        world: &'a World,
        name: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Prepared<'a, '_>> {
        let binary = match self {
            Self::OtherBuild(binary) => binary,
            _ => Stage::own_binary(),
        };
        let mut stage = Stage::with(world, name, binary, settings).await?;
        let (mut closed, mut collector) = (None, None);
        match self {
            Self::ClosedLanes(lanes) => closed = Some(ClosedLanes::close(&mut stage, *lanes).await?),
            Self::Contacts(contacts) => {
                eprintln!("storing {contacts} contacts");
                store_contacts(&mut stage.connect().await?, *contacts).await?;
            }
            Self::Processes(processes) => stage.processes = *processes,
            Self::Traces(ratio) => {
                let started = Collector::start().await?;
                stage.set(&[(COLLECTOR, &started.url), ("TELEMETRY__SAMPLE_RATIO", ratio)]);
                collector = Some(started);
            }
            Self::TracesForNobody => stage.set(&[(COLLECTOR, &trouble::refusing_url().await?)]),
            Self::Plain | Self::Snapshot | Self::Companies(_) | Self::Failing | Self::OtherBuild(_) => {}
        }
        Ok(Prepared { arm: self, stage, closed, collector })
    }

    fn load(&self, receiver: &Receiver) -> Load {
        let load = Load::to(&receiver.url);
        match self {
            Self::Failing => Load::to(&receiver.failing()),
            Self::Companies(companies) => Load { companies: *companies, ..load },
            Self::Contacts(contacts) => Load { stored: *contacts, ..load },
            _ => load,
        }
    }
}

/// A condition and what its rounds run on.
struct Prepared<'a, 'b> {
    arm: &'b Arm,
    stage: Stage<'a>,
    closed: Option<ClosedLanes>,
    collector: Option<Collector>,
}

impl Prepared<'_, '_> {
    /// Measures a part and records its figures. Returns their name and the rate.
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    async fn measure(
        &mut self,
        part: Part,
        receiver: &Receiver,
        events: usize,
        report: &mut Report,
    ) -> anyhow::Result<(String, f64)> {
        let name = format!("{}, {}", part.name(), self.arm.name());
        eprintln!("{name}");
        let pinned = match self.arm {
            Arm::Snapshot => Some(trouble::pin_snapshot(&self.stage).await?),
            _ => None,
        };
        let before = self.closed.as_ref().map(ClosedLanes::requests);
        let measured = self.stage.measure(part, &self.arm.load(receiver), events).await?;
        drop(pinned);
        measured.record(report, &name);
        if let (Some(closed), Some(before)) = (&self.closed, before) {
            report.add(&name, report::TO_CLOSED, (closed.requests() - before) as f64);
        }
        if let Some(collector) = &self.collector {
            report.add(&name, report::SPANS, collector.spans()? as f64 / events as f64);
        }
        Ok((name, measured.rate()))
    }
}

/// A comparison that an option asks for.
pub(crate) struct Comparison {
    parts: &'static [Part],
    arms: Vec<Arm>,
    /// Of the service, under every condition.
    settings: &'static [(&'static str, &'static str)],
    /// The shortest part in seconds, if it has one: what a pinned snapshot keeps from being removed must add up.
    seconds: Option<f64>,
}

impl Comparison {
    /// The comparison that the arguments ask for, if any.
    pub(crate) fn chosen(arguments: &Arguments) -> Option<Self> {
        let option = &arguments.instead;
        let numbers = |numbers: &[usize], arm: fn(usize) -> Arm| numbers.iter().copied().map(arm).collect();
        let (parts, arms): (&[Part], Vec<Arm>) = if option.snapshot.is_some() {
            (&[Part::Chain], vec![Arm::Plain, Arm::Snapshot])
        } else if let Some(lanes) = option.closed_lanes {
            (&[Part::Chain], vec![Arm::Plain, Arm::ClosedLanes(lanes)])
        } else if let Some(binary) = &option.compare {
            (&Part::ALL, vec![Arm::OtherBuild(binary.clone()), Arm::Plain])
        } else if !option.companies.is_empty() {
            (&[Part::Chain], numbers(&option.companies, Arm::Companies))
        } else if !option.contacts.is_empty() {
            (&[Part::Upsert], numbers(&option.contacts, Arm::Contacts))
        } else if !option.processes.is_empty() {
            (&[Part::Chain], numbers(&option.processes, Arm::Processes))
        } else if option.failing {
            (&[Part::Chain], vec![Arm::Plain, Arm::Failing])
        } else if option.traces {
            (&[Part::Chain], vec![Arm::Plain, Arm::Traces("1"), Arm::Traces("0.1"), Arm::TracesForNobody])
        } else {
            return None;
        };
        let settings = if option.closed_lanes.is_some() { trouble::CLOSE_AT_ONCE } else { &[] };
        Some(Self { parts, arms, settings, seconds: option.snapshot.map(f64::from) })
    }

    /// Runs and prints all rounds.
    pub(crate) async fn measure(
        &self,
        world: &World,
        arguments: &Arguments,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let rounds = arguments.rounds(3);
        let mut arms = Vec::new();
        for (place, arm) in self.arms.iter().enumerate() {
            arms.push(arm.prepare(world, &format!("arm{place}"), self.settings).await?);
        }
        let events = self.events(world, &mut arms, arguments.events).await?;
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            self.round(world, &mut arms, round, events, report).await?;
        }
        println!("{events} events a part. Median (lowest, highest) of {rounds} rounds.\n");
        report.print("Rates, and their ratios to the first of the same round", report::RATES);
        report.print("Processor time of an event", report::CPU);
        report.print("Other costs of an event, and memory", report::COST);
        for arm in arms {
            arm.stage.remove().await?;
        }
        Ok(())
    }

    /// As many events as asked for, or as the shortest part needs.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of events")]
    async fn events(
        &self,
        world: &World,
        arms: &mut [Prepared<'_, '_>],
        asked: usize,
    ) -> anyhow::Result<usize> {
        let (Some(seconds), Some(arm), Some(part)) = (self.seconds, arms.first_mut(), self.parts.first())
        else {
            return Ok(asked);
        };
        eprintln!("finding out how many events take {seconds} s");
        let measured = arm.stage.measure(*part, &Load::to(&world.receiver().url), asked).await?;
        Ok(asked.max((measured.rate() * seconds * 1.1) as usize))
    }

    async fn round(
        &self,
        world: &World,
        arms: &mut [Prepared<'_, '_>],
        round: usize,
        events: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut order: Vec<usize> = (0..arms.len()).collect();
        // A machine that gets slower or faster favors neither.
        if round.is_multiple_of(2) {
            order.reverse();
        }
        let mut rates = Vec::new();
        for place in order {
            let Some(arm) = arms.get_mut(place) else { continue };
            for part in self.parts {
                let (name, rate) = arm.measure(*part, world.receiver(), events, report).await?;
                rates.push((place, *part, name, rate));
            }
        }
        for (place, part, name, rate) in &rates {
            let first = rates.iter().find(|first| first.0 == 0 && first.1 == *part);
            if let Some((.., first)) = first.filter(|_| *place > 0) {
                report.add(name, report::OF_FIRST, rate / first);
            }
        }
        Ok(())
    }
}

/// Stores contacts as events would. They have the identifiers that [`Load::stored`] refers to.
async fn store_contacts(conn: &mut PgConnection, contacts: usize) -> anyhow::Result<()> {
    for statement in [
        "INSERT INTO contacts (company_id, contact_id, version, name, phone, email, company, provenance,
             created_at, updated_at, phones, emails)
         SELECT 'bench', gen_random_uuid(), 1, 'Lead ' || n, '+55219' || lpad(n::text, 8, '0'),
             'stored-' || n || '@customers.example', 'Analytical Engines',
             '{\"events\": [{\"time\": 1767225600000000, \"id\": \"e\", \"source\": \"/s\", \"step\": 1}],
               \"fields\": {\"name\": 0, \"phone\": 0, \"email\": 0, \"company\": 0}}',
             '2026-01-01', '2026-01-01', ARRAY['+55219' || lpad(n::text, 8, '0')],
             ARRAY['stored-' || n || '@customers.example']
         FROM generate_series(0, $1 - 1) AS n",
        "INSERT INTO contact_identifiers SELECT company_id, 'phone', phone, contact_id FROM contacts WHERE $1 > 0",
        "INSERT INTO contact_identifiers SELECT company_id, 'email', email, contact_id FROM contacts WHERE $1 > 0",
    ] {
        sqlx::query(statement).bind(i64::try_from(contacts)?).execute(&mut *conn).await?;
    }
    sqlx::query("VACUUM ANALYZE").execute(conn).await?;
    Ok(())
}
