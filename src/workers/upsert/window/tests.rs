//! Which messages a transaction takes, what waits, and what may be acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { messages: 3, bytes: 100, steps: 10 };

type Numbers = Window<usize, usize>;

/// A window with one message for each list of keys; content and receipt are its number.
fn window(messages: &[&[u64]]) -> Numbers {
    let mut window = Window::default();
    for (number, keys) in messages.iter().enumerate() {
        push(&mut window, number, Demand { keys: keys.to_vec(), ..Demand::default() });
    }
    window
}

fn push(window: &mut Numbers, number: usize, demand: Demand) {
    window.push(Arrival { content: number, receipt: number, demand });
}

fn take(window: &mut Numbers) -> (Ticket, Vec<usize>) {
    let taken = window.take(&LIMITS).expect("a transaction");
    (taken.ticket, taken.contents)
}

#[test]
fn single_message_starts_at_once() {
    let mut window = window(&[&[1]]);
    let (ticket, members) = take(&mut window);
    assert_eq!(members, [0]);
    assert!(window.take(&LIMITS).is_none(), "nothing is left");
    assert_eq!(window.settle(ticket), Some(0));
    assert!(window.is_empty());
}

#[test]
fn message_with_a_key_in_flight_waits_and_its_neighbors_do_not() {
    let mut window = window(&[&[1], &[2], &[3], &[2], &[4]]);
    let (first, members) = take(&mut window);
    assert_eq!(members, [0, 1, 2]);
    let (second, members) = take(&mut window);
    assert_eq!(members, [4]);
    assert_eq!(window.settle(second), None, "messages before it are not settled");
    assert!(window.take(&LIMITS).is_none());
    assert_eq!(window.settle(first), Some(2));
    let (third, members) = take(&mut window);
    assert_eq!(members, [3]);
    assert_eq!(window.settle(third), Some(4));
}

#[test]
fn messages_with_a_common_key_are_taken_together() {
    assert_eq!(take(&mut window(&[&[1], &[1, 2], &[2]])).1, [0, 1, 2]);
}

#[test]
fn waiting_message_keeps_its_keys_for_itself() {
    let mut window = window(&[&[1], &[9], &[8], &[1, 2], &[2], &[3]]);
    take(&mut window);
    let (_, members) = take(&mut window);
    assert_eq!(members, [5], "message 4 would overtake message 3");
}

#[test]
fn two_transactions_run_at_most() {
    let mut window = window(&[&[1], &[2], &[3], &[4], &[5], &[6], &[7]]);
    let (first, _) = take(&mut window);
    take(&mut window);
    assert!(!window.is_free() && window.take(&LIMITS).is_none());
    window.settle(first);
    assert_eq!(take(&mut window).1, [6]);
}

#[test]
fn bytes_and_steps_bound_a_transaction_of_several_messages() {
    for (bytes, steps) in [(60, 1), (1, 6)] {
        let mut window = Window::default();
        push(&mut window, 0, Demand { bytes, steps, ..Demand::default() });
        push(&mut window, 1, Demand { bytes, steps, ..Demand::default() });
        assert_eq!(take(&mut window).1, [0]);
        assert_eq!(take(&mut window).1, [1]);
    }
    let mut window = Window::default();
    push(&mut window, 0, Demand { bytes: 1000, decoded: 1000, steps: 1000, ..Demand::default() });
    assert_eq!(window.decoded(), 1000);
    let (ticket, members) = take(&mut window);
    assert_eq!(members, [0], "one message always fits");
    window.settle(ticket);
    assert_eq!(window.decoded(), 0);
}

#[test]
fn message_that_must_be_alone_runs_alone_and_in_its_turn() {
    let mut window = window(&[&[1]]);
    push(&mut window, 1, Demand { alone: true, ..Demand::default() });
    push(&mut window, 2, Demand::default());
    let (first, members) = take(&mut window);
    assert_eq!(members, [0]);
    assert!(window.take(&LIMITS).is_none(), "it waits for the running one, and those behind wait for it");
    window.settle(first);
    let taken = window.take(&LIMITS).unwrap();
    assert!(taken.alone);
    assert_eq!(taken.contents, [1]);
    assert!(window.take(&LIMITS).is_none());
    window.settle(taken.ticket);
    assert_eq!(take(&mut window).1, [2]);
}

/// What happens next in a run.
#[derive(Clone, Debug)]
enum Event {
    Arrive(Demand),
    Start,
    /// The running transaction with this index ends, if there are any.
    End(usize),
}

fn demand() -> impl Strategy<Value = Demand> {
    let keys = prop::collection::btree_set(0_u64..8, 0..3);
    (keys, 0_usize..60, 0_usize..6, prop::bool::weighted(0.1)).prop_map(|(keys, bytes, steps, alone)| {
        let keys = if alone { Vec::new() } else { keys.into_iter().collect() };
        Demand { keys, bytes, decoded: bytes, steps, alone }
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => demand().prop_map(Event::Arrive),
        2 => Just(Event::Start),
        2 => (0_usize..2).prop_map(Event::End),
    ]
}

/// A window beside a plain record of what it did.
#[derive(Default)]
struct Model {
    window: Numbers,
    demands: Vec<Demand>,
    running: BTreeMap<u64, Vec<usize>>,
    settled: BTreeSet<usize>,
    acknowledged: usize,
}

impl Model {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(demand) => {
                push(&mut self.window, self.demands.len(), demand.clone());
                self.demands.push(demand);
            }
            Event::Start => {
                self.start();
            }
            Event::End(index) => {
                if let Some(ticket) = self.running.keys().nth(index % self.running.len().max(1)).copied() {
                    self.end(ticket);
                }
            }
        }
    }

    fn start(&mut self) -> bool {
        let Some(Taken { ticket, contents, alone }) = self.window.take(&LIMITS) else { return false };
        assert!(!contents.is_empty() && contents.is_sorted(), "in the order of arrival");
        for others in self.running.values() {
            assert!(!alone && self.keys(others).is_disjoint(&self.keys(&contents)), "no key is in two");
            assert!(others.iter().all(|other| !self.demands[*other].alone && !contents.contains(other)));
        }
        assert!(contents.iter().all(|message| !self.settled.contains(message)), "taken once");
        if contents.len() > 1 {
            let sum =
                |of: fn(&Demand) -> usize| contents.iter().map(|m| of(&self.demands[*m])).sum::<usize>();
            assert!(contents.len() <= LIMITS.messages);
            assert!(sum(|demand| demand.bytes) <= LIMITS.bytes && sum(|demand| demand.steps) <= LIMITS.steps);
            assert!(contents.iter().all(|message| !self.demands[*message].alone));
        }
        self.running.insert(ticket.0, contents);
        assert!(self.running.len() <= MAX_RUNNING);
        true
    }

    fn end(&mut self, ticket: u64) {
        self.settled.extend(self.running.remove(&ticket).unwrap());
        if let Some(last) = self.window.settle(Ticket(ticket)) {
            assert!(last >= self.acknowledged, "in order");
            self.acknowledged = last + 1;
        }
        let contiguous = (0..self.demands.len()).take_while(|message| self.settled.contains(message)).count();
        assert_eq!(self.acknowledged, contiguous, "all that is settled, and nothing beyond");
    }

    fn keys(&self, messages: &[usize]) -> BTreeSet<u64> {
        messages.iter().flat_map(|message| self.demands[*message].keys.iter().copied()).collect()
    }

    /// The oldest message that is not settled is running, or starts as soon as what runs has ended.
    fn assert_that_the_oldest_goes_on(&mut self) {
        let oldest = self.acknowledged;
        if oldest == self.demands.len() || self.running.values().any(|members| members.contains(&oldest)) {
            return;
        }
        for ticket in self.running.keys().copied().collect::<Vec<_>>() {
            self.end(ticket);
        }
        assert!(self.start());
        assert!(self.running.values().any(|members| members.contains(&oldest)));
    }
}

proptest! {
    #[test]
    fn transactions_share_no_key_acks_pass_nothing_unsettled_and_nothing_starves(
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut model = Model::default();
        for event in events {
            model.happen(event);
        }
        model.assert_that_the_oldest_goes_on();
        while model.start() || !model.running.is_empty() {
            if let Some(ticket) = model.running.keys().next().copied() {
                model.end(ticket);
            }
        }
        prop_assert_eq!(model.acknowledged, model.demands.len());
        prop_assert!(model.window.is_empty() && model.window.decoded() == 0);
    }
}
