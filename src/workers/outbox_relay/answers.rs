//! Answers to the queues that trigger messages name in `reply_to`.
//!
//! Whether an answer gets there is the asker's to care for: one that no queue takes is dropped, and what the
//! broker refuses is, too. A name that somebody made up can make a broker close the whole connection
//! (RabbitMQ does at a direct reply-to that it did not give out), so answers have one of their own, and the
//! one that is to blame is found and left out.

use tracing::warn;

use super::{Lost, PART, properties};
use crate::{
    amqp::{Message, PublishError, Publisher},
    domain::chain::outgoing::OutgoingEvent,
    settings,
};

/// The publisher of answers, connected when the first one is wanted.
#[derive(Default)]
pub(super) struct Answers {
    publisher: Option<Publisher>,
}

impl Answers {
    /// Publishes answers. What is not dropped may arrive twice.
    ///
    /// # Errors
    /// When the broker is away.
    pub(super) async fn publish(
        &mut self,
        settings: &settings::Amqp,
        answers: &[Message],
    ) -> Result<(), Lost> {
        let mut dropped = 0;
        let mut parts = vec![answers];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let publisher = match self.publisher.take().filter(|open| open.connection().status().connected())
            {
                Some(publisher) => self.publisher.insert(publisher),
                None => {
                    self.publisher.insert(Publisher::connect(settings, &format!("{PART} answers")).await?)
                }
            };
            match publisher.publish(part).await {
                Ok(outcome) => dropped += outcome.iter().filter(|result| result.is_err()).count(),
                Err(lost) => {
                    self.publisher = None;
                    let is_timeout = matches!(lost, PublishError::Timeout(_));
                    if part.len() > 1 && !is_timeout {
                        // Any error, for some may meet a connection that is closed by now because of another one.
                        // Where it is the broker that is away, the next connection tells.
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    } else if lost.is_refusal() {
                        dropped += 1;
                    } else {
                        return Err(lost.into());
                    }
                }
            }
        }
        if dropped > 0 {
            warn!(
                messages = dropped,
                "the broker refused {dropped} answers to queues of others; they are dropped"
            );
        }
        Ok(())
    }
}

/// The same message for the queue that asked for it, with the asker's own correlation id.
pub(super) fn answer(message: &OutgoingEvent) -> Option<Message> {
    let reply_to = message.reply_to.as_ref()?;
    Some(Message {
        exchange: String::new(),
        routing_key: reply_to.queue.clone(),
        mandatory: false,
        body: message.body.clone(),
        properties: properties(message, reply_to.correlation_id.as_deref()),
    })
}
