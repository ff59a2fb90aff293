//! Stored outcomes, one in each file: a long campaign can be interrupted, and shards share results.

use super::hunt::Outcome;
use super::patch::Patch;
use super::searches::{Plan, Searches};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

/// The outcomes of one tree and one number of seeds.
pub(crate) struct Results {
    folder: PathBuf,
    tree: u64,
    seeds: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The hash of tree, patch and seeds.
    key: String,
    outcome: Outcome,
}

impl Results {
    pub(crate) fn open(folder: PathBuf, tree: u64, seeds: u64) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder, tree, seeds })
    }

    /// The outcome for this bug (or the control), if it is stored.
    pub(crate) fn get(&self, id: &str, patch: Option<&Patch>) -> Option<Outcome> {
        let text = fs::read(self.file(id)).ok()?;
        // A half-written file counts as no result.
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.key == self.key(patch)).then_some(kept.outcome)
    }

    /// Stores an outcome, except for a run that hung: the next machine may be faster.
    pub(crate) fn put(&self, id: &str, patch: Option<&Patch>, outcome: &Outcome) -> Result<()> {
        if outcome.hung.is_some() {
            return Ok(());
        }
        let kept = Kept { key: self.key(patch), outcome: outcome.clone() };
        let file = self.file(id);
        fs::write(&file, serde_json::to_vec_pretty(&kept)?).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The searches for this bug, if they are stored.
    pub(crate) fn searches(&self, patch: &Patch, plan: &Plan) -> Option<Searches> {
        let text = fs::read(self.file(&searches_of(&patch.id))).ok()?;
        let (key, searches): (String, Searches) = serde_json::from_slice(&text).ok()?;
        (key == self.key_of_searches(patch, plan)).then_some(searches)
    }

    /// Stores the searches for a bug.
    pub(crate) fn put_searches(&self, patch: &Patch, plan: &Plan, searches: &Searches) -> Result<()> {
        let file = self.file(&searches_of(&patch.id));
        let kept = serde_json::to_vec_pretty(&(self.key_of_searches(patch, plan), searches))?;
        fs::write(&file, kept).with_context(|| format!("cannot write {}", file.display()))
    }

    fn key_of_searches(&self, patch: &Patch, plan: &Plan) -> String {
        format!("{}-{}-{}", self.key(Some(patch)), plan.budget, plan.repetitions)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn key(&self, patch: Option<&Patch>) -> String {
        let mut hasher = DefaultHasher::new();
        hasher.write(patch.map(|patch| patch.text.as_bytes()).unwrap_or_default());
        format!("{:016x}-{:016x}-{}", self.tree, hasher.finish(), self.seeds)
    }
}

fn searches_of(id: &str) -> String {
    format!("{id}.searches")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::patch::patches;
    use crate::repository;

    #[test]
    fn an_outcome_is_kept_for_the_same_question_only() {
        let folder = tempfile::tempdir().unwrap();
        let results = |tree, seeds| Results::open(folder.path().into(), tree, seeds).unwrap();
        let patch = patches(&repository::root().unwrap()).unwrap().remove(0);
        let missed = Outcome { seeds: 9, ..Outcome::default() };
        results(1, 9).put("bug", Some(&patch), &missed).unwrap();
        assert_eq!(results(1, 9).get("bug", Some(&patch)), Some(missed.clone()));
        assert_eq!(results(2, 9).get("bug", Some(&patch)), None, "another tree");
        assert_eq!(results(1, 8).get("bug", Some(&patch)), None, "other seeds");
        let other = Patch { text: patch.text.clone() + "\n", ..patch.clone() };
        assert_eq!(results(1, 9).get("bug", Some(&other)), None, "another patch");
        assert_eq!(results(1, 9).get("other", Some(&patch)), None);
        fs::write(folder.path().join("bug.json"), "{\"key\":").unwrap();
        assert_eq!(results(1, 9).get("bug", Some(&patch)), None, "half a file");
        results(1, 9).put("hung", None, &Outcome { hung: Some("raft-sim".into()), ..missed }).unwrap();
        assert_eq!(results(1, 9).get("hung", None), None);
    }
}
