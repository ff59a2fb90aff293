//! Priorities of links, as probabilistic concurrency testing has them for threads (Burckhardt et al., ASPLOS 2010): a
//! message waits as long as a link of higher priority has messages in flight. Few changes of the priorities, each at a
//! drawn time, reach orders that independent delays reach only by a rare coincidence.
//!
//! A wait has a limit, so every message arrives. This file must not know the content of a message.

use super::network::Link;
use crate::record::SimTime;
use crate::rng::{Choices, Site, link_key};
use crate::scenario::model::NetworkModel;
use raft_core::nanos;
use std::collections::BTreeMap;

const PRIORITY: Site = Site::new("link priority");
const CHANGE: Site = Site::new("link priority changes");

/// The probability, in parts per million, that a link gets another priority at the end of an interval.
const CHANGES: u32 = 200_000;

#[derive(Clone, Debug, Default)]
pub(super) struct LinkOrder {
    links: BTreeMap<Link, Ordered>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ordered {
    /// The newest planned arrival of a message.
    arrives: SimTime,
    priority: u64,
    /// The number of intervals whose changes are in `priority`.
    intervals: u64,
}

impl LinkOrder {
    /// Notes that a message on this link arrives at this time, unless it has to wait.
    pub(super) fn planned(&mut self, choices: &mut Choices, link: Link, at: SimTime) {
        let draw =
            || Ordered { priority: choices.draw(PRIORITY, link_key(link.0, link.1), 0).bits(), ..Ordered::default() };
        let ordered = self.links.entry(link).or_insert_with(draw);
        ordered.arrives = ordered.arrives.max(at);
    }

    /// When a message that should have arrived at `due` arrives instead of now; `None` if it need not wait.
    pub(super) fn waits_until(
        &mut self,
        choices: &mut Choices,
        model: &NetworkModel,
        (link, due, now): (Link, SimTime, SimTime),
    ) -> Option<SimTime> {
        let length = nanos(model.priority_change);
        let intervals = now.0.checked_div(length).unwrap_or(0);
        for (link, ordered) in &mut self.links {
            let key = link_key(link.0, link.1);
            while ordered.intervals < intervals {
                ordered.intervals += 1;
                if choices.draw(CHANGE, key, ordered.intervals).chance_ppm(CHANGES) {
                    ordered.priority = choices.draw(PRIORITY, key, ordered.intervals).bits();
                }
            }
        }
        let own = self.links.get(&link)?.priority;
        let higher = self.links.values().filter(|other| other.priority > own).map(|other| other.arrives).max();
        let until = SimTime(higher.filter(|higher| *higher > now)?.0.saturating_add(1));
        let until = until.min(due.after(model.priority_wait));
        if until <= now {
            return None;
        }
        self.planned(choices, link, until);
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::NodeId;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_message_waits_for_links_of_higher_priority_and_not_for_ever() {
        let (mut order, mut choices) = (LinkOrder::default(), Choices::new(3));
        let model = NetworkModel { priority_wait: Duration::from_millis(20), ..NetworkModel::default() };
        let links = [(NodeId(1), NodeId(2)), (NodeId(2), NodeId(1))];
        links.iter().for_each(|link| order.planned(&mut choices, *link, SimTime(5 * MS)));
        let priority = |order: &LinkOrder, link: &Link| order.links[link].priority;
        let (low, high) = if priority(&order, &links[0]) < priority(&order, &links[1]) {
            (links[0], links[1])
        } else {
            (links[1], links[0])
        };
        let due = SimTime(4 * MS);
        assert_eq!(order.waits_until(&mut choices, &model, (high, due, due)), None);
        assert_eq!(order.waits_until(&mut choices, &model, (low, due, due)), Some(SimTime(5 * MS + 1)));
        order.planned(&mut choices, high, SimTime(90 * MS));
        let at = SimTime(5 * MS + 1);
        assert_eq!(
            order.waits_until(&mut choices, &model, (low, due, at)),
            Some(SimTime(24 * MS)),
            "that is the limit"
        );
        assert_eq!(order.waits_until(&mut choices, &model, (low, due, SimTime(24 * MS))), None);
    }

    #[test]
    fn priorities_change_at_some_intervals() {
        let model = NetworkModel {
            priority_wait: Duration::from_millis(20),
            priority_change: Duration::from_millis(1),
            ..NetworkModel::default()
        };
        let (mut order, mut choices) = (LinkOrder::default(), Choices::new(3));
        let link = (NodeId(1), NodeId(2));
        order.planned(&mut choices, link, SimTime(0));
        let mut seen = std::collections::BTreeSet::new();
        for interval in 0..100 {
            let now = SimTime(interval * MS);
            order.waits_until(&mut choices, &model, (link, now, now));
            seen.insert(order.links[&link].priority);
        }
        assert!((10..35).contains(&seen.len()), "{}", seen.len());
    }
}
