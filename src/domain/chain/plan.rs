//! The plan of one event: the steps of its chain, checked and ready to run. It depends on the event and the
//! rules alone; [`super::run`] runs it against contacts.

mod contact_update;
mod reading;

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use self::{
    contact_update::{ArgumentResult, Explained, outcome_of},
    reading::{NoKey, read_key},
};
use crate::domain::{
    chain::rules::Rules,
    contact::{ContactUpdate, Identifier},
    event::Stamp,
    fault::{Fault, Reason},
    trigger::{
        definition::{Action, Trigger},
        fired::TriggerFired,
    },
    value::{phone::Region, text::quote},
    webhook::action::WebhookAction,
};

/// The steps of an event's chain that will run.
#[derive(Debug)]
pub struct Plan {
    /// The event, its arguments checked.
    pub event: TriggerFired,
    /// How many steps may run.
    pub max_interactions: u64,
    /// The steps to run, in order.
    pub steps: Vec<Step>,
    /// Number of steps beyond `max_interactions`.
    pub skipped: u16,
}

impl Plan {
    /// The contact updates of its CRM steps, in order.
    pub fn updates(&self) -> impl Iterator<Item = (&Step, &ContactUpdate)> {
        self.steps.iter().filter_map(|step| match &step.work {
            Work::UpsertContact(update) => Some((step, update)),
            Work::Webhook(_) => None,
        })
    }

    /// The numbers of its webhook steps, in order.
    pub fn webhooks(&self) -> impl Iterator<Item = u16> {
        let webhooks = self.steps.iter().filter(|step| matches!(step.work, Work::Webhook(_)));
        webhooks.map(|step| step.index)
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let values = self.updates().flat_map(|(_, update)| update.values.iter());
        let values: usize = values.map(|(_, value)| value.capacity()).sum();
        self.event.size() + self.steps.len() * size_of::<Step>() + values
    }

    /// The outcome of each argument that a CRM step of this plan names; empty for other steps. `rules` are those that
    /// the plan was made with.
    #[must_use]
    pub fn explain(&self, step: &Step, rules: &Rules) -> Vec<Explained> {
        let mut actions = self.event.triggers.iter().flat_map(|trigger| trigger.actions());
        let action = usize::from(step.index).checked_sub(1).and_then(|before| actions.nth(before));
        let (Some(Action::UpsertContact(mapping)), Work::UpsertContact(update)) = (action, &step.work) else {
            return Vec::new();
        };
        let region = rules.region_of(&self.event.company);
        let mut sent = Cow::Borrowed(&self.event.arguments);
        for (name, digits) in digits(&self.event, &self.event.arguments) {
            sent.to_mut().insert(name.clone(), digits);
        }
        if !self.event.left_out.is_empty() {
            sent.to_mut().extend(self.event.left_out.clone());
        }
        contact_update::explain(mapping, &sent, update, region, rules)
    }

    /// The identifiers that its CRM steps give.
    pub fn identifiers(&self) -> impl Iterator<Item = Identifier> {
        self.updates().flat_map(|(_, update)| update.identifiers())
    }
}

/// One action that runs: one interaction.
pub struct Step {
    /// Its position in the whole chain, counted from 1.
    pub index: u16,
    /// The trigger that defines it.
    pub trigger: Arc<Trigger>,
    /// Upsert or webhook.
    pub work: Work,
}

/// The work of a step, with its values filled in.
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
/// `maxInteractions` are not checked.
pub fn plan(mut event: TriggerFired, rules: &Rules) -> Result<Plan, Fault> {
    let max_interactions = event.max_interactions.unwrap_or_else(|| rules.default_max_interactions.into());
    let mut arguments = Value::Object(std::mem::take(&mut event.arguments));
    let mut left_out = Map::new();
    let steps = steps(&event, &mut arguments, &mut left_out, max_interactions, rules)
        .map_err(|fault| event.fault(fault.reason, fault.message))?;
    if let Value::Object(arguments) = arguments {
        event.arguments = arguments;
    }
    event.left_out = left_out;
    let all: usize = event.triggers.iter().map(|trigger| trigger.actions().len()).sum();
    let skipped = u16::try_from(all - steps.len()).unwrap_or(u16::MAX);
    Ok(Plan { event, max_interactions, steps, skipped })
}

fn steps(
    event: &TriggerFired,
    arguments: &mut Value,
    left_out: &mut Map<String, Value>,
    max: u64,
    rules: &Rules,
) -> Result<Vec<Step>, Fault> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let region = rules.region_of(&event.company);
    let mut steps = Vec::new();
    for trigger in &event.triggers {
        let running = max.saturating_sub(steps.len()).min(trigger.actions().len());
        if running == 0 {
            break;
        }
        left_out.extend(check(trigger, arguments, event.time, region, rules)?);
        for action in trigger.actions().iter().take(running) {
            let index = u16::try_from(steps.len() + 1).unwrap_or(u16::MAX);
            let work = match action {
                Action::Webhook(webhook) => Work::Webhook(Arc::clone(webhook)),
                Action::UpsertContact(mapping) => {
                    let stamp = Stamp { time: event.time, event: event.event.clone(), step: index };
                    let given = given(event, arguments);
                    Work::UpsertContact(contact_update::fill(mapping, &given, stamp, region, rules)?)
                }
            };
            steps.push(Step { index, trigger: Arc::clone(trigger), work });
        }
    }
    Ok(steps)
}

/// The arguments as a contact gets them: numbers that no type holds are texts.
fn given<'a>(event: &TriggerFired, arguments: &'a Value) -> Cow<'a, Value> {
    let mut given = Cow::Borrowed(arguments);
    for (name, digits) in arguments.as_object().into_iter().flat_map(|arguments| digits(event, arguments)) {
        if let Some(value) = given.to_mut().get_mut(name) {
            *value = digits;
        }
    }
    given
}

/// The digits of the arguments that are numbers beyond 64 bits.
fn digits<'a>(
    event: &'a TriggerFired,
    arguments: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a String, Value)> {
    let is_number = |name: &String| arguments.get(name).is_some_and(Value::is_number);
    let digits = event.digits.iter().filter(move |(name, _)| is_number(name));
    digits.map(|(name, digits)| (name, Value::from(digits.as_str())))
}

/// Checks the arguments against the trigger's parameters. If they fit only without some that are not a value for the contact
/// anyway (blank, a placeholder), these become null and are returned.
fn check(
    trigger: &Trigger,
    arguments: &mut Value,
    said_at: OffsetDateTime,
    region: Region,
    rules: &Rules,
) -> Result<Map<String, Value>, Fault> {
    let Err(broken) = trigger.check_arguments(arguments) else { return Ok(Map::new()) };
    let names = contact_update::without_value(trigger, arguments, said_at, region, rules);
    let left_out =
        names.into_iter().filter_map(|name| Some((name.to_owned(), arguments.get_mut(name)?.take())));
    let left_out: Map<String, Value> = left_out.collect();
    if left_out.is_empty() || trigger.check_arguments(arguments).is_err() {
        let message = format!("trigger {}: {broken}", quote(trigger.name()));
        return Err(Fault::new(Reason::ArgumentsInvalid, message));
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests;
