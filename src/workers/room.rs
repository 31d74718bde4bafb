//! Room in memory for committed but unsettled work. A worker reserves it before it commits and never waits for it:
//! work without room stays in the database, and any process takes it from there.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::{
    metrics::{self, Metrics},
    postgres::effects::{Group, NewEffects, events::Committed, requests::Requests},
};

/// The unit of room, in bytes.
const UNIT: usize = 1024;

/// The memory of a message or request besides its bytes.
const OVERHEAD: usize = 1024;

/// A number of bytes that several tasks share. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    free: Arc<Semaphore>,
    units: u32,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

impl Reserved {
    /// Gives up what exceeds `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let kept = usize::try_from(units(bytes)).unwrap_or(usize::MAX);
        drop(self.0.split(self.0.num_permits().saturating_sub(kept)));
    }
}

impl Room {
    /// Room for `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = units(bytes).min(u32::MAX >> 4);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Takes room, if there is enough. Anything larger than the whole room needs all of it.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let units = units(bytes).min(self.units);
        Arc::clone(&self.free).try_acquire_many_owned(units).ok().map(Reserved)
    }

    /// Takes room for something already in memory, as far as there is any.
    #[must_use]
    pub fn reserve_at_most(&self, bytes: usize) -> Option<Reserved> {
        self.reserve(bytes.min(self.free()))
    }

    /// Lets the metrics read how much is in use.
    pub fn watch(&self, metrics: &Metrics, name: metrics::Room) {
        let (room, limit) = (self.clone(), self.units as usize * UNIT);
        metrics.watch_room(name, limit, move || Some(limit.saturating_sub(room.free())));
    }

    /// Whether less than a quarter of it is free.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.free.available_permits() * 4 < self.units as usize
    }

    /// How many bytes are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits() * UNIT
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

/// Something that takes room.
pub trait Bulk {
    /// Its size in memory, in bytes.
    fn size(&self) -> usize;
}

/// The way from the workers that commit rows of type `T` to the task that works on them. Clones share it.
pub struct HandOff<T> {
    room: Room,
    sender: mpsc::UnboundedSender<Handed<T>>,
}

/// A row and its room, if it takes any.
pub struct Handed<T>(pub T, pub Option<Reserved>);

impl<T> Clone for HandOff<T> {
    fn clone(&self) -> Self {
        Self { room: self.room.clone(), sender: self.sender.clone() }
    }
}

impl<T: Bulk> HandOff<T> {
    /// The two ends, with this much room between them.
    #[must_use]
    pub fn new(room: Room) -> (Self, mpsc::UnboundedReceiver<Handed<T>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { room, sender }, receiver)
    }

    /// Reserves room for what `owner` is about to commit. What found none, and all without an owner, comes back second.
    fn reserve(&self, owner: Option<Uuid>, rows: Vec<T>) -> (Vec<Handed<T>>, Vec<T>) {
        let (mut handed, mut left) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            match owner.and_then(|_| self.room.reserve(row.size())) {
                Some(reserved) => handed.push(Handed(row, Some(reserved))),
                None => left.push(row),
            }
        }
        (handed, left)
    }

    /// Hands over rows that are committed. If nothing takes them any more, because the process is ending, another process
    /// does.
    pub fn hand_over(&self, rows: Vec<Handed<T>>) {
        for row in rows {
            let _ = self.sender.send(row);
        }
    }
}

/// Reserves room for groups that `owner` is about to commit. Returns those to hand over after the commit, and the rows of all
/// to insert. The row of a group without room, or without `hand_off`, has no owner: any process takes it.
///
/// # Errors
/// Never in practice: every group can be packed.
pub fn reserve_rows<T: Bulk + Group>(
    hand_off: Option<&HandOff<T>>,
    owner: Option<Uuid>,
    groups: Vec<T>,
) -> Result<(Vec<Handed<T>>, Vec<NewEffects>), sqlx::Error> {
    let (handed, left) = match hand_off {
        Some(hand_off) => hand_off.reserve(owner, groups),
        None => (Vec::new(), groups),
    };
    let mut rows = NewEffects::of_groups(handed.iter().map(|Handed(group, _)| group), owner)?;
    rows.extend(NewEffects::of_groups(&left, None)?);
    Ok((handed, rows))
}

impl Bulk for Committed {
    fn size(&self) -> usize {
        self.events.iter().map(|event| event.body.len() + OVERHEAD).sum()
    }
}

impl Bulk for Requests {
    fn size(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.request.size() + OVERHEAD).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row(usize);

    impl Bulk for Row {
        fn size(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn rows_without_room_are_left() {
        let (hand_off, _receiver) = HandOff::new(Room::new(10 * UNIT));
        let owner = Some(Uuid::nil());
        let (handed, left) = hand_off.reserve(owner, vec![Row(6 * UNIT), Row(6 * UNIT), Row(1)]);
        assert_eq!((handed.len(), left.len()), (2, 1));
        assert_eq!(hand_off.room.free(), 3 * UNIT);
        let mut handed = handed;
        for Handed(_, reserved) in &mut handed {
            reserved.as_mut().unwrap().shrink(UNIT);
        }
        assert_eq!(hand_off.room.free(), 8 * UNIT);
        drop(handed);
        assert_eq!(hand_off.reserve(None, vec![Row(1)]).1.len(), 1, "without an owner");
        let (handed, _) = hand_off.reserve(owner, vec![Row(100 * UNIT)]);
        assert_eq!((handed.len(), hand_off.room.free()), (1, 0), "larger than all of it");
    }
}
