//! The election jitter, the only randomness of the core: a function of the seed and the restored state (rule R46).

use crate::canonical::{Canon, Canonical};
use crate::id::{EntryId, NodeId, Term};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers, addressed by the number of draws so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Jitter {
    key: [u8; 32],
    draws: u64,
}

impl Jitter {
    /// The stream of this seed, node and restored state. The restored term and last entry are in the key, so that a
    /// node that crashes in a loop does not draw the same timeouts each time.
    pub(crate) fn new(seed: u64, id: NodeId, term: Term, last: EntryId) -> Self {
        let mut key = [0; 32];
        let words = [seed, id.0, term.0, last.index.0 ^ last.term.0.rotate_left(32)];
        for (place, word) in key.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Self { key, draws: 0 }
    }

    /// A number below `width`, uniform up to an error of at most `width / 2^64`. It draws nothing if `width` is 0 or 1.
    pub(crate) fn below(&mut self, width: u64) -> u64 {
        if width <= 1 {
            return 0;
        }
        let mut stream = ChaCha8Rng::from_seed(self.key);
        stream.set_word_pos(u128::from(self.draws) * 2);
        self.draws = self.draws.saturating_add(1);
        let product = u128::from(stream.next_u64()) * u128::from(width);
        (product >> 64) as u64
    }
}

impl Canonical for Jitter {
    fn feed(&self, canon: &mut Canon<'_>) {
        if canon.draws {
            canon.raw(&(self.key, self.draws));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter(seed: u64) -> Jitter {
        Jitter::new(seed, NodeId(1), Term(2), EntryId::new(3, 2))
    }

    #[test]
    fn draws_are_pinned_by_the_key_and_nothing_else() {
        let draw = |mut jitter: Jitter| [jitter.below(1_000), jitter.below(1_000), jitter.below(1_000)];
        assert_eq!(draw(jitter(7)), draw(jitter(7)));
        assert_ne!(draw(jitter(7)), draw(jitter(8)));
        assert_ne!(draw(jitter(7)), draw(Jitter::new(7, NodeId(2), Term(2), EntryId::new(3, 2))));
        assert_ne!(draw(jitter(7)), draw(Jitter::new(7, NodeId(1), Term(3), EntryId::new(3, 2))));
        assert_ne!(draw(jitter(7)), draw(Jitter::new(7, NodeId(1), Term(2), EntryId::new(4, 2))));
    }

    #[test]
    fn an_empty_range_draws_nothing_and_the_others_stay_inside() {
        let mut jitter = jitter(1);
        let untouched = jitter.clone();
        assert_eq!((jitter.below(0), jitter.below(1)), (0, 0));
        assert_eq!(jitter, untouched);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[jitter.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }
}
