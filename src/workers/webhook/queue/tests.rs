//! Who is sent next, and who has to wait.

use super::{lane::MAX_UNRECORDED, *};

struct Item(Uuid, Key, &'static str);

impl Queued for Item {
    fn id(&self) -> Uuid {
        self.0
    }

    fn lane(&self) -> &Key {
        &self.1
    }

    fn host(&self) -> &str {
        self.2
    }

    fn size(&self) -> usize {
        1_000
    }
}

fn lane(company: &str, number: u128) -> Key {
    Key { company: company.to_owned(), id: Uuid::from_u128(number) }
}

fn push(queue: &mut Queue<Item>, lane: &Key, host: &'static str, count: usize) {
    for _ in 0..count {
        let _ = queue.push(Item(Uuid::now_v7(), lane.clone(), host), 1000);
    }
}

/// Starts what may be in flight, and counts it by company.
fn start(queue: &mut Queue<Item>) -> HashMap<String, usize> {
    let mut started = HashMap::new();
    while let Some(item) = queue.next() {
        *started.entry(item.1.company).or_default() += 1;
    }
    started
}

#[test]
fn a_company_leaves_bytes_for_others() {
    let mut queue = Queue::new(100, 1000, 30_000);
    for number in 0..30 {
        if queue.room_of("acme") > 0 {
            push(&mut queue, &lane("acme", number), "a", 1);
        }
    }
    assert_eq!((queue.free_bytes(), queue.room_of("acme")), (9_000, 0));
    assert!(queue.room_of("globex") > 0 && queue.full_companies() == ["acme"]);
    push(&mut queue, &lane("globex", 1), "a", 9);
    assert_eq!((queue.free(), queue.room_of("globex")), (0, 0));
    assert_eq!(queue.busy_companies().len(), 2);
}

#[test]
fn company_is_congested_by_what_it_has_and_sends_at_once() {
    let mut queue = Queue::new(100, 1000, usize::MAX / 8);
    let (fast, slow) = (lane("acme", 1), lane("acme", 2));
    let is_congested = |queue: &Queue<Item>, wanted: &Key, count, is_recent: fn(&Item) -> bool| {
        queue.is_congested(&wanted.company, &HashMap::from([(wanted.clone(), count)]), is_recent)
    };
    assert!(!is_congested(&queue, &fast, 2_000, |_| true), "it would never have room");
    push(&mut queue, &fast, "a", 249);
    assert!(!is_congested(&queue, &fast, 2_000, |_| true), "batches are taken that have no owner");
    push(&mut queue, &fast, "a", 151);
    assert_eq!(queue.room(&fast), 100);
    assert!(is_congested(&queue, &fast, 101, |_| true));
    assert!(!is_congested(&queue, &fast, 100, |_| true));
    assert!(!is_congested(&queue, &lane("globex", 1), 2_000, |_| true), "others use up the room");
    push(&mut queue, &slow, "b", 1);
    assert!(!is_congested(&queue, &fast, 101, |item| item.2 != "b"), "an endpoint does not keep up");
}

#[test]
fn answers_of_one_company_leave_room_for_those_of_others() {
    let mut queue = Queue::new(100, 1000, 30_000);
    let (acme, globex) = (lane("acme", 1), lane("globex", 1));
    push(&mut queue, &acme, "a", 5);
    // A second flow waits as well.
    push(&mut queue, &lane("acme", 2), "b", 2);
    let (first, second) = (queue.next().unwrap(), queue.next().unwrap());
    queue.answered(first.0, &acme, 10_000);
    assert!(queue.next().is_some(), "a third of the room is left");
    queue.answered(second.0, second.lane(), 1);
    push(&mut queue, &globex, "a", 2);
    assert_eq!(start(&mut queue), HashMap::from([("globex".to_owned(), 2)]));
    queue.recorded(second.0, second.lane());
    assert_eq!(start(&mut queue), HashMap::from([("acme".to_owned(), 4)]));
    assert!(queue.unanswerable.is_empty());
}

#[test]
fn nothing_is_sent_while_many_answers_are_not_recorded() {
    let mut queue = Queue::new(100, 1000, 30_000);
    let (acme, globex, initech) = (lane("acme", 1), lane("globex", 1), lane("initech", 1));
    push(&mut queue, &acme, "a", 1);
    push(&mut queue, &globex, "a", 1);
    let (first, second) = (queue.next().unwrap(), queue.next().unwrap());
    queue.answered(first.0, &acme, 10_000);
    queue.answered(second.0, &globex, 5_000);
    push(&mut queue, &initech, "a", 1);
    assert!(queue.next().is_none());
    queue.recorded(second.0, &globex);
    assert!(queue.next().is_some());
    queue.recorded(first.0, &acme);
    assert_eq!((queue.answer_bytes, queue.free_answer_bytes()), (0, 15_000));
}

#[test]
fn a_lane_sends_up_to_its_cap() {
    let mut queue = Queue::new(100, 1000, usize::MAX / 8);
    let lane = lane("acme", 1);
    for _ in 0..5 {
        assert!(queue.push(Item(Uuid::now_v7(), lane.clone(), "a"), 2).is_ok());
    }
    assert_eq!(start(&mut queue).get("acme"), Some(&2));
    queue.ended(&lane);
    assert_eq!(start(&mut queue).get("acme"), Some(&1));
    assert_eq!(queue.held_of(&lane), 5, "until the outcomes are recorded");
}

#[test]
fn what_is_sent_twice_after_a_crash_is_bounded() {
    let mut queue = Queue::new(100, 1_000, usize::MAX / 8);
    let key = lane("a", 1);
    push(&mut queue, &key, "host", 2 * MAX_UNRECORDED);
    let mut ended = Vec::new();
    while let Some(item) = queue.next() {
        queue.ended(&key);
        ended.push(item);
    }
    assert_eq!(ended.len(), MAX_UNRECORDED, "none of them is recorded");
    for item in &ended {
        queue.recorded(item.id(), &key);
    }
    assert!(queue.next().is_some(), "they are recorded");
}

#[test]
fn a_host_uses_at_most_half_of_the_slots() {
    let mut queue = Queue::new(100, 1000, usize::MAX / 8);
    for company in 0..100 {
        push(&mut queue, &lane(&format!("c{company}"), 1), "a", 2);
    }
    assert_eq!(start(&mut queue).len(), 50);
    push(&mut queue, &lane("c1", 2), "b", 200);
    assert_eq!(start(&mut queue).get("c1"), Some(&17), "another host");
}

#[test]
fn a_company_leaves_slots_of_its_host_for_others() {
    let mut queue = Queue::new(100, 1000, usize::MAX / 8);
    for number in 0..100 {
        push(&mut queue, &lane("greedy", number), "hangs", 1);
    }
    assert_eq!(start(&mut queue).get("greedy"), Some(&34), "a third");
    for (company, expected) in [("a", 11), ("b", 4), ("c", 1), ("d", 0)] {
        push(&mut queue, &lane(company, 1), "hangs", 100);
        assert_eq!(start(&mut queue).get(company).copied().unwrap_or_default(), expected, "{company}");
    }
    queue.ended(&lane("greedy", 1));
    assert_eq!(start(&mut queue).len(), 1);
}

#[test]
fn companies_leave_slots_for_others() {
    let mut queue = Queue::new(120, 100_000, usize::MAX / 8);
    for (number, host) in (0..).zip(["a", "b", "c", "d", "e"]) {
        push(&mut queue, &lane("greedy", number), host, 100);
    }
    assert_eq!(start(&mut queue).get("greedy"), Some(&80));
    push(&mut queue, &lane("modest", 1), "host", 5);
    assert_eq!(start(&mut queue).get("modest"), Some(&5));
}

#[test]
fn blocked_lanes_do_not_hide_others() {
    let mut queue = Queue::new(100, 10_000, usize::MAX / 8);
    for number in 0..1000 {
        push(&mut queue, &lane("acme", number), "hangs", 1);
    }
    assert_eq!(start(&mut queue).get("acme"), Some(&34));
    push(&mut queue, &lane("other", 1), "works", 1);
    assert_eq!(start(&mut queue).get("other"), Some(&1));
}

/// 1,000 companies on one host.
#[test]
fn blocked_flows_are_not_looked_at_again() {
    let mut queue = Queue::new(100, 10_000, usize::MAX / 8);
    for number in 0..1000 {
        push(&mut queue, &lane(&format!("c{number}"), 1), "hangs", 1);
    }
    assert_eq!(start(&mut queue).len(), 50);
    assert_eq!(queue.ready.len(), 0, "all others wait for their host");
    for number in 0..10 {
        queue.ended(&lane(&format!("c{number}"), 1));
        let next = queue.next().map(|item| item.1.company);
        assert_eq!(next, Some(format!("c{}", 50 + number)), "in the order of the line");
        assert_eq!(queue.ready.len(), 0, "nobody else was called in vain");
        assert!(queue.next().is_none());
    }
}

/// Slots that others leave are of use to those whose own requests hang.
#[test]
fn more_free_slots_raise_the_shares_of_those_who_wait() {
    let mut queue = Queue::new(32, 1_000, usize::MAX / 8);
    push(&mut queue, &lane("other", 1), "works", 10);
    assert_eq!(start(&mut queue).get("other"), Some(&10));
    push(&mut queue, &lane("acme", 1), "hangs", 100);
    assert_eq!(start(&mut queue).get("acme"), Some(&8));
    for _ in 0..10 {
        queue.ended(&lane("other", 1));
    }
    assert_eq!(start(&mut queue).get("acme"), Some(&3), "a third of all");
}

/// Flows that wait for a host must not hide others of their company, nor those of a company others on their host.
#[test]
fn whoever_cannot_use_a_turn_passes_it_on() {
    let mut queue = Queue::new(9, 1_000, usize::MAX / 8);
    push(&mut queue, &lane("other", 1), "a", 3);
    assert_eq!(start(&mut queue).get("other"), Some(&3));
    // Three slots of each host, and four of the company, are in use.
    for (number, host) in (1..).zip(["b", "c", "a", "b", "c", "d", "a"]) {
        push(&mut queue, &lane("acme", number), host, 4);
    }
    let started = start(&mut queue);
    assert_eq!(started.get("acme"), Some(&4), "{started:?}");
    for _ in 0..3 {
        queue.ended(&lane("other", 1));
    }
    // Nothing of host a is in flight now, and its only flow waits for the company.
    push(&mut queue, &lane("third", 1), "a", 1);
    assert_eq!(start(&mut queue).get("third"), Some(&1));
}

/// The outcome may be recorded before the request counts as ended.
fn finish(queue: &mut Queue<Item>, item: &Item, is_recorded_first: bool) {
    if is_recorded_first {
        queue.recorded(item.0, &item.1);
    }
    queue.ended(&item.1);
    queue.recorded(item.0, &item.1);
}

/// In any order of events, everything that is not taken back is sent.
#[test]
fn no_flow_is_forgotten() {
    let mut random = 1_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let mut queue = Queue::new(usize::try_from(1 + next(12)).unwrap(), 10_000, usize::MAX / 8);
        let (mut flying, mut pushed, mut ended) = (Vec::new(), 0, 0);
        for _ in 0..300 {
            match next(4) {
                0 | 1 if pushed < 120 => {
                    let lane = lane(["a", "b", "c"][usize::try_from(next(3)).unwrap()], next(6).into());
                    // The host of a lane never changes.
                    let host = ["h", "i", "j"][usize::try_from(lane.id.as_u128() % 3).unwrap()];
                    let cap = u32::try_from(1 + next(4)).unwrap();
                    assert!(queue.push(Item(Uuid::now_v7(), lane, host), cap).is_ok());
                    pushed += 1;
                }
                2 => flying.extend(queue.next()),
                _ if flying.is_empty() => {}
                _ => {
                    let item: Item = flying.swap_remove(usize::try_from(next(flying.len() as u64)).unwrap());
                    finish(&mut queue, &item, next(2) == 0);
                    ended += 1;
                }
            }
        }
        loop {
            while let Some(item) = queue.next() {
                flying.push(item);
            }
            let Some(item) = flying.pop() else { break };
            finish(&mut queue, &item, next(2) == 0);
            ended += 1;
        }
        assert_eq!((ended, queue.is_empty()), (pushed, true));
        let left = (queue.ready.len(), queue.flows.len(), queue.lanes.len(), queue.held_by.len());
        assert_eq!(left, (0, 0, 0, 0));
        assert!(queue.hosts.is_empty() && queue.companies.is_empty() && queue.of_flows.is_empty());
    }
}

#[test]
fn the_same_delivery_is_held_once() {
    let mut queue = Queue::new(10, 10, usize::MAX / 8);
    let (id, lane) = (Uuid::now_v7(), lane("acme", 1));
    assert!(queue.push(Item(id, lane.clone(), "a"), 1).is_ok());
    assert!(queue.push(Item(id, lane.clone(), "a"), 1).is_err());
    queue.recorded(id, &lane);
    assert!(queue.is_empty());
}

#[test]
fn memory_is_shared_like_slots() {
    let mut queue = Queue::new(10, 90, usize::MAX / 8);
    let greedy = lane("greedy", 1);
    while queue.room(&greedy) > 0 {
        push(&mut queue, &greedy, "a", 1);
    }
    assert!((40..=60).contains(&queue.held_of(&greedy)), "{}", queue.held_of(&greedy));
    assert!(queue.room(&lane("modest", 1)) > 5);
}

#[test]
fn waiting_deliveries_can_be_taken_back() {
    let mut queue = Queue::new(10, 100, usize::MAX / 8);
    let lane = lane("acme", 1);
    for _ in 0..4 {
        assert!(queue.push(Item(Uuid::now_v7(), lane.clone(), "a"), 1).is_ok());
    }
    assert!(queue.next().is_some());
    assert_eq!(queue.take_waiting(&lane).len(), 3);
    assert!(queue.next().is_none());
    assert_eq!(queue.held_of(&lane), 4);
}

#[test]
fn overdue_deliveries_are_found_behind_others() {
    let mut queue = Queue::new(1, 100, usize::MAX / 8);
    let lane = lane("acme", 1);
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        assert!(queue.push(Item(*id, lane.clone(), "a"), 1).is_ok());
    }
    let overdue = queue.take_overdue(|item| [ids[1], ids[3]].contains(&item.0));
    assert_eq!(overdue.iter().map(|item| item.0).collect::<Vec<_>>(), [ids[1], ids[3]]);
    let left = queue.take_waiting(&lane).into_iter().map(|item| item.0);
    assert_eq!(left.collect::<Vec<_>>(), [ids[0], ids[2], ids[4]]);
}
