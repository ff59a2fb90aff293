//! The planned events, in a total order that depends on no hash and no address: (time, node, kind, sequence).
//!
//! This file must not know the meaning of the events.

use crate::record::SimTime;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The position of an event in the order of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub at: SimTime,
    /// The owner of the event; 0 for the world and the clients.
    pub node: u64,
    /// The rank of its kind among events of one node and time.
    pub kind: u8,
    /// The number of the event among the planned events of the run.
    pub sequence: u64,
}

#[derive(Clone, Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    planned: u64,
}

/// An event with its position. Only the position decides the order, reversed because the heap returns its greatest
/// element first.
#[derive(Clone, Debug)]
struct Planned<E> {
    place: Place,
    event: E,
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place.cmp(&self.place)
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<E> Eq for Planned<E> {}

impl<E> Queue<E> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans an event. Among events of equal time, node and kind the one planned first comes first.
    pub fn push(&mut self, at: SimTime, node: u64, kind: u8, event: E) {
        self.planned += 1;
        self.heap.push(Planned { place: Place { at, node, kind, sequence: self.planned }, event });
    }

    pub fn peek(&self) -> Option<(Place, &E)> {
        self.heap.peek().map(|planned| (planned.place, &planned.event))
    }

    /// Drops the events for which `keeps` is false.
    pub fn retain(&mut self, keeps: impl Fn(&E) -> bool) {
        self.heap.retain(|planned| keeps(&planned.event));
    }

    pub fn pop(&mut self) -> Option<(Place, E)> {
        self.heap.pop().map(|planned| (planned.place, planned.event))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_node_then_kind_then_as_planned() {
        let (mut queue, mut kept) = (Queue::new(), Queue::new());
        let planned = [
            (5, 2, 1, "t5 n2 k1"),
            (5, 1, 9, "t5 n1 k9 first"),
            (5, 1, 9, "t5 n1 k9 second"),
            (5, 1, 3, "t5 n1 k3"),
            (4, 7, 7, "t4"),
        ];
        for (at, node, kind, event) in planned {
            queue.push(SimTime(at), node, kind, event);
        }
        assert_eq!(queue.peek().map(|(place, event)| (place.at, *event)), Some((SimTime(4), "t4")));
        let mut order = Vec::new();
        while let Some((_, event)) = queue.pop() {
            order.push(event);
        }
        assert_eq!(order, ["t4", "t5 n1 k3", "t5 n1 k9 first", "t5 n1 k9 second", "t5 n2 k1"]);
        assert!(queue.peek().is_none());
        [1, 2, 3, 4].into_iter().for_each(|event| kept.push(SimTime(9 - event), 0, 0, event));
        kept.retain(|event| event % 2 == 0);
        assert_eq!(
            [kept.pop(), kept.pop(), kept.pop()].map(|event| event.map(|(_, event)| event)),
            [Some(4), Some(2), None]
        );
    }
}
