//! The bytes of one file: a length, and the pages that are not all zeros. Pages are shared until a write changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The unit that a disk writes atomically.
pub(crate) const SECTOR: u64 = 512;

const PAGE: usize = 1024;

/// A change of a file's bytes or length.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
}

impl Change {
    /// The least end of the file after the change.
    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Write { offset, data } => offset + data.len() as u64,
            Self::SetLen(length) => *length,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Write { data, .. } => data.len() as u64,
            Self::SetLen(_) => 0,
        }
    }

    /// The part of the change that happens if it fails: nothing, or a write up to some sector.
    pub(crate) fn part(self, bits: u64) -> Option<Self> {
        let Self::Write { offset, data } = self else { return None };
        let sectors = (offset + data.len() as u64).div_ceil(SECTOR).saturating_sub(offset / SECTOR);
        let whole = (bits >> 1).checked_rem(sectors).unwrap_or(0);
        let end = ((offset / SECTOR + whole) * SECTOR).saturating_sub(offset) as usize;
        let done = data.get(..end).filter(|done| bits & 1 == 1 && !done.is_empty())?;
        Some(Self::Write { offset, data: done.into() })
    }
}

/// A file's bytes. Invariant: beyond the length all pages are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
    length: u64,
}

impl Content {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, data } => self.write(*offset, data),
            Change::SetLen(length) => self.set_len(*length),
        }
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (page, from) = place(at);
            let (now, later) = rest.split_at(rest.len().min(PAGE - from));
            // A store writes zeros ahead by the megabyte: they take no page, and later code need not search them.
            let zeros = now == &[0; PAGE][..now.len()];
            if zeros && now.len() == PAGE {
                self.pages.remove(&page);
            } else if !zeros || self.pages.contains_key(&page) {
                let bytes = Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE])));
                bytes[from..from + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            rest = later;
        }
        if !data.is_empty() {
            self.length = self.length.max(at);
        }
    }

    pub(crate) fn set_len(&mut self, length: u64) {
        if length < self.length {
            let (page, from) = place(length);
            self.pages.split_off(&(page + 1));
            if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes)[from..].fill(0);
            }
        }
        self.length = length;
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let count = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let mut rest = &mut buffer[..count];
        let mut at = offset;
        while !rest.is_empty() {
            let (page, from) = place(at);
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE - from));
            match self.pages.get(&page) {
                Some(bytes) => now.copy_from_slice(&bytes[from..from + now.len()]),
                None => now.fill(0),
            }
            at += now.len() as u64;
            rest = later;
        }
        count
    }

    /// The sectors that are not all zeros.
    pub(crate) fn used_sectors(&self) -> Vec<u64> {
        let mut used = Vec::new();
        for (&page, bytes) in &self.pages {
            let first = page * (PAGE as u64 / SECTOR);
            let sectors = bytes.chunks(SECTOR as usize).zip(first..);
            used.extend(sectors.filter(|(bytes, _)| *bytes != [0; SECTOR as usize]).map(|(_, number)| number));
        }
        used
    }

    /// The position just after the last byte that is not zero.
    pub(crate) fn used_end(&self) -> u64 {
        let last = |(page, bytes): (&u64, &Arc<[u8; PAGE]>)| {
            bytes.iter().rposition(|&byte| byte != 0).map(|place| page * PAGE as u64 + place as u64 + 1)
        };
        self.pages.iter().rev().find_map(last).unwrap_or(0)
    }

    /// Whether the range of `change` is equal in `other`.
    pub(crate) fn equals_where(&self, other: &Self, change: &Change) -> bool {
        match change {
            Change::SetLen(_) => self.length == other.length,
            Change::Write { offset, data } => {
                let part = |content: &Self| {
                    let mut bytes = vec![0; data.len()];
                    let count = content.read(*offset, &mut bytes);
                    bytes.truncate(count);
                    bytes
                };
                part(self) == part(other)
            }
        }
    }

    /// Makes the range of `change` equal to `other`, by sharing pages.
    pub(crate) fn copy_changed(&mut self, other: &Self, change: &Change) {
        match change {
            Change::Write { offset, data } => {
                let last = place((offset + data.len() as u64).max(1) - 1).0;
                for page in place(*offset).0..=last {
                    match other.pages.get(&page) {
                        Some(bytes) => self.pages.insert(page, Arc::clone(bytes)),
                        None => self.pages.remove(&page),
                    };
                }
            }
            // The file was shorter once, so from there on its content may differ.
            Change::SetLen(length) => {
                let page = place(*length).0;
                self.pages.split_off(&page);
                self.pages.extend(other.pages.range(page..).map(|(&page, bytes)| (page, Arc::clone(bytes))));
            }
        }
        self.length = other.length;
    }
}

/// The page of an offset, and the position in it.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}
