//! Which messages a transaction takes, what waits, and what may be acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { messages: 3, bytes: 100, steps: 10 };

const BOUNDS: Bounds = Bounds { messages: 3, bytes: 100, decoded: 100 };

type Numbers = Window<usize, usize>;

/// A window with one message for each list of keys; content and receipt are its number.
fn window(messages: &[&[u64]]) -> Numbers {
    let mut window = Window::new(BOUNDS);
    for (number, keys) in messages.iter().enumerate() {
        push(&mut window, number, Demand { keys: keys.to_vec(), ..Demand::default() });
    }
    window
}

fn push(window: &mut Numbers, number: usize, demand: Demand) {
    window.push(Arrival { content: number, receipt: number, demand });
}

fn take(window: &mut Numbers) -> (Ticket, Vec<usize>) {
    let taken = window.take(&LIMITS, Instant::now()).expect("a transaction");
    (taken.ticket, contents(taken.contents))
}

fn retry(window: &mut Numbers, now: Instant) -> (Ticket, Vec<usize>) {
    let taken = window.retry(&LIMITS, now).expect("a transaction");
    (taken.ticket, contents(taken.contents))
}

fn contents(taken: Vec<(u64, usize)>) -> Vec<usize> {
    taken.into_iter().map(|(_, content)| content).collect()
}

fn starts(window: &mut Numbers) -> bool {
    window.take(&LIMITS, Instant::now()).is_some()
}

/// These are due now.
fn parked(numbers: &[u64]) -> Vec<Parked<usize>> {
    let parked = |number: &u64| Parked {
        number: *number,
        content: usize::try_from(*number).unwrap(),
        due_at: Instant::now(),
    };
    numbers.iter().map(parked).collect()
}

fn settle(window: &mut Numbers, ticket: Ticket) -> Vec<Ack<usize>> {
    window.settle(ticket, Vec::new())
}

#[test]
fn single_message_starts_at_once() {
    let mut window = window(&[&[1]]);
    let (ticket, members) = take(&mut window);
    assert_eq!(members, [0]);
    assert!(!starts(&mut window), "nothing is left");
    assert_eq!(settle(&mut window, ticket), [Ack::Through(0)]);
    assert!(window.is_empty());
}

#[test]
fn message_with_a_key_in_flight_waits_and_its_neighbors_do_not() {
    let mut window = window(&[&[1], &[2], &[3], &[2], &[4]]);
    let (first, members) = take(&mut window);
    assert_eq!(members, [0, 1, 2]);
    let (second, members) = take(&mut window);
    assert_eq!(members, [4]);
    assert_eq!(settle(&mut window, second), [], "messages before it are not settled");
    assert!(!starts(&mut window));
    assert_eq!(settle(&mut window, first), [Ack::Through(2)]);
    let (third, members) = take(&mut window);
    assert_eq!(members, [3]);
    assert_eq!(settle(&mut window, third), [Ack::Through(4)]);
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
    assert!(!window.is_free() && !starts(&mut window));
    settle(&mut window, first);
    assert_eq!(take(&mut window).1, [6]);
}

#[test]
fn bytes_and_steps_bound_a_transaction_of_several_messages() {
    for (bytes, steps) in [(60, 1), (1, 6)] {
        let mut window = Window::new(BOUNDS);
        push(&mut window, 0, Demand { bytes, steps, ..Demand::default() });
        push(&mut window, 1, Demand { bytes, steps, ..Demand::default() });
        assert_eq!(take(&mut window).1, [0]);
        assert_eq!(take(&mut window).1, [1]);
    }
    let mut window = Window::new(BOUNDS);
    push(&mut window, 0, Demand { bytes: 1000, decoded: 1000, steps: 1000, ..Demand::default() });
    assert_eq!(window.decoded(), 1000);
    let (ticket, members) = take(&mut window);
    assert_eq!(members, [0], "one message always fits");
    settle(&mut window, ticket);
    assert_eq!(window.decoded(), 0);
}

#[test]
fn message_that_must_be_alone_runs_alone_and_in_its_turn() {
    let mut window = window(&[&[1]]);
    push(&mut window, 1, Demand { alone: true, ..Demand::default() });
    push(&mut window, 2, Demand::default());
    let (first, members) = take(&mut window);
    assert_eq!(members, [0]);
    assert!(!starts(&mut window), "it waits for the running one, and those behind wait for it");
    settle(&mut window, first);
    let taken = window.take(&LIMITS, Instant::now()).unwrap();
    assert!(taken.alone);
    assert_eq!(contents(taken.contents), [1]);
    assert!(!starts(&mut window));
    settle(&mut window, taken.ticket);
    assert_eq!(take(&mut window).1, [2]);
}

#[test]
fn parked_message_takes_up_no_transaction_and_keeps_its_key() {
    let mut window = window(&[&[1], &[2], &[1], &[3]]);
    let (first, members) = take(&mut window);
    assert_eq!(members, [0, 1, 2]);
    assert_eq!(window.settle(first, parked(&[0])), [Ack::One(1), Ack::One(2)], "not the one before them");
    push(&mut window, 4, Demand { keys: vec![1], ..Demand::default() });
    let (second, members) = take(&mut window);
    assert_eq!(members, [3], "message 4 waits for message 0");
    let (again, members) = retry(&mut window, Instant::now());
    assert_eq!(members, [0]);
    assert_eq!(settle(&mut window, second), [Ack::One(3)]);
    assert_eq!(window.oldest(), Some(&0));
    assert_eq!(settle(&mut window, again), [Ack::One(0)]);
    let (last, members) = take(&mut window);
    assert_eq!(members, [4]);
    assert_eq!(settle(&mut window, last).len(), 1);
    assert!(window.is_empty());
}

#[test]
fn parked_message_is_tried_once_it_is_due() {
    let (mut window, now) = (window(&[&[1]]), Instant::now());
    let (ticket, _) = take(&mut window);
    assert_eq!(window.next_due(), None);
    let due_at = now + Duration::from_secs(1);
    window.settle(ticket, vec![Parked { number: 0, content: 0, due_at }]);
    assert_eq!(window.next_due(), Some(due_at));
    assert!(window.retry(&LIMITS, now).is_none() && window.take(&LIMITS, due_at).is_none());
    assert_eq!(retry(&mut window, due_at).1, [0]);
    assert_eq!(window.next_due(), None, "it is being tried");
}

#[test]
fn what_has_no_room_stops_the_acknowledgments_behind_it() {
    let mut window = window(&[&[1], &[2], &[3]]);
    let (first, _) = take(&mut window);
    window.settle(first, parked(&[0, 1, 2]));
    push(&mut window, 3, Demand { keys: vec![1], ..Demand::default() });
    push(&mut window, 4, Demand { keys: vec![4], ..Demand::default() });
    let (second, members) = take(&mut window);
    assert_eq!(members, [4]);
    assert_eq!(settle(&mut window, second), [], "the message before it waits, and three are held already");
    let (again, _) = retry(&mut window, Instant::now());
    assert_eq!(window.settle(again, parked(&[0, 1])), [Ack::One(2), Ack::One(4)], "there is room for it now");
}

/// What happens next in a run.
#[derive(Clone, Debug)]
enum Event {
    Arrive(Demand),
    Start,
    Retry,
    /// The running transaction with this index ends, if there are any, and parks the messages of this mask.
    End(usize, u8),
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
        1 => Just(Event::Retry),
        2 => (0_usize..3, prop_oneof![Just(0), any::<u8>()]).prop_map(|(index, mask)| Event::End(index, mask)),
    ]
}

/// A window beside a plain record of what it did.
struct Model {
    window: Numbers,
    demands: Vec<Demand>,
    running: BTreeMap<u64, Vec<usize>>,
    parked: BTreeSet<usize>,
    settled: BTreeSet<usize>,
    acknowledged: BTreeSet<usize>,
}

impl Model {
    fn new() -> Self {
        Self {
            window: Window::new(BOUNDS),
            demands: Vec::new(),
            running: BTreeMap::new(),
            parked: BTreeSet::new(),
            settled: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(demand) => {
                push(&mut self.window, self.demands.len(), demand.clone());
                self.demands.push(demand);
            }
            Event::Start => {
                self.start();
            }
            Event::Retry => {
                self.retry();
            }
            Event::End(index, mask) => {
                if let Some(ticket) = self.running.keys().nth(index % self.running.len().max(1)).copied() {
                    self.end(ticket, mask);
                }
            }
        }
    }

    fn start(&mut self) -> bool {
        let taken = self.window.take(&LIMITS, Instant::now());
        taken.is_some_and(|taken| self.started(taken, false))
    }

    fn retry(&mut self) -> bool {
        let taken = self.window.retry(&LIMITS, Instant::now());
        taken.is_some_and(|taken| self.started(taken, true))
    }

    fn started(&mut self, Taken { ticket, contents: taken, alone }: Taken<usize>, is_retry: bool) -> bool {
        let contents = contents(taken);
        assert!(!contents.is_empty() && contents.is_sorted(), "in the order of arrival");
        for others in self.running.values() {
            assert!(!alone && self.keys(others).is_disjoint(&self.keys(&contents)), "no key is in two");
            assert!(others.iter().all(|other| !self.demands[*other].alone && !contents.contains(other)));
        }
        for message in &contents {
            assert!(!self.settled.contains(message), "taken once");
            assert_eq!(self.parked.remove(message), is_retry);
            let keys = self.keys(std::slice::from_ref(message));
            let before = |other: &usize| other < message && !contents.contains(other);
            let mut waiting =
                (0..self.demands.len()).filter(before).filter(|one| !self.settled.contains(one));
            assert!(
                waiting.all(|other| self.keys(&[other]).is_disjoint(&keys)),
                "it overtakes another with its key"
            );
        }
        if contents.len() > 1 {
            let sum =
                |of: fn(&Demand) -> usize| contents.iter().map(|m| of(&self.demands[*m])).sum::<usize>();
            assert!(contents.len() <= LIMITS.messages);
            assert!(sum(|demand| demand.bytes) <= LIMITS.bytes && sum(|demand| demand.steps) <= LIMITS.steps);
            assert!(contents.iter().all(|message| !self.demands[*message].alone));
        }
        self.running.insert(ticket.0, contents);
        assert!(self.running.len() <= MAX_RUNNING + 1);
        true
    }

    fn end(&mut self, ticket: u64, mask: u8) {
        let members = self.running.remove(&ticket).unwrap();
        let is_parked = |index: usize| {
            u32::try_from(index).is_ok_and(|index| mask.checked_shr(index).unwrap_or(0) % 2 == 1)
        };
        let mut put_off = Vec::new();
        for (index, message) in members.into_iter().enumerate() {
            if is_parked(index) {
                self.parked.insert(message);
                put_off.push(u64::try_from(message).unwrap());
            } else {
                self.settled.insert(message);
            }
        }
        for ack in self.window.settle(Ticket(ticket), parked(&put_off)) {
            match ack {
                Ack::One(message) => assert!(self.acknowledged.insert(message), "acknowledged once"),
                Ack::Through(last) => {
                    assert!(self.acknowledged.insert(last), "acknowledged once");
                    self.acknowledged.extend(0..last);
                }
            }
        }
        assert!(self.acknowledged.is_subset(&self.settled), "nothing is acknowledged before it is settled");
        let contiguous = (0..self.demands.len()).take_while(|message| self.settled.contains(message));
        assert!(
            contiguous.into_iter().all(|message| self.acknowledged.contains(&message)),
            "what can be, is"
        );
    }

    fn keys(&self, messages: &[usize]) -> BTreeSet<u64> {
        messages.iter().flat_map(|message| self.demands[*message].keys.iter().copied()).collect()
    }

    /// The oldest message that is not settled is running, or starts as soon as what runs has ended.
    fn assert_that_the_oldest_goes_on(&mut self) {
        let Some(oldest) = (0..self.demands.len()).find(|message| !self.settled.contains(message)) else {
            return;
        };
        if self.running.values().any(|members| members.contains(&oldest)) {
            return;
        }
        for ticket in self.running.keys().copied().collect::<Vec<_>>() {
            self.end(ticket, 0);
        }
        assert!(if self.parked.contains(&oldest) { self.retry() } else { self.start() });
        assert!(self.running.values().any(|members| members.contains(&oldest)));
    }
}

proptest! {
    #[test]
    fn transactions_share_no_key_acks_pass_nothing_unsettled_and_nothing_starves(
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        model.assert_that_the_oldest_goes_on();
        while model.retry() || model.start() || !model.running.is_empty() {
            if let Some(ticket) = model.running.keys().next().copied() {
                model.end(ticket, 0);
            }
        }
        prop_assert_eq!(model.acknowledged.len(), model.demands.len());
        prop_assert!(model.window.is_empty() && model.window.decoded() == 0);
    }
}
