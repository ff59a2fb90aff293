//! How much of a folder's files is durable: of each its content, and its name. Must not know what is in them, nor by how
//! many calls it was written.

use std::collections::BTreeMap;

/// A folder, as system calls make it.
#[derive(Debug, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, File>,
    /// By call: the file whose sync is under way, and how many of its writes that covers.
    syncs: BTreeMap<usize, (String, u64)>,
    /// By call: the names that it will have made durable.
    folder_syncs: BTreeMap<usize, Vec<String>>,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// How many writes have begun, how many have returned, and how many of the first ones are durable.
    begun: u64,
    returned: u64,
    synced: u64,
    /// The line in which the last write began.
    last: u64,
    /// Whether its name is durable.
    named: bool,
}

impl Files {
    pub(crate) fn created(&mut self, file: &str) {
        self.files.insert(file.to_owned(), File::default());
    }

    pub(crate) fn write_begins(&mut self, file: &str, line: u64) {
        let file = self.files.entry(file.to_owned()).or_default();
        (file.begun, file.last) = (file.begun + 1, line);
    }

    /// A write has returned, whatever it said: what is in the file now, only a sync makes certain.
    pub(crate) fn write_ends(&mut self, file: &str) {
        if let Some(file) = self.files.get_mut(file) {
            file.returned += 1;
        }
    }

    /// The sync of a file begins: it covers what has returned, if that can be told from what has not.
    pub(crate) fn sync_begins(&mut self, call: usize, file: &str) {
        if let Some(File { begun, returned, synced, .. }) = self.files.get(file) {
            let covers = if begun == returned { *begun } else { *synced };
            self.syncs.insert(call, (file.to_owned(), covers));
        }
    }

    /// The sync of the folder begins.
    pub(crate) fn folder_sync_begins(&mut self, call: usize) {
        let unnamed = self.files.iter().filter(|(_, file)| !file.named).map(|(name, _)| name.clone());
        self.folder_syncs.insert(call, unnamed.collect());
    }

    /// A sync has returned.
    pub(crate) fn sync_ends(&mut self, call: usize, well: bool) {
        let synced = self.syncs.remove(&call);
        let names = self.folder_syncs.remove(&call).unwrap_or_default();
        if !well {
            return;
        }
        if let Some((file, covers)) = synced.and_then(|(name, covers)| Some((self.files.get_mut(&name)?, covers))) {
            file.synced = file.synced.max(covers);
        }
        for name in names {
            if let Some(file) = self.files.get_mut(&name) {
                file.named = true;
            }
        }
    }

    pub(crate) fn renamed(&mut self, from: &str, to: &str) {
        let file = self.files.remove(from).unwrap_or_default();
        self.files.insert(to.to_owned(), File { named: false, ..file });
    }

    pub(crate) fn removed(&mut self, file: &str) {
        self.files.remove(file);
    }

    /// The process died: nothing is under way any more, and what it had begun to write may be there, but nobody synced it.
    pub(crate) fn died(&mut self) {
        self.syncs.clear();
        self.folder_syncs.clear();
        for file in self.files.values_mut() {
            file.returned = file.begun;
        }
    }

    /// What is missing for the content of a file to be durable.
    pub(crate) fn lacks_content(&self, name: &str) -> Option<String> {
        let Some(File { begun, returned, synced, last, .. }) = self.files.get(name) else {
            return Some(format!("there is no file {name}"));
        };
        if returned < begun {
            return Some(format!("a write to {name} has not returned: that of line {last}"));
        }
        (synced < begun)
            .then(|| format!("no sync of {name} has returned that began after its last write, in line {last}"))
    }

    /// What is missing for a file to be durable, under this name.
    pub(crate) fn lacks(&self, name: &str) -> Option<String> {
        let unnamed = || self.files.get(name).is_some_and(|file| !file.named);
        self.lacks_content(name).or_else(|| unnamed().then(|| format!("the name {name} is not synced")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_what_has_returned_before_it_and_goes_with_the_file() {
        let mut files = Files::default();
        let says = |files: &Files, name: &str| files.lacks(name).unwrap_or_default();
        assert!(says(&files, "a").contains("no file"));
        files.created("a");
        files.write_begins("a", 2);
        files.sync_begins(1, "a");
        assert!(says(&files, "a").contains("has not returned"));
        files.write_ends("a");
        files.sync_ends(1, true);
        assert!(says(&files, "a").contains("after its last write, in line 2"), "it began before the write returned");
        files.sync_begins(2, "a");
        files.sync_ends(2, false);
        assert!(files.lacks_content("a").is_some(), "it failed");
        files.sync_begins(3, "a");
        files.sync_ends(3, true);
        assert!(files.lacks_content("a").is_none() && says(&files, "a").contains("name a is not synced"));
        files.folder_sync_begins(4);
        files.renamed("a", "b");
        files.sync_ends(4, true);
        assert!(says(&files, "b").contains("name b is not synced"), "it began before the renaming");
        files.folder_sync_begins(5);
        files.sync_ends(5, true);
        assert_eq!((says(&files, "b"), files.lacks("a").is_some()), (String::new(), true));
        files.removed("b");
        assert!(says(&files, "b").contains("no file"));
    }

    #[test]
    fn a_death_ends_what_is_under_way_and_syncs_nothing() {
        let mut files = Files::default();
        files.created("a");
        files.folder_sync_begins(1);
        files.sync_ends(1, true);
        files.write_begins("a", 1);
        files.died();
        assert!(files.lacks("a").is_some_and(|lacks| lacks.contains("after its last write")));
        files.sync_begins(2, "a");
        files.died();
        files.sync_ends(2, true);
        assert!(files.lacks("a").is_some());
    }
}
