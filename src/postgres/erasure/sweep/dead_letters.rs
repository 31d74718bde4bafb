//! Dead letters that mention the person.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::{Page, Sweep};
use crate::{
    domain::{
        event::{EventRef, to_micros},
        trigger::fired,
    },
    postgres::dead_letters,
};

impl Sweep<'_> {
    /// Whether a message is from after the erasure, by the time that decides whether an event is applied.
    fn is_of_later_message(&self, body: &[u8]) -> bool {
        self.until.is_some_and(|until| fired::time_of(body).is_some_and(|time| to_micros(time) > until))
    }

    pub(super) async fn dead_letters(
        &self,
        conn: &mut PgConnection,
        page: &Page<'_>,
    ) -> Result<u64, sqlx::Error> {
        let (mut found, mut events) = (Vec::new(), Vec::new());
        let mut rows = sqlx::query!(
            r#"SELECT dead_letter_id, stage, message, body, routing_key, properties::text AS "properties!", source,
                   event_id, event_key, trigger_name, delivery_id, difference::text
               FROM dead_letters WHERE company_id = $1 AND dead_letter_id > $2 AND dead_letter_id <= $3"#,
            page.company,
            page.after,
            page.last,
        )
        .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let event = row.source.as_deref().zip(row.event_id.as_deref());
            let event = event.and_then(|(source, id)| EventRef::new(source, id).ok());
            // Only webhooks match by event: anyone can send a message with the same event id.
            let is_webhook = !page.company.is_empty()
                && row.stage == "webhook"
                && (event.is_some_and(|event| self.events.keys.contains(&event.key()))
                    || row.delivery_id.is_some_and(|id| self.deliveries.contains(&id)));
            let named = [&row.source, &row.event_id, &row.trigger_name];
            let mentions = || {
                self.in_bytes(Some(&row.body))
                    || self
                        .in_texts([&row.properties, &row.routing_key, &row.message].map(|t| Some(t.as_str())))
                    || self.in_texts(named.map(Option::as_deref))
                    || self.in_texts([row.difference.as_deref()])
            };
            if is_webhook || mentions() && !self.is_of_later_message(&row.body) {
                found.push(row.dead_letter_id);
                events.extend(row.event_key.map(|key| (page.company, key)));
            }
        }
        drop(rows);
        dead_letters::lock_refusals(conn, &events).await?;
        let deleted = sqlx::query!(
            "DELETE FROM dead_letters dl USING UNNEST($2::uuid[]) AS u(dead_letter_id)
             WHERE dl.company_id = $1 AND dl.dead_letter_id = u.dead_letter_id",
            page.company,
            &found,
        )
        .execute(&mut *conn)
        .await?;
        dead_letters::forget_refusals(conn, &events).await?;
        Ok(deleted.rows_affected())
    }
}
