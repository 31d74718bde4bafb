//! Erasure of webhooks that a process has in memory and has not sent yet.

use std::time::Duration;

use macro_rules_attribute::apply;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::{EMAIL, assert_no_trace, contact_id, dump, erase};
use crate::support::{
    WAIT_TIMEOUT, app::TestApp, event::Event, eventually, gate::Gate, process::Process, test,
};

/// A process whose lane has one request in flight, about nobody, and Ada's webhook behind it. Returns her contact.
async fn with_webhook_in_memory(app: &TestApp) -> (String, Process) {
    app.set("webhook.max_in_flight", "1");
    let process = app.run(&[]).await;
    publish(app, Event::bare(), "nobody").await;
    app.webhooks(1).await;
    publish(app, Event::lead("Ada").email(EMAIL), "ada").await;
    (contact_id(app, "acme", EMAIL).await, process)
}

/// Publishes an event with a webhook. All of them have the same lane, because the query does not count.
async fn publish(app: &TestApp, event: Event, query: &str) {
    app.broker.publish(&event.webhook(&app.receiver.url(&format!("/held?{query}")))).await;
}

/// Waits until a webhook is received that comes after Ada's, and asserts that hers was not sent.
async fn assert_unsent(app: &TestApp) {
    publish(app, Event::bare(), "another").await;
    let paths = async || {
        let paths: Vec<_> = app.receiver.requests().into_iter().map(|request| request.path).collect();
        paths.contains(&"/held?another".to_owned()).then_some(paths)
    };
    let paths = eventually("the other webhook is sent", paths).await;
    assert!(!paths.contains(&"/held?ada".to_owned()), "{paths:?}");
    app.wait_for_rows("webhook_pending", 0).await;
    app.wait_for_unsent(0).await;
    app.wait_for_unpublished(0).await;
    assert_no_trace(&dump(app).await.0);
}

#[apply(test)]
async fn webhook_in_memory_is_not_sent_after_an_erasure(app: &TestApp) {
    let (id, _process) = with_webhook_in_memory(app).await;
    assert_eq!(erase(app, &id).await["removed"]["deliveries"], 1);
    app.receiver.release();
    assert_unsent(app).await;
}

/// Once it has waited for long, it has a row, and the owner of its lane loads it.
#[apply(test)]
async fn loaded_webhook_is_not_sent_after_an_erasure(app: &TestApp) {
    let (id, _process) = with_webhook_in_memory(app).await;
    app.wait_for_rows("webhook_pending", 1).await;
    app.wait_for_rows("webhook_endpoints WHERE owner IS NOT NULL", 1).await;
    assert_eq!(erase(app, &id).await["removed"]["deliveries"], 1);
    app.receiver.release();
    assert_unsent(app).await;
}

/// The process has read it, and has to look at its lane before it can send it. It hears of the erasure meanwhile.
#[apply(test)]
async fn webhook_that_is_being_taken_is_not_sent_after_an_erasure(app: &TestApp) {
    app.run(&["upsert"]).await;
    app.run(&["webhook"]).await;
    publish(app, Event::bare(), "nobody").await;
    app.webhooks(1).await;
    app.receiver.release();
    app.wait_for_deliveries("delivered", 1).await;
    let gate =
        Gate::before_write(app, "UPDATE ON effects", "NEW.kind = 'send' AND NEW.owner IS NOT NULL").await;
    publish(app, Event::lead("Ada").email(EMAIL), "ada").await;
    let id = contact_id(app, "acme", EMAIL).await;
    gate.is_reached_by(1).await;
    let mut lanes = app.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE webhook_endpoints").execute(&mut *lanes).await.unwrap();
    gate.open().await;
    app.wait_for_rows("effects WHERE kind = 'send' AND owner IS NOT NULL", 1).await;
    let report = erase(app, &id).await;
    lanes.rollback().await.unwrap();
    assert_eq!(report["removed"]["deliveries"], 1);
    assert_unsent(app).await;
}

/// Whether somebody waits for a connection to this port.
fn is_connecting_to(port: u16) -> bool {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Remote address and state `SYN_SENT`.
    connections.contains(&format!(" 0100007F:{port:04X} 02 "))
}

/// A listener that accepts nothing yet, with one connection more than it lets wait.
async fn busy() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    (listener, waiting)
}

#[apply(test)]
async fn webhook_whose_connection_opens_after_an_erasure_is_not_sent(app: &TestApp) {
    let process = app.run(&[]).await;
    let (listener, waiting) = busy().await;
    let port = listener.local_addr().unwrap().port();
    let event = Event::lead("Ada").email(EMAIL).webhook(&format!("http://127.0.0.1:{port}/ada"));
    app.broker.publish(&event).await;
    eventually("it connects", async || is_connecting_to(port).then_some(())).await;
    let id = contact_id(app, "acme", EMAIL).await;
    assert_eq!(erase(app, &id).await["removed"]["deliveries"], 1);
    let connections = waiting.len() + 1;
    drop(waiting);
    let mut sent = String::new();
    for _ in 0..connections {
        let (mut connection, _) = timeout(WAIT_TIMEOUT, listener.accept()).await.unwrap().unwrap();
        connection.read_to_string(&mut sent).await.unwrap();
    }
    assert_eq!(sent, "");
    app.wait_for_unsent(0).await;
    assert_no_trace(&dump(app).await.0);
    process.ready().await;
}

/// The erasure does not wait for it: its row expires, and then it is buried.
#[apply(test)]
async fn process_that_stood_still_sends_no_webhook_of_an_erased_person(app: &TestApp) {
    let (id, process) = with_webhook_in_memory(app).await;
    process.freeze();
    assert_eq!(erase(app, &id).await["removed"]["deliveries"], 1);
    assert_eq!(app.rows("processes WHERE buried_at IS NULL").await, 0);
    app.receiver.release();
    process.thaw();
    assert_unsent(app).await;
}
