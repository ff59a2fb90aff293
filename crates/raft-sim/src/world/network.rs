//! The network: one verdict for each message, and the arrival times of its copies. The first of these applies: the link
//! is cut, the kind is dropped, the message is lost.
//!
//! This file knows the kind of a message, not its meaning, and not its effect at the receiver.

use super::link_order::LinkOrder;
use crate::faults::{Fault, FaultCounts};
use crate::record::{SimTime, Verdict};
use crate::rng::{Choices, Site, link_key};
use crate::scenario::model::{Fate, MessagePlace, NetworkModel};
use raft_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

const LOSS: Site = Site::new("loss");
const DELAY: Site = Site::new("delay");
const REORDER: Site = Site::new("reorder");
const REORDER_DELAY: Site = Site::new("reorder delay");
const DUPLICATE: Site = Site::new("duplicate");
const DUPLICATE_DELAY: Site = Site::new("duplicate delay");
const SNAPSHOT_LOSS: Site = Site::new("snapshot loss");
const SNAPSHOT_TRANSFER: Site = Site::new("snapshot transfer");
const LATE: Site = Site::new("late");
const LATE_DELAY: Site = Site::new("late delay");

/// How many magnitudes a late message may have: each is half of the next one.
const MAGNITUDES: u64 = 5;

/// The names of snapshots, forwarded requests and their answers in rules that drop a kind of message.
pub const INSTALL_SNAPSHOT: &str = "install_snapshot";
pub const INSTALL_SNAPSHOT_RESPONSE: &str = "install_snapshot_response";

pub const FORWARDED_REQUEST: &str = "forwarded_request";
pub const FORWARDED_REPLY: &str = "forwarded_reply";

/// All clients, as one end of a link. They are no node.
pub const CLIENTS: NodeId = NodeId(0);

/// A directed link: from, to.
pub type Link = (NodeId, NodeId);

/// The id of a cut, or of a rule that drops messages, to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CutId(u64);

#[derive(Clone, Debug)]
pub struct Network {
    base: NetworkModel,
    scripted: Option<NetworkModel>,
    swarm: Option<NetworkModel>,
    healed: BTreeSet<NodeId>,
    cuts: BTreeMap<CutId, Cut>,
    cuts_made: u64,
    drops: BTreeMap<CutId, DropRule>,
    traffic: BTreeMap<Link, Traffic>,
    order: LinkOrder,
    /// What happens to these messages; then no message meets a random fault.
    fates: Option<Fates>,
    /// The messages that random faults have met, if they are to be kept.
    pub(crate) met: Option<Fates>,
}

type Fates = BTreeMap<MessagePlace, Fate>;

#[derive(Clone, Debug)]
struct Cut {
    links: BTreeSet<Link>,
    fault: Fault,
}

#[derive(Clone, Debug)]
struct DropRule {
    kind: String,
    links: BTreeSet<Link>,
    fault: Fault,
}

#[derive(Clone, Debug, Default)]
struct Traffic {
    sent: u64,
    /// The number of the latest-sent message that has arrived.
    newest_arrived: u64,
    /// The fault that cuts the link, if there is one.
    cut: Option<Fault>,
}

/// A copy of a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub link: Link,
    /// The number of the message on its link, from 1.
    pub message: u64,
    /// Whether it was delayed for reordering.
    pub held_back: bool,
    /// Whether it is a second copy.
    pub duplicate: bool,
    /// Whether it arrives much later than usual.
    pub late: bool,
    pub delay: Duration,
}

/// The network's verdict on a message, and the copies that will arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    pub verdict: Verdict,
    pub copies: [Option<Copy>; 2],
}

impl Network {
    pub fn new(base: NetworkModel) -> Self {
        Self {
            base,
            scripted: None,
            swarm: None,
            healed: BTreeSet::new(),
            cuts: BTreeMap::new(),
            cuts_made: 0,
            drops: BTreeMap::new(),
            traffic: BTreeMap::new(),
            order: LinkOrder::default(),
            fates: None,
            met: None,
        }
    }

    /// Replaces all random faults of messages.
    pub fn set_fates(&mut self, fates: Option<BTreeMap<MessagePlace, Fate>>) {
        self.fates = fates;
    }

    /// The probability that the sender of a lost message on this link notices the loss.
    pub fn unreachable_ppm(&self, link: Link) -> u32 {
        self.model(link).unreachable_ppm
    }

    /// Sends a message of this kind; `receiver_is_up` only decides whether its loss has an effect.
    pub fn send(
        &mut self,
        choices: &mut Choices,
        fault_counts: &mut FaultCounts,
        link: Link,
        kind: &str,
        receiver_is_up: bool,
    ) -> Sending {
        let traffic = self.traffic.entry(link).or_default();
        traffic.sent += 1;
        let (message, cut) = (traffic.sent, traffic.cut);
        let lost = |verdict| Sending { verdict, copies: [None, None] };
        let mut note =
            |fault| if receiver_is_up { fault_counts.note_effect(fault) } else { fault_counts.inject(fault) };
        if let Some(fault) = cut {
            note(fault);
            return lost(Verdict::Cut);
        }
        if let Some(rule) = self.drops.values().find(|rule| rule.kind == kind && rule.links.contains(&link)) {
            note(rule.fault);
            return lost(Verdict::Dropped);
        }
        let model = model_of(&self.healed, (&self.scripted, &self.swarm, &self.base), link);
        let key = link_key(link.0, link.1);
        let place = MessagePlace { link, number: message };
        if let Some(fates) = &self.fates {
            let delay = choices.draw(DELAY, key, message).in_range(model.delay_of.get(&link).unwrap_or(&model.delay));
            let (first, second) = match fates.get(&place) {
                Some(Fate::Lost) => {
                    note(Fault::Loss);
                    return lost(Verdict::Lost);
                }
                Some(Fate::Arrives(first, second)) => (*first, *second),
                None => (delay, None),
            };
            if second.is_some() {
                fault_counts.inject(Fault::Duplicate);
            }
            let copy = |delay, duplicate| Copy { link, message, held_back: false, duplicate, late: false, delay };
            let copies = [Some(copy(first, false)), second.map(|delay| copy(delay, true))];
            return Sending { verdict: Verdict::Delivered { copies: 1 + u32::from(second.is_some()) }, copies };
        }
        let mut chance = |site, ppm| ppm > 0 && choices.draw(site, key, message).chance_ppm(ppm);
        if chance(LOSS, model.loss_ppm) {
            note(Fault::Loss);
            if let Some(met) = &mut self.met {
                met.insert(place, Fate::Lost);
            }
            return lost(Verdict::Lost);
        }
        let held_back = chance(REORDER, model.reorder_ppm);
        let duplicated = chance(DUPLICATE, model.duplicate_ppm);
        let mut delay = choices.draw(DELAY, key, message).in_range(model.delay_of.get(&link).unwrap_or(&model.delay));
        if held_back {
            delay += choices.draw(REORDER_DELAY, key, message).in_range(&model.reorder_delay);
            fault_counts.inject(Fault::Reorder);
        }
        let second = duplicated.then(|| {
            fault_counts.inject(Fault::Duplicate);
            let later = choices.draw(DUPLICATE_DELAY, key, message).in_range(&model.duplicate_delay);
            Copy { link, message, held_back, duplicate: true, late: false, delay: delay + later }
        });
        let first = Copy { link, message, held_back, duplicate: false, late: false, delay };
        let mut copies = [Some(first), second];
        if model.late_ppm > 0 {
            copies.iter_mut().flatten().for_each(|copy| copy.is_late(choices, fault_counts, model));
        }
        let is_met = copies.iter().flatten().any(|copy| copy.held_back || copy.duplicate || copy.late);
        if let (true, Some(met), [Some(first), second]) = (is_met, &mut self.met, &copies) {
            met.insert(place, Fate::Arrives(first.delay, second.map(|second| second.delay)));
        }
        Sending { verdict: Verdict::Delivered { copies: 1 + u32::from(duplicated) }, copies }
    }

    /// Sends a snapshot: it takes longer than a message, and may break off.
    pub fn send_snapshot(
        &mut self,
        choices: &mut Choices,
        fault_counts: &mut FaultCounts,
        link: Link,
        receiver_is_up: bool,
    ) -> Sending {
        let mut sending = self.send(choices, fault_counts, link, INSTALL_SNAPSHOT, receiver_is_up);
        let model = model_of(&self.healed, (&self.scripted, &self.swarm, &self.base), link);
        let key = link_key(link.0, link.1);
        let Some(Copy { message, .. }) = sending.copies[0] else { return sending };
        let loss_ppm = if self.fates.is_none() { model.snapshot_loss_ppm } else { 0 };
        if loss_ppm > 0 && choices.draw(SNAPSHOT_LOSS, key, message).chance_ppm(loss_ppm) {
            let place = MessagePlace { link, number: message };
            if let Some(met) = &mut self.met {
                met.insert(place, Fate::Lost);
            }
            if receiver_is_up {
                fault_counts.note_effect(Fault::SnapshotLost)
            } else {
                fault_counts.inject(Fault::SnapshotLost)
            }
            return Sending { verdict: Verdict::Lost, copies: [None, None] };
        }
        for copy in sending.copies.iter_mut().flatten() {
            let n = message * 2 + u64::from(copy.duplicate);
            copy.delay += choices.draw(SNAPSHOT_TRANSFER, key, n).in_range(&model.snapshot_transfer);
        }
        sending
    }

    /// How many messages were sent on this link.
    pub fn sent(&self, link: Link) -> u64 {
        self.traffic.get(&link).map_or(0, |traffic| traffic.sent)
    }

    /// The fault that cuts this link, if there is one.
    pub fn cut_of(&self, link: Link) -> Option<Fault> {
        self.traffic.get(&link).and_then(|traffic| traffic.cut)
    }

    /// Notes that a copy reached a node.
    pub fn arrived(&mut self, fault_counts: &mut FaultCounts, copy: &Copy) {
        let traffic = self.traffic.entry(copy.link).or_default();
        if copy.duplicate {
            fault_counts.note_effect(Fault::Duplicate);
        }
        let is_overtaken = copy.message < traffic.newest_arrived;
        if copy.held_back && is_overtaken {
            fault_counts.note_effect(Fault::Reorder);
        }
        if copy.late && is_overtaken {
            fault_counts.note_effect(Fault::SlowNetwork);
        }
        traffic.newest_arrived = traffic.newest_arrived.max(copy.message);
        if self.model(copy.link).delay_of.contains_key(&copy.link) {
            fault_counts.note_effect(Fault::UnevenLinks);
        }
    }

    /// Notes that a copy arrives at this time, unless it has to wait for links of higher priority.
    pub fn planned(&mut self, choices: &mut Choices, link: Link, at: SimTime) {
        if !self.model(link).priority_wait.is_zero() {
            self.order.planned(choices, link, at);
        }
    }

    /// When a copy that should have arrived at `due` arrives instead of now; `None` if it need not wait.
    pub fn waits_until(
        &mut self,
        choices: &mut Choices,
        fault_counts: &mut FaultCounts,
        place: (Link, SimTime, SimTime),
    ) -> Option<SimTime> {
        let model = model_of(&self.healed, (&self.scripted, &self.swarm, &self.base), place.0);
        if model.priority_wait.is_zero() {
            return None;
        }
        fault_counts.inject(Fault::MessagePriority);
        let until = self.order.waits_until(choices, model, place)?;
        fault_counts.note_effect(Fault::MessagePriority);
        Some(until)
    }

    /// Cuts links until [`mend`](Self::mend) or a healing.
    pub fn cut(&mut self, links: BTreeSet<Link>, fault: Fault) -> CutId {
        self.cuts_made += 1;
        let id = CutId(self.cuts_made);
        self.cuts.insert(id, Cut { links, fault });
        self.lay_cuts();
        id
    }

    /// Ends a cut or a rule that drops messages; one that is already over stays over.
    pub fn mend(&mut self, id: CutId) {
        self.cuts.remove(&id);
        self.drops.remove(&id);
        self.lay_cuts();
    }

    /// Drops messages of this kind on these links until [`mend`](Self::mend) or a healing.
    pub fn drop_kind(&mut self, kind: String, links: BTreeSet<Link>, fault: Fault) -> CutId {
        self.cuts_made += 1;
        let id = CutId(self.cuts_made);
        self.drops.insert(id, DropRule { kind, links, fault });
        id
    }

    /// Replaces the model of every link until healed.
    pub fn set_scripted_model(&mut self, model: NetworkModel) {
        self.scripted = Some(model);
    }

    /// Replaces the model of every link until both of its ends are healed for good.
    pub fn set_swarm_model(&mut self, model: NetworkModel) {
        self.swarm = Some(model);
    }

    /// The model of the swarm, if there is one.
    pub const fn swarm_model(&self) -> Option<&NetworkModel> {
        self.swarm.as_ref()
    }

    /// Ends all cuts, drop rules and the scripted model.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.drops.clear();
        self.scripted = None;
        self.lay_cuts();
    }

    /// Heals all links among these nodes for good; all others keep their faults.
    pub fn heal_among(&mut self, nodes: &BTreeSet<NodeId>) {
        let outside = |link: &Link| !(nodes.contains(&link.0) && nodes.contains(&link.1));
        self.cuts.values_mut().for_each(|cut| cut.links.retain(outside));
        self.drops.values_mut().for_each(|rule| rule.links.retain(outside));
        self.scripted = None;
        self.healed.clone_from(nodes);
        self.lay_cuts();
    }

    /// Whether a step has replaced the model of the links.
    pub const fn is_scripted(&self) -> bool {
        self.scripted.is_some()
    }

    /// All links with a cut or a drop rule.
    pub fn broken_links(&self) -> BTreeSet<Link> {
        let cut = self.cuts.values().flat_map(|cut| &cut.links);
        cut.chain(self.drops.values().flat_map(|rule| &rule.links)).copied().collect()
    }

    fn model(&self, link: Link) -> &NetworkModel {
        model_of(&self.healed, (&self.scripted, &self.swarm, &self.base), link)
    }

    /// Stores each link's cut with the link, so that `send` needs no search.
    fn lay_cuts(&mut self) {
        self.traffic.values_mut().for_each(|traffic| traffic.cut = None);
        for cut in self.cuts.values() {
            for link in &cut.links {
                self.traffic.entry(*link).or_default().cut.get_or_insert(cut.fault);
            }
        }
    }
}

type Models<'a> = (&'a Option<NetworkModel>, &'a Option<NetworkModel>, &'a NetworkModel);

/// The model of a link: a scripted one, else that of the swarm unless both ends are healed, else the scenario's.
fn model_of<'a>(healed: &BTreeSet<NodeId>, (scripted, swarm, base): Models<'a>, link: Link) -> &'a NetworkModel {
    let is_healed = healed.contains(&link.0) && healed.contains(&link.1);
    let swarm = if is_healed { None } else { swarm.as_ref() };
    scripted.as_ref().or(swarm).unwrap_or(base)
}

impl Copy {
    /// Makes it late with the model's probability. The magnitude of the delay is drawn first: a little late matters as
    /// much as very late.
    fn is_late(&mut self, choices: &mut Choices, fault_counts: &mut FaultCounts, model: &NetworkModel) {
        let (key, n) = (link_key(self.link.0, self.link.1), self.message * 4 + 2 * u64::from(self.duplicate));
        if choices.draw(LATE, key, n).chance_ppm(model.late_ppm) {
            let Range { start, end } = model.late_delay;
            let magnitude = choices.draw(LATE, key, n + 1).below(MAGNITUDES) as u32;
            let most = start + end.saturating_sub(start) / (1 << magnitude);
            self.delay += choices.draw(LATE_DELAY, key, n).in_range(&(start..most));
            self.late = true;
            fault_counts.inject(Fault::SlowNetwork);
        }
    }
}

/// All links from one set to another, except links from a node to itself.
pub fn links_between(from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) -> BTreeSet<Link> {
    from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))).filter(|(from, to)| from != to).collect()
}

/// All links between nodes of different groups. A node in no group is isolated.
pub fn links_across(all: &BTreeSet<NodeId>, groups: &[BTreeSet<NodeId>]) -> BTreeSet<Link> {
    let together = |a: &NodeId, b: &NodeId| groups.iter().any(|group| group.contains(a) && group.contains(b));
    links_between(all, all).into_iter().filter(|(from, to)| !together(from, to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn model() -> NetworkModel {
        NetworkModel {
            delay: MS..2 * MS,
            loss_ppm: 0,
            duplicate_ppm: 0,
            duplicate_delay: MS..50 * MS,
            reorder_ppm: 0,
            reorder_delay: 5 * MS..6 * MS,
            snapshot_transfer: MS..MS,
            ..NetworkModel::default()
        }
    }

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    struct Bench {
        network: Network,
        choices: Choices,
        fault_counts: FaultCounts,
    }

    impl Bench {
        fn new(model: NetworkModel) -> Self {
            Self { network: Network::new(model), choices: Choices::new(3), fault_counts: FaultCounts::default() }
        }

        fn send(&mut self, from: u64, to: u64, kind: &str) -> Sending {
            self.network.send(&mut self.choices, &mut self.fault_counts, (NodeId(from), NodeId(to)), kind, true)
        }

        fn had_effect(&self, fault: Fault) -> bool {
            self.fault_counts.counts()[fault.name()].had_effect
        }
    }

    #[test]
    fn cuts_are_directed_overlap_and_mend() {
        let mut bench = Bench::new(model());
        let one_way = bench.network.cut(links_between(&nodes(&[1]), &nodes(&[2, 3])), Fault::OneWayCut);
        assert_eq!(bench.send(1, 2, "heartbeat").verdict, Verdict::Cut);
        assert_eq!(bench.send(2, 1, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
        assert!(bench.had_effect(Fault::OneWayCut) && !bench.had_effect(Fault::Partition));
        bench.network.cut(links_across(&nodes(&[1, 2, 3]), &[nodes(&[1, 2])]), Fault::Partition);
        bench.network.mend(one_way);
        assert_eq!(bench.send(1, 2, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
        assert_eq!(bench.send(1, 3, "heartbeat").verdict, Verdict::Cut, "n3 is in no group");
        bench.network.heal();
        assert_eq!(bench.send(1, 3, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
    }

    #[test]
    fn a_snapshot_takes_its_time_and_breaks_off_as_often_as_asked() {
        let send = |bench: &mut Bench| {
            bench.network.send_snapshot(&mut bench.choices, &mut bench.fault_counts, (NodeId(1), NodeId(2)), true)
        };
        let mut bench = Bench::new(NetworkModel { snapshot_transfer: 9 * MS..9 * MS, ..model() });
        let whole = send(&mut bench).copies[0].expect("delivered");
        assert!(whole.delay >= 10 * MS && !bench.had_effect(Fault::SnapshotLost), "{whole:?}");
        bench.network.set_swarm_model(NetworkModel { snapshot_loss_ppm: 500_000, ..model() });
        let lost = (0..1_000).filter(|_| send(&mut bench).verdict == Verdict::Lost).count();
        assert!(
            (430..570).contains(&lost) && bench.had_effect(Fault::SnapshotLost),
            "{lost} of 1000 messages were lost"
        );
        assert_eq!(
            bench.send(1, 2, "heartbeat").verdict,
            Verdict::Delivered { copies: 1 },
            "messages are not snapshots"
        );
        let links = links_between(&nodes(&[1]), &nodes(&[2]));
        bench.network.drop_kind(INSTALL_SNAPSHOT.into(), links, Fault::DropKind);
        assert_eq!(send(&mut bench).verdict, Verdict::Dropped);
        bench.network.cut(links_between(&nodes(&[1]), &nodes(&[2])), Fault::OneWayCut);
        assert_eq!(bench.network.cut_of((NodeId(1), NodeId(2))), Some(Fault::OneWayCut));
        assert_eq!(bench.network.cut_of((NodeId(2), NodeId(1))), None);
    }

    #[test]
    fn a_drop_rule_takes_one_kind_on_its_links() {
        let mut bench = Bench::new(model());
        let links = links_between(&nodes(&[1]), &nodes(&[2]));
        let rule = bench.network.drop_kind("heartbeat".into(), links, Fault::DropKind);
        assert_eq!(bench.send(1, 2, "heartbeat").verdict, Verdict::Dropped);
        assert_eq!(bench.send(1, 2, "append_entries").verdict, Verdict::Delivered { copies: 1 });
        assert_eq!(bench.send(1, 3, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
        assert!(bench.had_effect(Fault::DropKind) && !bench.had_effect(Fault::Loss));
        bench.network.mend(rule);
        assert_eq!(bench.send(1, 2, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
    }

    #[test]
    fn each_direction_has_its_own_speed() {
        let delay_of = [((NodeId(1), NodeId(2)), 30 * MS..40 * MS)].into();
        let mut bench = Bench::new(NetworkModel { delay_of, ..model() });
        let slow = bench.send(1, 2, "heartbeat").copies[0].expect("delivered");
        let fast = bench.send(2, 1, "heartbeat").copies[0].expect("delivered");
        assert!(slow.delay >= 30 * MS && fast.delay <= 2 * MS, "{slow:?} {fast:?}");
        bench.network.arrived(&mut bench.fault_counts, &fast);
        assert!(!bench.had_effect(Fault::UnevenLinks));
        bench.network.arrived(&mut bench.fault_counts, &slow);
        assert!(bench.had_effect(Fault::UnevenLinks));
    }

    #[test]
    fn late_messages_and_copies_have_all_magnitudes() {
        let late_delay = 20 * MS..3_200 * MS;
        let model = NetworkModel { duplicate_ppm: 1_000_000, late_ppm: 500_000, late_delay, ..model() };
        let mut bench = Bench::new(model);
        let copies: Vec<Copy> = (0..1_000).flat_map(|_| bench.send(1, 2, "heartbeat").copies).flatten().collect();
        for duplicate in [false, true] {
            let late = copies.iter().filter(|copy| copy.duplicate == duplicate && copy.late);
            let delays: Vec<Duration> = late.map(|copy| copy.delay).collect();
            assert!((430..570).contains(&delays.len()), "{} of 1000 were late", delays.len());
            let count = |range: Range<Duration>| delays.iter().filter(|delay| range.contains(delay)).count();
            assert!(count(20 * MS..300 * MS) > 100 && count(1_700 * MS..4_000 * MS) > 20, "{duplicate}");
        }
        assert!(copies.iter().all(|copy| copy.late || copy.delay < 60 * MS));
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_asked() {
        let mut bench = Bench::new(NetworkModel { loss_ppm: 250_000, duplicate_ppm: 500_000, ..model() });
        let sendings: Vec<Sending> = (0..2_000).map(|_| bench.send(1, 2, "heartbeat")).collect();
        let count = |verdict| sendings.iter().filter(|sending| sending.verdict == verdict).count();
        let lost = count(Verdict::Lost);
        let twice = count(Verdict::Delivered { copies: 2 });
        assert!((430..570).contains(&lost), "{lost} of 2000 messages were lost");
        assert!((670..830).contains(&twice), "{twice} of 1500 messages were duplicated");
        for sending in sendings {
            let copies = sending.copies.iter().flatten().count();
            let verdict = if let Verdict::Delivered { copies } = sending.verdict { copies as usize } else { 0 };
            assert_eq!(copies, verdict);
        }
    }

    #[test]
    fn a_message_held_back_has_an_effect_once_a_later_one_arrives_first() {
        let mut bench = Bench::new(NetworkModel { reorder_ppm: 1_000_000, ..model() });
        let held = bench.send(1, 2, "heartbeat").copies[0].expect("delivered");
        assert!(held.held_back && held.delay >= 6 * MS, "{held:?}");
        bench.network.set_swarm_model(model());
        let later = bench.send(1, 2, "heartbeat").copies[0].expect("delivered");
        assert!(!later.held_back && later.delay < 2 * MS);
        bench.network.arrived(&mut bench.fault_counts, &later);
        assert!(!bench.had_effect(Fault::Reorder));
        bench.network.arrived(&mut bench.fault_counts, &held);
        assert!(bench.had_effect(Fault::Reorder));
    }

    #[test]
    fn healing_a_majority_leaves_the_minority_its_faults() {
        let mut bench = Bench::new(model());
        let all = nodes(&[1, 2, 3]);
        bench.network.set_swarm_model(NetworkModel { loss_ppm: 1_000_000, ..model() });
        bench.network.cut(links_between(&all, &all), Fault::Partition);
        bench.network.heal_among(&nodes(&[1, 2]));
        assert_eq!(bench.send(1, 2, "heartbeat").verdict, Verdict::Delivered { copies: 1 });
        assert_eq!(bench.send(1, 3, "heartbeat").verdict, Verdict::Cut);
        bench.network.heal();
        assert_eq!(bench.send(3, 1, "heartbeat").verdict, Verdict::Lost);
    }
}
