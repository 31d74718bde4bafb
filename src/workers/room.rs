//! Room in memory for committed but unsettled work. A worker reserves it before it commits and never waits for it:
//! work without room stays in the database, and any process takes it from there.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::{
    metrics::{self, Metrics},
    postgres::effects::{Group, NewEffects, events::EventBatch, requests::RequestBatch},
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

/// Sends the batches that workers commit to the task that works on them. Clones share it.
pub struct BatchSender<T> {
    room: Room,
    sender: mpsc::UnboundedSender<InMemory<T>>,
}

/// Something in memory, and its room if it takes any.
pub struct InMemory<T> {
    /// A row, or an answer.
    pub item: T,
    /// Released when this is dropped.
    pub reserved: Option<Reserved>,
}

impl<T> Clone for BatchSender<T> {
    fn clone(&self) -> Self {
        Self { room: self.room.clone(), sender: self.sender.clone() }
    }
}

impl<T: Bulk> BatchSender<T> {
    /// The two ends, with this much room between them.
    #[must_use]
    pub fn new(room: Room) -> (Self, mpsc::UnboundedReceiver<InMemory<T>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { room, sender }, receiver)
    }

    /// Reserves room for what `owner` is about to commit. What found none, and all without an owner, comes back second.
    fn reserve(&self, owner: Option<Uuid>, rows: Vec<T>) -> (Vec<InMemory<T>>, Vec<T>) {
        let (mut in_memory, mut left) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            match owner.and_then(|_| self.room.reserve(row.size())) {
                Some(reserved) => in_memory.push(InMemory { item: row, reserved: Some(reserved) }),
                None => left.push(row),
            }
        }
        (in_memory, left)
    }

    /// Sends batches that are committed. If nothing takes them any more, because the process is ending, another process
    /// does.
    pub fn send(&self, rows: Vec<InMemory<T>>) {
        for row in rows {
            let _ = self.sender.send(row);
        }
    }
}

/// Reserves room for groups that `owner` is about to commit. Returns those to send after the commit, and the rows of all
/// to insert. The row of a group without room, or without a `sender`, has no owner: any process takes it.
///
/// # Errors
/// Never in practice: every group can be packed.
pub fn reserve_rows<T: Bulk + Group>(
    sender: Option<&BatchSender<T>>,
    owner: Option<Uuid>,
    groups: Vec<T>,
) -> Result<(Vec<InMemory<T>>, Vec<NewEffects>), sqlx::Error> {
    let (in_memory, left) = match sender {
        Some(sender) => sender.reserve(owner, groups),
        None => (Vec::new(), groups),
    };
    let mut rows = NewEffects::of_groups(in_memory.iter().map(|InMemory { item: group, .. }| group), owner)?;
    rows.extend(NewEffects::of_groups(&left, None)?);
    Ok((in_memory, rows))
}

impl Bulk for EventBatch {
    fn size(&self) -> usize {
        self.events.iter().map(|event| event.body.len() + OVERHEAD).sum()
    }
}

impl Bulk for RequestBatch {
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
        let (sender, _receiver) = BatchSender::new(Room::new(10 * UNIT));
        let owner = Some(Uuid::nil());
        let (in_memory, left) = sender.reserve(owner, vec![Row(6 * UNIT), Row(6 * UNIT), Row(1)]);
        assert_eq!((in_memory.len(), left.len()), (2, 1));
        assert_eq!(sender.room.free(), 3 * UNIT);
        let mut in_memory = in_memory;
        for InMemory { reserved, .. } in &mut in_memory {
            reserved.as_mut().unwrap().shrink(UNIT);
        }
        assert_eq!(sender.room.free(), 8 * UNIT);
        drop(in_memory);
        assert_eq!(sender.reserve(None, vec![Row(1)]).1.len(), 1, "without an owner");
        let (in_memory, _) = sender.reserve(owner, vec![Row(100 * UNIT)]);
        assert_eq!((in_memory.len(), sender.room.free()), (1, 0), "larger than all of it");
    }
}
