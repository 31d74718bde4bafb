//! Figures that other modules keep and a scrape reads.

use super::{Connections, Metrics, Pool, Room, as_f64};

impl Metrics {
    /// Watches memory with a limit. `used` must answer at once; `None` once it is gone.
    pub fn watch_room(
        &self,
        room: Room,
        limit: usize,
        used: impl Fn() -> Option<usize> + Clone + Send + Sync + 'static,
    ) {
        let is_there = used.clone();
        self.room_limit.watch(room, move || is_there().map(|_| as_f64(limit)));
        self.room_used.watch(room, move || used().map(as_f64));
    }

    /// Watches a pool of at most `max` connections. `count` must answer at once: how many are open, and how many of these are
    /// free.
    pub fn watch_pool(
        &self,
        pool: Pool,
        max: usize,
        count: impl Fn() -> (usize, usize) + Clone + Send + Sync + 'static,
    ) {
        self.max_connections.watch(pool, move || Some(as_f64(max)));
        let idle = count.clone();
        self.connections.watch((pool, Connections::Idle), move || Some(as_f64(idle().1)));
        self.connections.watch((pool, Connections::Used), move || {
            let (open, idle) = count();
            Some(as_f64(open.saturating_sub(idle)))
        });
    }
}
