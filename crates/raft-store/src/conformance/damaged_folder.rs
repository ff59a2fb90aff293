//! Starts from random folders and from damaged ones, for property tests and the fuzzer. A start opens the folder, or refuses
//! it with a reason and without a change.
//!
//! The recovered state must be that of a prefix of the writes, with all records that META counts. Damage before the known
//! durable end of the log (`wal/format`) must be refused or have no effect; damage after it must be cut, unless it touches
//! records that META counts.

use super::{DISK_ID, IDENTITY, OPTIONS, used};
use crate::conformance::log_model::Model;
use crate::conformance::memory_disk::Memory;
use crate::conformance::random_run::{RandomRun, Step};
use crate::folder::known_peers::{KnownPeers, PEERS_FILE};
use crate::folder::meta_file::{DiskMeta, FORMAT_FILE, META_FILE, Meta, current_format, encode_format};
use crate::wal::file_reader::CHUNK;
use crate::wal::format::{SEGMENT_HEADER, segment_file};
use crate::wal::scan::{ExpectedLog, Record, scan};
use crate::{DiskId, Opened, Recovery, StoreError, open_node};
use raft_core::{LogIndex, NodeId, Write};

/// A node's folder with a known history.
#[derive(Clone, Debug)]
pub struct KnownFolder {
    pub disk: Memory,
    pub writes: Vec<Write>,
    /// How many records META counts.
    pub known: u64,
    /// The newest segment, and how many bytes of it its frames call durable.
    pub known_durable: (String, u64),
    /// The offsets at which the newest segment's records end, with their numbers.
    ends: Vec<(u64, u64)>,
}

/// Damage to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Flips these bits of one byte.
    Flip(u64, u8),
    /// Sets bytes from an offset on: offset, count, value.
    Fill(u64, u64, u8),
    Cut(u64),
    /// Appends this many bytes, alternating between this value and its neighbour.
    Append(u64, u8),
    Remove,
    /// Replaces the content with that of the file this many names further on.
    Swap(u64),
}

impl KnownFolder {
    /// The folder of a node after these steps. META counts the records at the last restart.
    pub fn of(steps: &[Step]) -> Self {
        let mut known = 0;
        let (mut disk, run) = RandomRun::of_steps(Memory::default(), steps, &mut |disk, records| {
            known = records;
            disk
        });
        let mut ends = Vec::new();
        let mut visit = |record: &Record<'_>| ends.push((record.segment, record.offset + record.bytes, record.number));
        let scanned = scan(&mut disk, ExpectedLog::default(), &mut visit).expect("a whole log");
        let newest = scanned.position.expect("there is a segment").segment;
        let ends = ends.into_iter().filter(|end| end.0 == newest).map(|(_, end, number)| (end, number)).collect();
        let known_durable = (segment_file(newest), scanned.known_durable.max(SEGMENT_HEADER));
        disk.files.insert(FORMAT_FILE.to_owned(), current_format());
        let on = DiskMeta { id: DISK_ID, known_peers: 2 };
        let meta = Meta { identity: IDENTITY, incarnation: 1, records: known, disk: Some(on) };
        disk.files.insert(META_FILE.to_owned(), meta.encode());
        disk.files.insert(PEERS_FILE.to_owned(), peers().encode());
        Self { disk, writes: run.writes, known, known_durable, ends }
    }

    /// Damages these files, starts a node, and checks the recovered state or the refusal.
    pub fn check(&self, damages: &[(String, Damage)]) -> Result<Recovery, StoreError> {
        let mut disk = self.disk.clone();
        for (file, damage) in damages {
            damage.apply(&mut disk, file);
        }
        let changed = disk.files != self.disk.files;
        let opened = check_start(disk);
        if let (Ok((_, known_peers)), true) = (&opened, self.has_identity(damages)) {
            assert_eq!(*known_peers, peers(), "{damages:?}");
        }
        let recovery = opened.map(|(recovery, _)| recovery);
        let Self { writes, known, .. } = self;
        match &recovery {
            Err(error) => {
                assert!(changed, "nothing was damaged, and: {error}");
                self.check_refusal(damages, error);
            }
            Ok(recovery) => {
                let records = recovery.records as usize;
                assert!(records <= writes.len(), "{records} records of {}", writes.len());
                assert!(
                    records as u64 >= *known || !self.has_identity(damages),
                    "{records} records, META counts {known}"
                );
                let model = Model::of(&writes[..records]);
                model.check(&recovery.restored, LogIndex(u64::MAX), u64::MAX);
                if records < writes.len() {
                    self.check_loss(damages, records as u64);
                }
            }
        }
        recovery
    }

    /// Whether FORMAT and META are undamaged.
    fn has_identity(&self, damages: &[(String, Damage)]) -> bool {
        !damages.iter().any(|(file, _)| file == FORMAT_FILE || file == META_FILE)
    }

    /// The first damaged offset in the newest segment, if all damage is there and after its known durable bytes.
    fn only_tail(&self, damages: &[(String, Damage)]) -> Option<u64> {
        let (newest, known_durable) = &self.known_durable;
        let from = |(file, damage): &(String, Damage)| match damage {
            Damage::Flip(place, _) | Damage::Fill(place, ..) | Damage::Cut(place) => (file == newest).then_some(*place),
            Damage::Append(..) => (file == newest).then_some(u64::MAX),
            Damage::Remove | Damage::Swap(_) => None,
        };
        let froms: Option<Vec<u64>> = damages.iter().map(from).collect();
        froms?.into_iter().min().filter(|place| place >= known_durable)
    }

    /// Damage after the known durable end is refused only if META counts records there, or if a snapshot was named there and
    /// segments were deleted for it.
    fn check_refusal(&self, damages: &[(String, Damage)], error: &StoreError) {
        let text = error.to_string();
        assert!(text.contains(" at byte ") || !matches!(error, StoreError::Corrupt { .. }), "{text}");
        let Some(from) = self.only_tail(damages) else { return };
        let whole = self.ends.iter().rfind(|(end, _)| *end <= from).map(|&(_, number)| number);
        let whole = whole.unwrap_or_else(|| self.ends.first().map_or(0, |&(_, number)| number - 1));
        let knows = whole < self.known && text.contains("META counts");
        let acted = matches!(error, StoreError::Missing { .. });
        assert!(knows || acted || self.ends.is_empty(), "{damages:?} after {:?}: {text}", self.known_durable);
    }

    /// Checks that only records from the first damaged one on were cut.
    fn check_loss(&self, damages: &[(String, Damage)], records: u64) {
        let (newest, known_durable) = &self.known_durable;
        let [(file, Damage::Flip(place, _))] = damages else {
            if let Some(from) = self.only_tail(damages) {
                let touched = self.ends.iter().find(|(_, number)| *number == records + 1);
                assert!(touched.is_some_and(|(end, _)| *end > from), "{records} records are left after {damages:?}");
            }
            return;
        };
        assert!(
            file == newest && place >= known_durable,
            "{file}, byte {place}: lost, and {newest} is durable to {known_durable}"
        );
    }
}

impl Damage {
    fn apply(self, disk: &mut Memory, file: &str) {
        let names: Vec<String> = disk.files.keys().cloned().collect();
        let here = names.iter().position(|name| name == file).unwrap_or(0);
        let Some(content) = disk.files.get_mut(file) else { return };
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(1 << 20);
        match self {
            Self::Flip(at, bits) => content.iter_mut().skip(place(at)).take(1).for_each(|byte| *byte ^= bits),
            Self::Fill(at, count, with) => {
                content.iter_mut().skip(place(at)).take(place(count)).for_each(|byte| *byte = with);
            }
            Self::Cut(at) => content.truncate(place(at)),
            Self::Append(count, with) => content.extend((0..place(count)).map(|number| with ^ (number as u8 & 1))),
            Self::Remove => drop(disk.files.remove(file)),
            Self::Swap(further) => {
                let other = names[(here + place(further)) % names.len()].clone();
                let content = disk.files[&other].clone();
                disk.files.insert(file.to_owned(), content);
            }
        }
    }
}

fn peers() -> KnownPeers {
    let register = |known: KnownPeers, peer| known.check(NodeId(peer), DiskId([peer as u8; 16])).1.unwrap_or(known);
    [2, 3].into_iter().fold(KnownPeers::default(), register)
}

/// Starts a node from any folder: it opens or refuses, allocates no more than the files' size, changes nothing when it refuses,
/// and the next start recovers the same.
pub fn check_folder(disk: Memory) -> Result<Recovery, StoreError> {
    check_start(disk).map(|(recovery, _)| recovery)
}

fn check_start(disk: Memory) -> Result<(Recovery, KnownPeers), StoreError> {
    let before = disk.files.clone();
    let bound = before.values().map(Vec::len).max().unwrap_or(0).max(CHUNK as usize);
    match open_node(disk, IDENTITY, DISK_ID, None, OPTIONS) {
        Err(refusal) => {
            let (error, disk) = refusal.into_parts();
            assert_eq!(disk.files, before, "a refusal changes nothing: {error}");
            assert!(disk.largest_read <= bound, "{} bytes at once: {error}", disk.largest_read);
            assert!(!error.to_string().is_empty() && !matches!(error, StoreError::Disk(_)), "no reason: {error}");
            Err(error)
        }
        Ok(Opened { mut store, recovery, .. }) => {
            if let Some(meta) = &recovery.restored.snapshot {
                let data = store.load_snapshot(meta.last).expect("it was checked");
                assert!(data.len() <= bound, "a snapshot is as long as its file");
            }
            let known_peers = store.known_peers().clone();
            let disk = store.into_disk();
            assert!(disk.largest_read <= bound, "{} bytes at once", disk.largest_read);
            let again = open_node(disk, IDENTITY, DISK_ID, None, OPTIONS).expect("an opened folder opens again");
            assert_eq!((&again.recovery.restored, &again.recovery.torn_tail), (&recovery.restored, &None));
            assert_eq!(again.recovery.records, recovery.records, "a tail is cut once");
            assert_eq!(*again.store.known_peers(), known_peers);
            Ok((recovery, known_peers))
        }
    }
}

/// Interprets the bytes as a random folder, or as a run and damage to its folder. Returns whether it opened.
pub fn check_bytes(bytes: &[u8]) -> bool {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next().unwrap_or(0);
    let kind = next();
    if kind.is_multiple_of(4) {
        return check_folder(any_folder(kind, &mut bytes)).is_ok();
    }
    let steps: Vec<Step> = (0..next() % 48).map(|_| step(&mut next)).collect();
    let folder = KnownFolder::of(&steps);
    let names: Vec<&String> = folder.disk.files.keys().collect();
    let damages: Vec<(String, Damage)> = (0..next() % 4)
        .map(|_| {
            // In most cases it damages the newest segment: a start refuses damage to any other.
            let file = next();
            let name = if file < 160 { &folder.known_durable.0 } else { names[usize::from(file) % names.len()] };
            let used = folder.disk.files.get(name).map_or(0, |content| used(content));
            (name.clone(), damage(&mut next, used, folder.known_durable.1))
        })
        .collect();
    folder.check(&damages).is_ok()
}

fn step(next: &mut impl FnMut() -> u8) -> Step {
    let mut wide = || u16::from_le_bytes([next(), next()]);
    let (a, b) = (wide(), wide());
    Step(next(), a, b)
}

/// Damage to a file with `used` bytes, near its known durable end or anywhere.
fn damage(next: &mut impl FnMut() -> u8, used: u64, known_durable: u64) -> Damage {
    let kind = next();
    let number = u64::from(u16::from_le_bytes([next(), next()]));
    let place = match kind / 16 % 4 {
        0 => known_durable + number % 128,
        1 => (known_durable + number % 512).saturating_sub(256),
        2 => number % used.max(1),
        _ => number,
    };
    match kind % 16 {
        0..=6 => Damage::Flip(place, next().max(1)),
        7..=9 => Damage::Fill(place, u64::from(next()) * 8, next()),
        10 | 11 => Damage::Cut(place),
        12 | 13 => Damage::Append(u64::from(next()) * 16, next()),
        14 => Damage::Remove,
        _ => Damage::Swap(number),
    }
}

/// Random files, perhaps beside a valid FORMAT and META.
fn any_folder(kind: u8, bytes: &mut impl Iterator<Item = u8>) -> Memory {
    const NAMES: [&str; 16] = [
        "wal-0000000000000001",
        "wal-0000000000000002",
        "wal-0000000000000003",
        "wal-18446744073709551615",
        "snapshot-0000000000000007-0000000000000002",
        "snapshot-0000000000000007-0000000000000002.new",
        FORMAT_FILE,
        META_FILE,
        "FORMAT.new",
        "META.new",
        "LOST",
        "",
        "snapshot-0000000000000007-0000000000000002.part",
        "wal-recycled",
        PEERS_FILE,
        "PEERS.new",
    ];
    let mut disk = Memory::default();
    let is_new = kind & 64 != 0;
    if kind & 4 != 0 {
        disk.files.insert(FORMAT_FILE.to_owned(), encode_format(if is_new { 2 } else { 1 }));
    }
    if kind & 8 != 0 {
        let on = is_new.then_some(DiskMeta { id: DISK_ID, known_peers: u64::from(kind & 128) });
        let (incarnation, records) = (u64::from(kind & 16), u64::from(kind & 32));
        disk.files.insert(META_FILE.to_owned(), Meta { identity: IDENTITY, incarnation, records, disk: on }.encode());
    }
    while let Some(name) = bytes.next() {
        let length = usize::from(bytes.next().unwrap_or(0)) * if name & 0x80 == 0 { 1 } else { 32 };
        let content = bytes.by_ref().take(length).collect();
        disk.files.insert(NAMES[usize::from(name & 0x7f) % NAMES.len()].to_owned(), content);
    }
    disk
}
