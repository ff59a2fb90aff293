//! Damage to what is durable already: a bit that turns over, a write that went to the wrong place. No call reports it; it
//! shows when it is read. This file draws nothing.

use super::content::SECTOR;
use super::{File, SimDisk};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sector {
    pub file: String,
    /// Its place in the file, counted in sectors.
    pub number: u64,
}

/// Bytes of a sector: what a disk writes at once or not at all.
pub const SECTOR_BYTES: u64 = SECTOR;

impl SimDisk {
    /// The durable sectors that hold anything but zeros, of all files whose names are durable; by name and place.
    pub fn used_sectors(&self) -> Vec<Sector> {
        let mut sectors = Vec::new();
        for (name, number) in self.durable_names.iter().filter(|(name, number)| self.names.get(*name) == Some(number)) {
            let used = self.files.get(number).map(|file| file.durable.used_sectors()).unwrap_or_default();
            sectors.extend(used.into_iter().map(|number| Sector { file: name.clone(), number }));
        }
        sectors
    }

    /// Just after the last durable byte of a file that is not zero; 0 if there is none.
    pub fn durable_end(&self, file: &str) -> u64 {
        self.durable_names.get(file).and_then(|number| self.files.get(number)).map_or(0, |file| file.durable.used_end())
    }

    /// The durable name that comes last of those that begin like this, of files that are not all zeros.
    pub fn last_used(&self, prefix: &str) -> Option<&str> {
        let names = self.durable_names.keys().map(String::as_str).rev();
        names.filter(|name| name.starts_with(prefix)).find(|name| self.durable_end(name) > 0)
    }

    /// Turns a bit of a sector over, in what is durable and in what can be read.
    pub fn rot(&mut self, sector: &Sector, bit: u64) {
        let offset = sector.number * SECTOR + bit / 8 % SECTOR;
        let flip = |content: &mut super::Content| {
            let mut byte = [0];
            if content.read(offset, &mut byte) == 1 {
                content.write(offset, &[byte[0] ^ (1 << (bit % 8))]);
            }
        };
        if let Some(file) = self.durable_file(&sector.file) {
            flip(&mut file.durable);
            flip(&mut file.seen);
        }
    }

    /// What was to be written to `meant` was written to `hit`: that holds it now, and `meant` what was there before, zeros.
    pub fn misdirect(&mut self, meant: &Sector, hit: &Sector) {
        let mut data = [0; SECTOR as usize];
        let Some(file) = self.durable_file(&meant.file) else { return };
        let count = file.durable.read(meant.number * SECTOR, &mut data);
        file.overwrite(meant.number, &[0; SECTOR as usize][..count]);
        if let Some(file) = self.durable_file(&hit.file) {
            file.overwrite(hit.number, &data[..count]);
        }
    }

    fn durable_file(&mut self, name: &str) -> Option<&mut File> {
        let number = self.durable_names.get(name)?;
        self.files.get_mut(number)
    }
}

impl File {
    /// Puts misdirected bytes into a sector: a file does not grow by that.
    fn overwrite(&mut self, sector: u64, data: &[u8]) {
        let offset = sector * SECTOR;
        for content in [&mut self.durable, &mut self.seen] {
            let room = usize::try_from(content.length().saturating_sub(offset)).unwrap_or(usize::MAX);
            content.write(offset, &data[..data.len().min(room)]);
        }
    }
}
