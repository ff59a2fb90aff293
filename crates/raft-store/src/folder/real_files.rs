//! A real folder as a [`Disk`], with a lock so that only one process uses it.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::folder::folder_state::refuse_foreign;
use crate::store_error::StoreError;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The lock file. It is empty and never removed: the next process could hold a lock on a removed file.
const LOCK_FILE: &str = "LOCK";
/// How many files stay open: the store writes the newest segment all the time, and reads the others once.
const KEPT_OPEN: usize = 16;

/// A folder on a file system, locked while this value lives.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    folder: File,
    /// `None` if the folder is only read and has no lock file, like a copy.
    _lock: Option<File>,
    writable: bool,
    open: BTreeMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Whether it has unsynced writes.
    changed: bool,
}

impl Files {
    /// Opens a folder for one node. If `create` is set, it creates a missing folder, durably.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the other process, if it is known; [`StoreError::Foreign`] if the folder holds only files of other programs;
    /// [`StoreError::Folder`] if it does not exist, cannot be created or is not a folder.
    pub fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        if create {
            create_folder(path).map_err(StoreError::Folder)?;
        }
        let (path, folder) = open_folder(path).map_err(StoreError::Folder)?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists() {
            refuse_foreign(&names(&path).map_err(StoreError::Folder)?)?;
        }
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(|error| StoreError::Folder(failed(LOCK_FILE, "open", &error)))?;
        check_lock(lock.try_lock(), &lock)?;
        Ok(Self { path, folder, _lock: Some(lock), writable: true, open: BTreeMap::new() })
    }

    /// Opens a folder only for reading, with a shared lock. No node can run on it meanwhile: its writes between two reads
    /// would look like damage.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let (path, folder) = open_folder(path).map_err(StoreError::Folder)?;
        let lock = match File::open(path.join(LOCK_FILE)) {
            Ok(lock) => {
                check_lock(lock.try_lock_shared(), &lock)?;
                Some(lock)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::Folder(failed(LOCK_FILE, "open", &error))),
        };
        Ok(Self { path, folder, _lock: lock, writable: false, open: BTreeMap::new() })
    }

    /// Opens a folder only for reading and without a lock, for [`inspect_running`](crate::inspect_running): a node may run on
    /// it.
    pub fn open_unlocked(path: &Path) -> Result<Self, StoreError> {
        let (path, folder) = open_folder(path).map_err(StoreError::Folder)?;
        Ok(Self { path, folder, _lock: None, writable: false, open: BTreeMap::new() })
    }

    /// The path of the folder, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&mut self, name: &str) -> Result<&mut Open, DiskError> {
        let path = self.path_of(name)?;
        if !self.open.contains_key(name) {
            let file = OpenOptions::new().read(true).write(self.writable).open(path);
            self.keep(name, file.map_err(|error| failed(name, "open", &error))?);
        }
        self.open.get_mut(name).ok_or_else(|| failed(name, "open", &ErrorKind::NotFound.into()))
    }

    fn file_to_change(&mut self, name: &str) -> Result<&File, DiskError> {
        self.check_writable(name)?;
        let open = self.file(name)?;
        open.changed = true;
        Ok(&open.file)
    }

    fn keep(&mut self, name: &str, file: File) {
        while self.open.len() >= KEPT_OPEN {
            // It never closes a file with unsynced writes, because the system reports a failed write-back only on an
            // open file.
            let Some(spare) = self.open.iter().find(|(_, open)| !open.changed).map(|(name, _)| name.clone()) else {
                break;
            };
            self.open.remove(&spare);
        }
        self.open.insert(name.to_owned(), Open { file, changed: false });
    }

    /// The path of a file. Refuses names that could lead out of the folder, and the lock.
    fn path_of(&self, name: &str) -> Result<PathBuf, DiskError> {
        let is_plain = !["", ".", "..", LOCK_FILE].contains(&name) && !name.contains(['/', '\0']);
        if is_plain { Ok(self.path.join(name)) } else { Err(failed(name, "use", &ErrorKind::InvalidInput.into())) }
    }

    fn check_writable(&self, name: &str) -> Result<(), DiskError> {
        if self.writable { Ok(()) } else { Err(failed(name, "change", &ErrorKind::ReadOnlyFilesystem.into())) }
    }
}

impl Disk for Files {
    /// All names except the lock's, those of folders included.
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        names(&self.path)
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.check_writable(file)?;
        let created = OpenOptions::new().read(true).write(true).create_new(true).open(self.path_of(file)?);
        self.keep(file, created.map_err(|error| failed(file, "create", &error))?);
        Ok(())
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        let metadata = self.file(file)?.file.metadata();
        Ok(metadata.map_err(|error| failed(file, "read the length", &error))?.len())
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let open = self.file(file)?;
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match open.file.read_at(rest, offset.saturating_add(count as u64)) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(file, "read", &error)),
            }
        }
        Ok(count)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let open = self.file_to_change(file)?;
        open.write_all_at(data, offset).map_err(|error| failed(file, "write", &error))
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        let before = self.len(file)?;
        let open = self.file_to_change(file)?;
        if length <= before {
            return open.set_len(length).map_err(|error| failed(file, "cut", &error));
        }
        let extended = allocate(open, file, before, length);
        if extended.is_err() {
            // This is best effort: the caller gets the first error.
            open.set_len(before).ok();
        }
        extended
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.check_writable(file)?;
        let open = self.file(file)?;
        // It syncs data and length; times may be lost.
        open.file.sync_data().map_err(|error| failed(file, "sync", &error))?;
        open.changed = false;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.check_writable(from)?;
        let renamed = std::fs::rename(self.path_of(from)?, self.path_of(to)?);
        renamed.map_err(|error| failed(from, &format!("rename to {to}"), &error))?;
        self.open.remove(to);
        if let Some(open) = self.open.remove(from) {
            self.open.insert(to.to_owned(), open);
        }
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.check_writable(file)?;
        std::fs::remove_file(self.path_of(file)?).map_err(|error| failed(file, "remove", &error))?;
        self.open.remove(file);
        Ok(())
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.check_writable(".")?;
        self.folder.sync_all().map_err(|error| failed(".", "sync", &error))
    }
}

/// Extends a file with allocated space that reads as zeros.
fn allocate(open: &File, file: &str, before: u64, length: u64) -> Result<(), DiskError> {
    let more = length - before;
    let space = fstatvfs(open).map_err(|error| failed(file, "ask for the free space", &error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    // This comes first, so that a request that can never fit does not fill the disk before it fails.
    if more > free {
        let message = format!("{more} bytes are needed and {free} are free: free some space, or use another disk");
        return Err(DiskError { kind: DiskErrorKind::Full, file: file.to_owned(), message });
    }
    loop {
        match fallocate(open, FallocateFlags::empty(), before, more) {
            Err(Errno::INTR) => {}
            // Some file systems do not support it. The written zeros allocate space too.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Err(error) => return Err(failed(file, &format!("allocate {more} bytes"), &error.into())),
        }
    }
    // Allocated blocks are not written yet: each later sync would also have to mark some as written, at twice the cost.
    static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
    let mut offset = before;
    while offset < length {
        let count = (length - offset).min(ZEROS.len() as u64);
        open.write_all_at(&ZEROS[..count as usize], offset).map_err(|error| failed(file, "write zeros", &error))?;
        offset += count;
    }
    Ok(())
}

/// Creates a folder and its parents, durably.
fn create_folder(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(no_folder(path)),
        created => created.map_err(|error| failed(".", &format!("create the folder {}", path.display()), &error))?,
    }
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|error| failed(".", &format!("sync the folder {}", parent.display()), &error))
}

fn open_folder(path: &Path) -> Result<(PathBuf, File), DiskError> {
    let doing = |error: io::Error| failed(".", &format!("open the folder {}", path.display()), &error);
    let path = path.canonicalize().map_err(doing)?;
    if !path.is_dir() {
        return Err(no_folder(&path));
    }
    let folder = File::open(&path).map_err(doing)?;
    Ok((path, folder))
}

fn no_folder(path: &Path) -> DiskError {
    let message = format!("{} is a file, expected a folder", path.display());
    DiskError { kind: DiskErrorKind::Failed, file: ".".to_owned(), message }
}

fn check_lock(locked: Result<(), TryLockError>, file: &File) -> Result<(), StoreError> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { pid: holder(file) }),
        Err(TryLockError::Error(error)) => Err(StoreError::Folder(failed(LOCK_FILE, "lock", &error))),
    }
}

/// The process that has locked this file, if the system lists it: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`.
fn holder(file: &File) -> Option<u32> {
    let of_file = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(of_file.dev()), rustix::fs::minor(of_file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", of_file.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let pid = lines.find_map(|line| match line[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    });
    // A process outside of this namespace has no id here.
    pid.filter(|&pid| pid > 0)
}

/// All names in a folder except the lock's, sorted. A name that is not UTF-8 belongs to another program and is shown
/// approximately.
fn names(path: &Path) -> Result<Vec<String>, DiskError> {
    let doing = |error: io::Error| failed(".", "list", &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(doing)? {
        names.push(entry.map_err(doing)?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != LOCK_FILE);
    names.sort_unstable();
    Ok(names)
}

fn failed(file: &str, tried: &str, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        ErrorKind::NotFound => DiskErrorKind::NotFound,
        ErrorKind::AlreadyExists => DiskErrorKind::Exists,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        _ => DiskErrorKind::Failed,
    };
    DiskError { kind, file: file.to_owned(), message: format!("cannot {tried}: {error}") }
}

#[cfg(test)]
mod tests;
