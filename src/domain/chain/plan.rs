//! What one event makes the service do: the steps of its chain, each ready to be carried out.
//! A plan is a function of the event and the rules alone. Carrying it out is the workers' part.

mod contact_update;

use std::{fmt, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use crate::domain::{
    contact::{ContactUpdate, placeholder::Placeholders},
    event::{CompanyId, Stamp},
    fault::{Fault, Reason},
    trigger::{
        definition::{Action, Trigger},
        fired::TriggerFired,
    },
    value::phone::{Region, Regions},
    value::text::quote,
    webhook::action::WebhookAction,
};

/// What a deployment decides about every event.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Steps that run where the event does not say it.
    pub default_max_interactions: u32,
    /// Where phone numbers without a country code belong, and how dates are written.
    pub regions: Arc<Regions>,
    /// What becomes of a person without phone and email.
    pub on_unidentified: OnUnidentified,
    /// Longest value of a field, in characters.
    pub max_value_length: usize,
    /// Values that stand for no value.
    pub placeholders: Arc<Placeholders>,
}

impl Rules {
    /// The region of this company.
    #[must_use]
    pub fn region_of(&self, company: &CompanyId) -> Region {
        self.regions.of(company)
    }
}

/// What becomes of an update that gives neither phone nor email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnidentified {
    /// A new contact.
    Create,
    /// A dead letter, `identifier_invalid`.
    Reject,
}

/// The steps of an event's chain.
#[derive(Debug)]
pub struct Plan {
    /// The event, its arguments checked.
    pub event: TriggerFired,
    /// How many steps may run.
    pub max_interactions: u32,
    /// The steps to run, in order.
    pub steps: Vec<Step>,
    /// How many further steps the chain has.
    pub skipped: u16,
}

/// One action that runs: one interaction.
pub struct Step {
    /// Its place in the whole chain, counted from 1.
    pub index: u16,
    /// The trigger that it belongs to.
    pub trigger: Arc<Trigger>,
    /// What to do.
    pub work: Work,
}

/// What a step does.
#[expect(clippy::large_enum_variant, reason = "most steps are upserts; a box would cost each an allocation")]
pub enum Work {
    /// Upsert a contact.
    UpsertContact(ContactUpdate),
    /// Send a webhook.
    Webhook(Arc<WebhookAction>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work: &dyn fmt::Debug = match &self.work {
            Work::UpsertContact(update) => update,
            Work::Webhook(_) => &"Webhook",
        };
        f.debug_struct("Step").field("index", &self.index).field("work", work).finish_non_exhaustive()
    }
}

/// Checks the arguments and prepares every step that runs.
///
/// # Errors
/// A fault of a step that would run, with company, event and trigger. Steps beyond
/// `maxInteractions` are not looked at.
pub fn plan(mut event: TriggerFired, rules: &Rules) -> Result<Plan, Fault> {
    let max_interactions = event.max_interactions.unwrap_or(rules.default_max_interactions);
    let arguments = Value::Object(std::mem::take(&mut event.arguments));
    let steps = steps(&event, &arguments, max_interactions, rules).map_err(|fault| Fault {
        company: Some(event.company.clone()),
        event: Some(event.event.clone()),
        trigger: event.triggers.first().map(|trigger| trigger.name().to_owned()),
        ..fault
    })?;
    if let Value::Object(arguments) = arguments {
        event.arguments = arguments;
    }
    let all: usize = event.triggers.iter().map(|trigger| trigger.actions().len()).sum();
    let skipped = u16::try_from(all - steps.len()).unwrap_or(u16::MAX);
    Ok(Plan { event, max_interactions, steps, skipped })
}

fn steps(event: &TriggerFired, arguments: &Value, max: u32, rules: &Rules) -> Result<Vec<Step>, Fault> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let region = rules.region_of(&event.company);
    let mut steps = Vec::new();
    for trigger in &event.triggers {
        let running = max.saturating_sub(steps.len()).min(trigger.actions().len());
        if running == 0 {
            break;
        }
        trigger.check_arguments(arguments).map_err(|broken| {
            let message = format!("trigger {}: {broken}", quote(trigger.name()));
            Fault::new(Reason::ArgumentsInvalid, message)
        })?;
        for action in trigger.actions().iter().take(running) {
            let index = u16::try_from(steps.len() + 1).unwrap_or(u16::MAX);
            let work = match action {
                Action::Webhook(webhook) => Work::Webhook(Arc::clone(webhook)),
                Action::UpsertContact(mapping) => {
                    let stamp = Stamp { time: event.time, event: event.event.clone(), step: index };
                    Work::UpsertContact(contact_update::fill(mapping, arguments, stamp, region, rules)?)
                }
            };
            steps.push(Step { index, trigger: Arc::clone(trigger), work });
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
