//! Damage to durable data: a flipped bit, or a write to the wrong sector. No call reports it; a later read shows it.
//! This file makes no random choices.

use super::content::SECTOR;
use super::{File, SimDisk};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sector {
    pub file: String,
    /// The position of the sector in the file.
    pub number: u64,
}

/// The bytes of a sector, the unit that a disk writes atomically.
pub const SECTOR_BYTES: u64 = SECTOR;

impl SimDisk {
    /// The durable sectors that are not all zeros, of all files with durable names, by name and position.
    pub fn used_sectors(&self) -> Vec<Sector> {
        let mut sectors = Vec::new();
        for (name, number) in self.durable_names.iter().filter(|(name, number)| self.names.get(*name) == Some(number)) {
            let used = self.files.get(number).map(|file| file.durable.used_sectors()).unwrap_or_default();
            sectors.extend(used.into_iter().map(|number| Sector { file: name.clone(), number }));
        }
        sectors
    }

    /// The position just after the last durable byte of a file that is not zero; 0 if there is none.
    pub fn durable_end(&self, file: &str) -> u64 {
        self.durable_names.get(file).and_then(|number| self.files.get(number)).map_or(0, |file| file.durable.used_end())
    }

    /// The last durable name with this prefix, among files that are not all zeros.
    pub fn last_used(&self, prefix: &str) -> Option<&str> {
        let names = self.durable_names.keys().map(String::as_str).rev();
        names.filter(|name| name.starts_with(prefix)).find(|name| self.durable_end(name) > 0)
    }

    /// Flips a bit of a sector, in the durable and in the readable data.
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

    /// Makes a write to `meant` go to `hit`: `hit` now holds the data, and `meant` its earlier content, zeros.
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
    /// Writes misdirected bytes into a sector; the file does not grow.
    fn overwrite(&mut self, sector: u64, data: &[u8]) {
        let offset = sector * SECTOR;
        for content in [&mut self.durable, &mut self.seen] {
            let room = usize::try_from(content.length().saturating_sub(offset)).unwrap_or(usize::MAX);
            content.write(offset, &data[..data.len().min(room)]);
        }
    }
}
