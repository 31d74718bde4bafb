//! What a client of the broker cannot see: policies, replicas, alarms and bindings, from `RabbitMQ`'s management
//! interface (HTTP). Only operators use it, and only if `amqp.management_url` is set.

mod http;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use url::Url;

use self::http::Client;
pub use self::http::ManagementError;
use super::Topology;
use crate::{domain::webhook::requested::WEBHOOK_REQUESTED, settings};

/// What the interface reports.
#[derive(Clone, Debug, Default)]
pub struct Management {
    /// The nodes of the cluster.
    pub nodes: Vec<Node>,
    /// The queues of the namespace that exist.
    pub queues: Vec<ManagedQueue>,
}

/// A node of the cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// It is short of memory. Stopped nodes do not report this.
    #[serde(default)]
    pub mem_alarm: bool,
    /// It is short of disk.
    #[serde(default)]
    pub disk_free_alarm: bool,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct ManagedQueue {
    /// Its name.
    pub name: String,
    /// The names of the policies that apply.
    pub policies: Vec<String>,
    /// What these policies set.
    pub definition: Map<String, Value>,
    /// Its own arguments.
    pub arguments: Map<String, Value>,
    /// Nodes that have a replica.
    pub members: usize,
    /// Those of them that are in step.
    pub online: usize,
    /// Its missing bindings: exchange and key.
    pub missing: Vec<(String, &'static str)>,
}

/// The members of a queue that are read; others depend on the broker's version.
#[derive(Deserialize)]
struct QueueJson {
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    operator_policy: Option<String>,
    /// An empty list if none exists.
    #[serde(default)]
    effective_policy_definition: Value,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
}

#[derive(Deserialize)]
struct BindingJson {
    source: String,
    routing_key: String,
}

/// Asks for everything; `None` without an address.
///
/// # Errors
/// When it cannot be reached, refuses, or answers something else.
pub async fn read(settings: &settings::Amqp) -> Option<Result<Management, ManagementError>> {
    let address = settings.management_url.expose_secret();
    if address.is_empty() {
        return None;
    }
    Some(ask(settings, address).await)
}

async fn ask(settings: &settings::Amqp, address: &str) -> Result<Management, ManagementError> {
    let client = Client::new(address, settings.connect_timeout)?;
    let nodes = get::<Vec<Node>>(&client, "nodes").await?.unwrap_or_default();
    let (vhost, topology) = (vhost(settings), Topology::new(&settings.namespace));
    let mut queues = Vec::new();
    for (name, wanted) in [
        (topology.dead_letters(), vec![(topology.dead_letters(), "")]),
        (topology.trigger_fired(), vec![(topology.events(), "trigger.fired.#")]),
        (
            topology.webhook(),
            vec![(topology.events(), "contact.upserted.#"), (topology.events(), WEBHOOK_REQUESTED)],
        ),
    ] {
        // A namespace has no character that has to be escaped.
        let path = format!("queues/{vhost}/{name}");
        let Some(queue) = get::<QueueJson>(&client, &path).await? else { continue };
        let bindings =
            get::<Vec<BindingJson>>(&client, &format!("{path}/bindings")).await?.unwrap_or_default();
        let is_there = |(source, key): &(String, &str)| {
            bindings.iter().any(|one| one.source == *source && one.routing_key == *key)
        };
        let object = |value: Value| if let Value::Object(members) = value { members } else { Map::new() };
        queues.push(ManagedQueue {
            name,
            policies: [queue.policy, queue.operator_policy].into_iter().flatten().collect(),
            definition: object(queue.effective_policy_definition),
            arguments: object(queue.arguments),
            members: queue.members.len(),
            online: queue.online.len(),
            missing: wanted.into_iter().filter(|wanted| !is_there(wanted)).collect(),
        });
    }
    Ok(Management { nodes, queues })
}

/// `None` if it does not exist.
async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Option<T>, ManagementError> {
    let Some(body) = client.get(path).await? else { return Ok(None) };
    serde_json::from_slice(&body).map(Some).map_err(|_| ManagementError::Unreadable { path: path.to_owned() })
}

/// The virtual host of `amqp.url`, as a part of a path.
fn vhost(settings: &settings::Amqp) -> String {
    let url = Url::parse(settings.url.expose_secret()).ok();
    let path = url.as_ref().map(|url| url.path().trim_start_matches('/')).unwrap_or_default();
    if path.is_empty() { "%2F".to_owned() } else { path.to_owned() }
}

#[cfg(test)]
mod tests;
