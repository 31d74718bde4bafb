//! What compiling needs beyond the schema itself.

use super::{MEMBER, Node, Outline};
use crate::domain::trigger::parameters::budget::Budget;

/// Schemas within each other that are compiled again for `unevaluatedProperties` or `unevaluatedItems` around them.
const MAX_UNFOLDED: usize = 64;
/// The memory that such a schema takes, in bytes, without the way to it.
const UNFOLDED: u64 = 1024;

impl Outline {
    /// Takes what compiling takes beyond the schema itself. `unevaluatedProperties` and `unevaluatedItems` compile all that
    /// applies to the same value once more, through all references. `None` if the budget is not enough.
    pub(in crate::domain::trigger::parameters) fn unfold(&self, budget: &Budget) -> Option<()> {
        let mut unfolding = Unfolding { nodes: &self.nodes, budget, open: Vec::new() };
        for (position, node) in self.nodes.iter().enumerate() {
            for _ in 0..node.unevaluated {
                unfolding.unfold(position, node.way, false)?;
            }
        }
        Some(())
    }
}

/// What `unevaluatedProperties` and `unevaluatedItems` compile.
struct Unfolding<'o> {
    nodes: &'o [Node],
    budget: &'o Budget,
    /// The schemas that are being unfolded, one in another.
    open: Vec<usize>,
}

impl Unfolding<'_> {
    /// `way` is the length of the way to the schema that this began with. What lies behind a reference is compiled again,
    /// with all that it holds.
    fn unfold(&mut self, position: usize, way: u64, is_moved: bool) -> Option<()> {
        if self.open.len() > MAX_UNFOLDED {
            return None;
        }
        let nodes = self.nodes;
        let node = nodes.get(position)?;
        let way = way + node.own_way + MEMBER;
        self.budget.take(UNFOLDED + way + node.names_bytes)?;
        self.open.push(position);
        for next in node.here.iter().chain(&node.branches) {
            if is_moved {
                self.compile(*next, way)?;
            }
            self.unfold(*next, way, is_moved)?;
        }
        if is_moved {
            for next in node.below() {
                self.compile(next, way)?;
            }
        }
        for next in &node.references {
            // The validator shares what it has begun with.
            if !self.open.contains(next) {
                self.unfold(*next, way, true)?;
            }
        }
        self.open.pop();
        Some(())
    }

    fn compile(&mut self, position: usize, way: u64) -> Option<()> {
        let nodes = self.nodes;
        let node = nodes.get(position)?;
        self.budget.take(UNFOLDED + way + node.own_way + node.data_bytes)?;
        for next in node.here.iter().chain(&node.branches).copied().chain(node.below()) {
            self.compile(next, way + node.own_way)?;
        }
        for _ in 0..node.unevaluated {
            self.unfold(position, way, true)?;
        }
        Some(())
    }
}
