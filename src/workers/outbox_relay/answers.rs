//! Answers to the queues that trigger-fired events name in `reply_to`.
//!
//! The sender is responsible for its queue: an answer is dropped if it cannot be routed or the broker refuses it.
//! An invalid queue name can make the broker close the whole connection (RabbitMQ does for a direct reply-to that
//! it did not issue), so answers have a connection of their own, and halving the window finds the one to drop.

use tracing::warn;

use super::lost::Lost;
use crate::{
    amqp::{Message, PublishError, Publisher},
    settings,
    workers::component::OUTBOX_RELAY,
};

/// The publisher of answers; it connects for the first one.
#[derive(Default)]
pub(super) struct Answers {
    publisher: Option<Publisher>,
}

impl Answers {
    /// Publishes answers. Each that is not dropped arrives at least once.
    ///
    /// # Errors
    /// When the broker is unreachable.
    pub(super) async fn publish(
        &mut self,
        settings: &settings::Amqp,
        answers: &[Message],
    ) -> Result<(), Lost> {
        let mut dropped = 0;
        let mut portions = vec![answers];
        while let Some(portion) = portions.pop().filter(|portion| !portion.is_empty()) {
            let open = self.publisher.take().filter(|open| open.connection().status().connected());
            let publisher = match open {
                Some(publisher) => publisher,
                None => Publisher::connect(settings, &format!("{OUTBOX_RELAY} answers")).await?,
            };
            match self.publisher.insert(publisher).publish(portion).await {
                Ok(outcome) => dropped += outcome.iter().filter(|result| result.is_err()).count(),
                Err(lost) => {
                    self.publisher = None;
                    let is_timeout = matches!(lost, PublishError::Timeout(_));
                    if portion.len() > 1 && !is_timeout {
                        // After any error, because an answer may meet a connection that another one made the
                        // broker close. If the broker is unreachable, the next connect fails.
                        let (first, second) = portion.split_at(portion.len() / 2);
                        portions.extend([second, first]);
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
                component = OUTBOX_RELAY,
                messages = dropped,
                "dropped {dropped} answers that the broker refused or could not route"
            );
        }
        Ok(())
    }
}
