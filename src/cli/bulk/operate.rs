//! Commands that are operations: they plan, ask for confirmation of the count, and work until the end.

use std::collections::VecDeque;

use super::{
    super::{exit::Exit, operation, output},
    Bulk, SAMPLE, Select, Subject,
};
use crate::{
    operator::{
        operations::{self, Action, Changes, Options, State},
        paging::{Cursor, MAX_PAGE},
        selection::Selection,
    },
    postgres::Database,
    settings::Settings,
};

/// A command, and what it does.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Verb {
    pub(in crate::cli) action: Action,
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) past: &'static str,
}

impl<S: Select> Bulk<S> {
    /// Plans an operation on what is selected, and works on it once the operator has confirmed its count. If this process
    /// dies, a running service goes on.
    ///
    /// # Errors
    /// When the selection makes no sense, the operator declines, or database or broker fail.
    pub(in crate::cli) async fn operate(
        &self,
        database: &Database,
        settings: &Settings,
        verb: Verb,
        canary: bool,
    ) -> anyhow::Result<Exit> {
        let actor = self.actor()?;
        self.check_before(verb.name)?;
        let selection = match self.by_ids(database).await? {
            Some(keys) => Selection::Keys(keys),
            None => Selection::Matching(Box::new(self.filters.filter(database).await?)),
        };
        if self.dry_run {
            let (count, sample) = count::<S::Subject>(database, &selection).await?;
            self.print_plan(verb.name, i64::try_from(count).unwrap_or(i64::MAX), &sample)?;
            return Ok(Exit::Done);
        }
        if is_empty::<S::Subject>(database, &selection).await? {
            S::Subject::report(database, self.output, verb, None).await?;
            return Ok(Exit::Done);
        }
        let mut executor = operation::executor(database, settings);
        if verb.action == Action::Replay {
            // Without a broker nothing is planned.
            executor.connect().await?;
        }
        let options = Options { rate: self.rate, canary };
        let planned =
            operations::plan(database, &actor, verb.action, &S::Subject::chosen(selection), options).await?;
        if let Err(declined) = self.ask(verb.name, planned.total) {
            operations::cancel(database, &actor, planned.id).await?;
            return Err(declined);
        }
        let running = operations::run(database, &actor, planned.id, Changes::default()).await?;
        let worked = operation::work(database, settings, executor, (&running, verb.name)).await;
        let operation = operations::get(database, running.id).await?.unwrap_or(running);
        S::Subject::report(database, self.output, verb, Some(&operation)).await?;
        if operation.state != State::Done.name() {
            let because = operation.paused_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            output::note(format_args!(
                "operation {id} is {state}{because}; see `operation show {id}`",
                id = operation.id,
                state = operation.state,
            ));
        }
        worked?;
        Ok(operation::exit(&operation))
    }
}

/// A search for a text may have a page without a match before the first one.
async fn is_empty<S: Subject>(database: &Database, selection: &Selection<S::Filter>) -> anyhow::Result<bool> {
    let filter = match selection {
        Selection::Keys(keys) => return Ok(keys.is_empty()),
        Selection::Matching(filter) => filter,
    };
    let mut after = None;
    loop {
        let page = S::page(database, filter, after, 1).await?;
        match page.next {
            Some(next) if page.items.is_empty() => after = Some(next),
            _ => return Ok(page.items.is_empty()),
        }
    }
}

/// How many are selected, and the oldest of them, oldest first. Page by page, because there may be millions.
async fn count<S: Subject>(
    database: &Database,
    selection: &Selection<S::Filter>,
) -> anyhow::Result<(usize, Vec<S::Row>)> {
    let filter = match selection {
        Selection::Keys(keys) => {
            return Ok((keys.len(), S::rows(database, keys.get(..SAMPLE).unwrap_or(keys)).await?));
        }
        Selection::Matching(filter) => filter,
    };
    let limit = S::limit(filter).map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default());
    let (mut count, mut after, mut oldest) = (0, None::<Cursor>, VecDeque::new());
    loop {
        let page = S::page(database, filter, after, MAX_PAGE).await?;
        for row in page.items.into_iter().take(limit - count) {
            count += 1;
            oldest.push_front(row);
            oldest.truncate(SAMPLE);
        }
        match page.next {
            Some(next) if count < limit => after = Some(next),
            _ => return Ok((count, oldest.into())),
        }
    }
}
