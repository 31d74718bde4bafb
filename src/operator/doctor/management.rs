//! What the broker's management interface shows.

use serde_json::Value;

use super::{Finding, Promise, Status};
use crate::amqp::management::{ManagedQueue, Management, ManagementError};

const AREA: &str = "broker";

/// Without its queues, events get lost, and so do messages that the broker dead-letters.
const QUEUES: &[Promise] = &[Promise::OneEnd, Promise::Outages];

/// What is invisible without the interface, and how to check it.
const INVISIBLE: [(&str, &str, &str); 3] = [
    (
        POLICIES,
        "a policy may lower the delivery limit, or change where the broker dead-letters",
        "run `rabbitmqctl list_policies` and `rabbitmqctl list_operator_policies`, or set amqp.management_url",
    ),
    (
        REPLICAS,
        "a queue with one replica is lost with its node",
        "run `rabbitmq-queues quorum_status NAME`, or set amqp.management_url; `rabbitmq-queues grow NODE all` adds replicas",
    ),
    (
        LIMITS,
        "the broker stops publishers at its limits",
        "run `rabbitmq-diagnostics status` and `rabbitmq-diagnostics alarms`, or set amqp.management_url",
    ),
];

const POLICIES: &str = "policies";
const REPLICAS: &str = "queue replicas";
const LIMITS: &str = "limits of memory and disk";
/// Also a finding of [`super::broker`].
pub(super) const BINDINGS: &str = "bindings";

/// Findings about policies, replicas, limits and, if the interface has answered, bindings.
pub(super) fn findings(read: Option<&Result<Management, ManagementError>>) -> Vec<Finding> {
    let invisible = || {
        INVISIBLE.iter().map(|(name, found, remedy)| {
            Finding::new(AREA, *name, Status::Invisible, *found).of(QUEUES).remedy(*remedy)
        })
    };
    match read {
        None => invisible().collect(),
        Some(Err(error)) => {
            let failed = Finding::new(AREA, "management interface", Status::Warning, error.to_string());
            std::iter::once(failed.remedy("see docs/operations.md#checking-a-deployment"))
                .chain(invisible())
                .collect()
        }
        Some(Ok(management)) => vec![
            policies(&management.queues),
            replicas(management),
            limits(management),
            bindings(&management.queues),
        ],
    }
}

fn policies(queues: &[ManagedQueue]) -> Finding {
    let faults: Vec<String> = queues.iter().filter_map(fault_of_policies).collect();
    if faults.is_empty() {
        let found = "none changes what the queues need";
        return Finding::new(AREA, POLICIES, Status::Fine, found).of(QUEUES);
    }
    Finding::new(AREA, POLICIES, Status::Broken, faults.join("; "))
        .of(QUEUES)
        .remedy("exclude the queues of the service from the policy's pattern, or clear it (`rabbitmqctl clear_policy NAME`, `clear_operator_policy`)")
}

/// The harm that a queue's policies do.
fn fault_of_policies(queue: &ManagedQueue) -> Option<String> {
    let number = |value: Option<&Value>| value.and_then(Value::as_i64);
    let lowers = |limit: i64| number(queue.arguments.get("x-delivery-limit")).is_some_and(|own| limit < own);
    // The lower of the two limits counts. The collector's queue has one that is never reached.
    let limit = number(queue.definition.get("delivery-limit")).filter(|limit| lowers(*limit));
    // No other queue backs up the queue of dead letters.
    let is_kept = queue.arguments.contains_key("x-dead-letter-exchange");
    let does = if is_kept { "dead-letters" } else { "drops" };
    let set = |key: &str| queue.definition.get(key);
    let faults = [
        limit.map(|limit| format!("delivery-limit {limit}: the broker {does} what comes back so often")),
        set("message-ttl").map(|ttl| format!("message-ttl {ttl}: the broker {does} what waits for longer")),
        set("expires").map(|time| format!("expires {time}: the broker deletes the queue when it is unused")),
    ];
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    if faults.is_empty() {
        return None;
    }
    Some(format!("{} of {}: {}", queue.policies.join(" and "), queue.name, faults.join(", ")))
}

fn replicas(Management { nodes, queues }: &Management) -> Finding {
    const SEVERAL: usize = 3;
    let finding = |status, found: String| Finding::new(AREA, REPLICAS, status, found).of(QUEUES);
    let without_majority = queues.iter().find(|queue| 2 * queue.online <= queue.members);
    let fewest = queues.iter().map(|queue| queue.members).min();
    match (without_majority, fewest) {
        (_, None) => {
            let found = "no queue of the service exists yet".to_owned();
            finding(Status::Unknown, found)
                .remedy("run `contact-relay run`, which declares them at its start")
        }
        (Some(queue), _) => {
            let found =
                format!("{} has {} of {} replicas, no majority", queue.name, queue.online, queue.members);
            finding(Status::Broken, found).remedy("start the nodes that do not run")
        }
        (None, Some(_)) if nodes.len() < SEVERAL => {
            let found =
                format!("nodes of the cluster: {}; messages do not survive the loss of one", nodes.len());
            finding(Status::Warning, found)
                .remedy("use three nodes, unless backups and the publishers are enough")
        }
        (None, Some(fewest)) if fewest < SEVERAL => {
            let found = format!("a queue has {fewest}, on {} nodes", nodes.len());
            finding(Status::Warning, found).remedy("run `rabbitmq-queues grow NODE all` for each node")
        }
        (None, Some(fewest)) => finding(Status::Fine, format!("{fewest} or more of each queue")),
    }
}

fn limits(Management { nodes, .. }: &Management) -> Finding {
    let finding = |status, found: String| {
        Finding::new(AREA, LIMITS, status, found).of(&[Promise::Published, Promise::Outages])
    };
    let troubled: Vec<String> = nodes
        .iter()
        .filter_map(|node| {
            let troubles = [
                (!node.running, "does not run"),
                (node.mem_alarm, "is short of memory"),
                (node.disk_free_alarm, "is short of disk"),
            ];
            let troubles: Vec<&str> = troubles.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
            (!troubles.is_empty()).then(|| format!("{} {}", node.name, troubles.join(" and ")))
        })
        .collect();
    if troubled.is_empty() {
        return finding(Status::Fine, format!("no alarm; nodes of the cluster: {}", nodes.len()));
    }
    let has_alarm = nodes.iter().any(|node| node.mem_alarm || node.disk_free_alarm);
    let status = if has_alarm { Status::Broken } else { Status::Warning };
    finding(status, troubled.join("; ")).remedy("free memory or disk on that node, or start it")
}

fn bindings(queues: &[ManagedQueue]) -> Finding {
    let missing = queues.iter().flat_map(|queue| {
        queue.missing.iter().map(move |(exchange, key)| format!("{} to {exchange} with `{key}`", queue.name))
    });
    let missing: Vec<String> = missing.collect();
    if missing.is_empty() {
        return Finding::new(AREA, BINDINGS, Status::Fine, "as declared").of(QUEUES);
    }
    Finding::new(AREA, BINDINGS, Status::Broken, format!("missing: {}", missing.join("; ")))
        .of(QUEUES)
        .remedy("restart a process of the service, which declares them at its start")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::amqp::management::Node;

    fn node(name: &str) -> Node {
        Node { name: name.to_owned(), running: true, mem_alarm: false, disk_free_alarm: false }
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn sound() -> Management {
        let queue = ManagedQueue {
            name: "contact-relay.trigger-fired".to_owned(),
            policies: Vec::new(),
            definition: Map::new(),
            arguments: object(&json!({"x-delivery-limit": 1000})),
            members: 3,
            online: 3,
            missing: Vec::new(),
        };
        Management { nodes: ["a", "b", "c"].map(node).into(), queues: vec![queue] }
    }

    fn wrong(change: impl Fn(&mut Management)) -> Vec<(String, Status, String)> {
        let mut management = sound();
        change(&mut management);
        let found = findings(Some(&Ok(management))).into_iter().filter(|one| one.status != Status::Fine);
        found.map(|one| (one.name, one.status, one.found)).collect()
    }

    #[test]
    fn each_fault_is_one_finding() {
        type Change = fn(&mut Management);
        let policy = |management: &mut Management, value: Value| {
            management.queues[0].policies = vec!["p".to_owned()];
            management.queues[0].definition = object(&value);
        };
        assert_eq!(wrong(|_| {}), []);
        // A value that the queue's arguments already have, or a higher one, does no harm.
        for harmless in [json!({"delivery-limit": 1000}), json!({"dead-letter-exchange": "x"}), json!({})] {
            assert_eq!(wrong(|at| policy(at, harmless.clone())), []);
        }
        for (harmful, says) in [
            (json!({"delivery-limit": 20}), "p of contact-relay.trigger-fired: delivery-limit 20: "),
            (json!({"message-ttl": 5}), "message-ttl 5: "),
            (json!({"expires": 5}), "expires 5: "),
        ] {
            let found = wrong(|at| policy(at, harmful.clone()));
            let [(name, Status::Broken, text)] = found.as_slice() else { panic!("{found:?}") };
            assert!(name == POLICIES && text.contains(says), "{text}");
        }
        let faults: [(Change, &str, Status); 8] = [
            (|at| at.queues[0].online = 1, REPLICAS, Status::Broken),
            (|at| at.queues[0].members = 1, REPLICAS, Status::Warning),
            (|at| at.nodes.truncate(1), REPLICAS, Status::Warning),
            (|at| at.queues.clear(), REPLICAS, Status::Unknown),
            (|at| at.nodes[1].mem_alarm = true, LIMITS, Status::Broken),
            (|at| at.nodes[1].disk_free_alarm = true, LIMITS, Status::Broken),
            (|at| at.nodes[1].running = false, LIMITS, Status::Warning),
            (|at| at.queues[0].missing = vec![("e".to_owned(), "k")], BINDINGS, Status::Broken),
        ];
        for (change, name, status) in faults {
            let found = wrong(change);
            let [(found_name, found_status, _)] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((found_name.as_str(), *found_status), (name, status));
        }
    }

    #[test]
    fn without_the_interface_nothing_is_called_fine() {
        let refused = Err(ManagementError::Refused { status: 401 });
        for (read, warnings) in [(None, 0), (Some(&refused), 1)] {
            let found = findings(read);
            let with = |status| found.iter().filter(|one| one.status == status).count();
            assert_eq!((with(Status::Invisible), with(Status::Warning)), (3, warnings));
        }
    }
}
