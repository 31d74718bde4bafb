//! What the broker shows to a client.

use secrecy::ExposeSecret as _;

use super::{Finding, Promise, Status, is_loopback, management::BINDINGS};
use crate::{
    amqp::{
        QueueDepth,
        inspection::{Inspection, Object, ObjectState, Publishing},
        management::{Management, ManagementError},
    },
    settings,
};

const AREA: &str = "broker";

/// Without its queues, events get lost, and so do messages that the broker dead-letters.
const QUEUES: &[Promise] = &[Promise::OneEnd, Promise::Outages];

/// Bindings are among the findings only if the management interface cannot show them.
pub(super) fn findings(
    inspection: &Inspection,
    management: Option<&Result<Management, ManagementError>>,
    settings: &settings::Amqp,
) -> Vec<Finding> {
    let mut findings = vec![server(inspection), encryption(settings)];
    findings.extend(inspection.objects.iter().map(object));
    findings.extend(inspection.objects.iter().filter_map(consumers));
    if !matches!(management, Some(Ok(_))) {
        findings.push(bindings(inspection, &settings.namespace));
    }
    findings.push(publishing(&inspection.publishing));
    findings.extend(super::management::findings(management));
    findings
}

fn server(inspection: &Inspection) -> Finding {
    let Some((product, version)) = &inspection.server else {
        return Finding::new(AREA, "broker version", Status::Unknown, "the broker did not name its version")
            .of(QUEUES);
    };
    let found = format!("{product} {version}");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let number = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if product == "RabbitMQ" && number >= (3, 10) {
        return Finding::new(AREA, "broker version", Status::Fine, found).of(QUEUES);
    }
    Finding::new(AREA, "broker version", Status::Broken, found)
        .of(QUEUES)
        .remedy("use RabbitMQ 3.10 or newer")
}

fn encryption(settings: &settings::Amqp) -> Finding {
    let url = settings.url.expose_secret();
    if url.starts_with("amqps:") {
        return Finding::new(AREA, "TLS to the broker", Status::Fine, "in use");
    }
    if is_loopback(url) {
        return Finding::new(AREA, "TLS to the broker", Status::Fine, "not needed on this machine");
    }
    Finding::new(AREA, "TLS to the broker", Status::Warning, "events and the password travel in the clear")
        .remedy("use an amqps:// address in amqp.url")
}

fn object(Object { kind, name, state }: &Object) -> Finding {
    let finding =
        |status, found: String| Finding::new(AREA, format!("{kind} {name}"), status, found).of(QUEUES);
    match state {
        ObjectState::Exchange => finding(Status::Fine, "as declared".to_owned()),
        ObjectState::Queue(QueueDepth { messages, consumers }) => {
            let found = format!("as declared; {messages} messages ready, {consumers} consumers");
            finding(Status::Fine, found)
        }
        ObjectState::Missing => finding(Status::Broken, "does not exist".to_owned())
            .remedy("run `contact-relay run`, which declares it at its start"),
        ObjectState::Differs(difference) => {
            finding(Status::Broken, format!("has other arguments: {difference}"))
                .remedy("choose another amqp.namespace, or migrate it and its messages by hand")
        }
        ObjectState::Refused(why) => finding(Status::Broken, format!("the broker refuses it: {why}")).remedy(
            "give the user of amqp.url the rights to configure, write and read it (`rabbitmqctl set_permissions`), \
             or bring the nodes of the queue back",
        ),
    }
}

/// A queue without a consumer. The service may just be stopped.
fn consumers(Object { name, state, .. }: &Object) -> Option<Finding> {
    let ObjectState::Queue(QueueDepth { messages, consumers: 0 }) = state else { return None };
    let found = format!("{messages} messages wait in {name}, which has no consumer");
    let finding = Finding::new(AREA, format!("consumers of {name}"), Status::Warning, found);
    Some(finding.remedy("run `contact-relay run` with the role that reads it"))
}

/// A client cannot list bindings. But a consumer has declared them before.
fn bindings(inspection: &Inspection, namespace: &str) -> Finding {
    let is_read = |end: &str| {
        let name = format!("{namespace}.{end}");
        let is_it = |object: &&Object| object.kind == "queue" && object.name == name;
        let state = inspection.objects.iter().find(is_it).map(|object| &object.state);
        matches!(state, Some(ObjectState::Queue(QueueDepth { consumers: 1.., .. })))
    };
    let check = "run `rabbitmqctl list_bindings`; a process of the service declares them at its start";
    if ["trigger-fired", "webhook", "dead-letters"].iter().all(|end| is_read(end)) {
        let found = "declared by consumers; a client cannot see whether one was removed since";
        return Finding::new(AREA, BINDINGS, Status::Invisible, found).of(QUEUES).remedy(check);
    }
    let found = "not visible, and not every queue has a consumer that would have declared them";
    Finding::new(AREA, BINDINGS, Status::Unknown, found).of(&[Promise::OneEnd]).remedy(check)
}

fn publishing(publishing: &Publishing) -> Finding {
    const PROMISES: &[Promise] = &[Promise::Published];
    let finding = |status, found: &str| Finding::new(AREA, "publishing", status, found).of(PROMISES);
    match publishing {
        Publishing::Confirmed => finding(Status::Fine, "an unroutable message was confirmed; no alarm"),
        Publishing::Blocked => finding(Status::Broken, "the broker blocks publishers, because of an alarm")
            .remedy("run `rabbitmq-diagnostics alarms`, and free memory or disk on the nodes that it names"),
        Publishing::Refused(why) => {
            let found = format!("replays and answers cannot be published: {why}");
            Finding::new(AREA, "publishing", Status::Broken, found)
                .of(&[Promise::OneEnd])
                .remedy("give the user of amqp.url the right to write on amq\\.default")
        }
        Publishing::Unanswered => finding(Status::Unknown, "no confirm within amqp.publish_timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{amqp::Topology, settings::load};

    fn inspection() -> Inspection {
        let names = Topology::new("contact-relay");
        let queues = [names.dead_letters(), names.trigger_fired(), names.webhook()];
        let object = |name| Object {
            kind: "queue",
            name,
            state: ObjectState::Queue(QueueDepth { messages: 0, consumers: 1 }),
        };
        let server = Some(("RabbitMQ".to_owned(), "3.10.8".to_owned()));
        Inspection { server, objects: queues.map(object).into(), publishing: Publishing::Confirmed }
    }

    fn wrong(inspection: &Inspection) -> Vec<(String, Status)> {
        let settings = load(None, []).unwrap().settings;
        let found = findings(inspection, None, &settings.amqp).into_iter();
        let wrong = found.filter(|one| ![Status::Fine, Status::Invisible].contains(&one.status));
        wrong.map(|one| (one.name, one.status)).collect()
    }

    #[test]
    fn each_fault_is_named() {
        assert_eq!(wrong(&inspection()), []);
        for version in ["3.9.29", "3.8", "x"] {
            let server = Some(("RabbitMQ".to_owned(), version.to_owned()));
            let found = wrong(&Inspection { server, ..inspection() });
            assert_eq!(found, [("broker version".to_owned(), Status::Broken)]);
        }
        let server = Some(("RabbitMQ".to_owned(), "4.3.0-rc.1".to_owned()));
        assert_eq!(wrong(&Inspection { server, ..inspection() }), []);
        let other = Some(("LavinMQ".to_owned(), "9.0".to_owned()));
        assert_eq!(wrong(&Inspection { server: other, ..inspection() }).len(), 1);
        for (publishing, status) in [
            (Publishing::Blocked, Status::Broken),
            (Publishing::Refused("ACCESS_REFUSED".to_owned()), Status::Broken),
            (Publishing::Unanswered, Status::Unknown),
        ] {
            assert_eq!(
                wrong(&Inspection { publishing, ..inspection() }),
                [("publishing".to_owned(), status)]
            );
        }
    }

    #[test]
    fn bindings_are_unknown_without_consumers() {
        let mut inspection = inspection();
        inspection.objects[1].state = ObjectState::Queue(QueueDepth { messages: 3, consumers: 0 });
        let name = "contact-relay.trigger-fired";
        let expected =
            [(format!("consumers of {name}"), Status::Warning), ("bindings".to_owned(), Status::Unknown)];
        assert_eq!(wrong(&inspection), expected);
        for state in
            [ObjectState::Missing, ObjectState::Differs("x".to_owned()), ObjectState::Refused("x".to_owned())]
        {
            inspection.objects[1].state = state;
            let expected =
                [(format!("queue {name}"), Status::Broken), ("bindings".to_owned(), Status::Unknown)];
            assert_eq!(wrong(&inspection), expected);
        }
    }
}
