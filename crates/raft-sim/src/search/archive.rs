//! The cells that a search has reached, and for each the first state that reached it.

use super::job::Running;
use crate::rng::{Choices, Site};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const CELL: Site = Site::new("search cell");

/// The most states kept: with all of sim-scenarios they take 1 GB, half a megabyte each.
const MOST_KEPT: usize = 2_000;

/// What a run can be the first to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Mark(&'static str),
    /// A mark after another one, with none between them.
    Pair(&'static str, &'static str),
    /// An abstract state of the cluster.
    State(u64),
}

impl Cell {
    pub(super) const fn mark(&self) -> Option<&'static str> {
        match self {
            Self::Mark(mark) => Some(mark),
            _ => None,
        }
    }

    const fn kind(&self) -> usize {
        match self {
            Self::Mark(_) => 0,
            Self::Pair(..) => 1,
            Self::State(_) => 2,
        }
    }
}

/// The history of a cell.
#[derive(Default)]
struct Entry {
    /// How many jobs have reached it.
    reached: u64,
    /// How many branches have started there.
    tries: u64,
    /// How many new cells those branches have found.
    gains: u64,
    state: Option<Arc<Running>>,
}

impl Entry {
    /// Rare cells, and cells whose branches find new ones, are worth more branches.
    fn weight(&self) -> u64 {
        if self.state.is_none() {
            return 0;
        }
        let barren = (1 + self.tries).saturating_mul(1 + self.reached.isqrt());
        ((1 + 4 * self.gains.min(1_000)) << 24) / barren
    }
}

/// All cells.
#[derive(Default)]
pub(super) struct Archive {
    cells: BTreeMap<Cell, Entry>,
    /// The cells with a state.
    kept: BTreeSet<Cell>,
}

impl Archive {
    pub(super) fn knows(&self, cell: &Cell) -> bool {
        self.cells.contains_key(cell)
    }

    pub(super) fn count(&self) -> u64 {
        self.cells.len() as u64
    }

    /// How many cells there are of each kind.
    pub(super) fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        self.cells.keys().filter_map(|cell| counts.get_mut(cell.kind()).map(|count| *count += 1)).count();
        counts
    }

    /// Draws a cell for a branch: first its kind, because there are few marks and many states.
    pub(super) fn pick(&mut self, choices: &mut Choices, job: u64) -> Option<(Cell, Arc<Running>)> {
        let kind = choices.draw(CELL, job, 0).below(3) as usize;
        let weights: Vec<(Cell, u64)> = self
            .kept
            .iter()
            .filter(|cell| cell.kind() == kind)
            .filter_map(|cell| Some((*cell, self.cells.get(cell)?.weight())))
            .collect();
        let mut left = choices.draw(CELL, job, 1).below(weights.iter().map(|(_, weight)| weight).sum());
        let (cell, _) = weights.into_iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        })?;
        let entry = self.cells.get_mut(&cell)?;
        entry.tries += 1;
        Some((cell, Arc::clone(entry.state.as_ref()?)))
    }

    /// Adds the cells that a job has reached, and the states that it kept for new ones. `from` is the cell of its branch.
    pub(super) fn merge(&mut self, from: Option<Cell>, reached: &BTreeSet<Cell>, states: Vec<(Cell, Arc<Running>)>) {
        let before = self.count();
        for cell in reached {
            self.cells.entry(*cell).or_default().reached += 1;
        }
        for (cell, state) in states {
            let entry = self.cells.entry(cell).or_default();
            if entry.state.is_none() && entry.tries == 0 {
                entry.state = Some(state);
                self.kept.insert(cell);
            }
        }
        let gains = self.count() - before;
        if let Some(entry) = from.and_then(|cell| self.cells.get_mut(&cell)) {
            entry.gains += gains;
        }
        while self.kept.len() > MOST_KEPT {
            self.forget_one();
        }
    }

    /// Drops the state that is worth the fewest branches.
    fn forget_one(&mut self) {
        let weight = |cell: &&Cell| self.cells.get(cell).map_or(0, Entry::weight);
        let Some(cell) = self.kept.iter().min_by_key(weight).copied() else { return };
        self.kept.remove(&cell);
        if let Some(entry) = self.cells.get_mut(&cell) {
            entry.state = None;
        }
    }
}
