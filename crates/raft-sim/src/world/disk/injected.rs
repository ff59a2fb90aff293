//! Errors injected into a disk: a device that reports an error, a disk without space, a sync that drops data instead of
//! making it durable. Each fires at the call with its number. This file makes no random choices.

use std::fmt;

/// A way in which calls to a disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InjectedError {
    /// One read fails.
    ReadError,
    /// One change fails: nothing of it happens, or a part of a write.
    WriteError,
    /// After some more calls, nothing can grow and no file can be created, until the error is cleared.
    NoSpace,
    /// One sync of a file fails, and its data counts as clean from then on. A random part of it reached the disk, no
    /// later sync writes the rest, and reads show it from the cache or show the earlier content (Rebello et al., "Can
    /// applications recover from fsync failures?", USENIX ATC 2020).
    FailedSync,
}

impl fmt::Display for InjectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadError => "a read fails",
            Self::WriteError => "a change fails",
            Self::NoSpace => "no space",
            Self::FailedSync => "a sync fails",
        })
    }
}

/// The errors injected into a disk, and those that have fired.
#[derive(Clone, Debug, Default)]
pub(crate) struct InjectedErrors {
    read_error: Option<Onset>,
    write_error: Option<Onset>,
    failed_sync: Option<Onset>,
    full: Option<u64>,
    fired: Vec<InjectedError>,
}

/// When an error fires: after this many more calls of its kind. The bits choose its effect.
#[derive(Clone, Copy, Debug)]
struct Onset {
    after: u64,
    bits: u64,
}

impl InjectedErrors {
    pub(crate) fn begin(&mut self, error: InjectedError, after: u64, bits: u64) {
        let onset = Some(Onset { after, bits });
        match error {
            InjectedError::ReadError => self.read_error = onset,
            InjectedError::WriteError => self.write_error = onset,
            InjectedError::NoSpace => self.full = Some(after),
            InjectedError::FailedSync => self.failed_sync = onset,
        }
    }

    pub(crate) fn clear_errors(&mut self) {
        let fired = std::mem::take(&mut self.fired);
        *self = Self { fired, ..Self::default() };
    }

    pub(crate) fn any(&self) -> bool {
        self.full.is_some() || self.read_error.is_some() || self.write_error.is_some() || self.failed_sync.is_some()
    }

    /// The errors that have fired since the last call of this function.
    pub(crate) fn take_fired(&mut self) -> Vec<InjectedError> {
        std::mem::take(&mut self.fired)
    }

    pub(crate) fn read_fails(&mut self) -> bool {
        due(&mut self.read_error).is_some_and(|_| self.fires(InjectedError::ReadError))
    }

    /// Whether this change fails, and the bits that choose the effect.
    pub(crate) fn write_fails(&mut self) -> Option<u64> {
        due(&mut self.write_error).filter(|_| self.fires(InjectedError::WriteError))
    }

    /// Whether this sync of a file fails, and the bits that choose the effect.
    pub(crate) fn sync_fails(&mut self) -> Option<u64> {
        due(&mut self.failed_sync).filter(|_| self.fires(InjectedError::FailedSync))
    }

    pub(crate) fn has_no_space(&mut self) -> bool {
        let Some(left) = &mut self.full else { return false };
        match left.checked_sub(1) {
            Some(less) => {
                *left = less;
                false
            }
            None => self.fires(InjectedError::NoSpace),
        }
    }

    fn fires(&mut self, error: InjectedError) -> bool {
        self.fired.push(error);
        true
    }
}

/// Counts a call; returns the bits if the error fires at it.
fn due(place: &mut Option<Onset>) -> Option<u64> {
    let onset = place.as_mut()?;
    match onset.after.checked_sub(1) {
        Some(less) => {
            onset.after = less;
            None
        }
        None => place.take().map(|onset| onset.bits),
    }
}
