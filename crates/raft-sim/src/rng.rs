//! Random choices with addresses. A choice is (seed, site, key, n), for example (7, "network", link 2>3, 17). The same
//! address gives the same number in every run, whatever other choices there are. If one message, fault or client
//! operation is omitted, all unrelated choices stay the same. That makes shrinking and "what if" possible.
//!
//! A run has one ChaCha8 key; each (site, key) is a separate ChaCha *stream*, and choice n is the n-th 64-bit word of
//! that stream. It produces words 32 at a time and keeps them for the stream's next choices, because most choices of a
//! stream follow one another. This file must not know the meaning of the choices.

use raft_core::{NodeId, nanos};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The kind of a choice. Two sites never share a stream (except for a collision of 64-bit hashes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(u64);

impl Site {
    /// The site of this name (FNV-1a, 64 bits).
    pub const fn new(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut place = 0;
        while place < bytes.len() {
            hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            place += 1;
        }
        Self(hash)
    }
}

pub const fn link_key(from: NodeId, to: NodeId) -> u64 {
    (from.0 << 32) ^ to.0
}

#[derive(Clone, Debug)]
pub struct Choices {
    base: ChaCha8Rng,
    blocks: BTreeMap<u64, Block>,
    /// Salts of all streams; 0 for the seed's own choices.
    salt: u64,
    /// Salts of the streams of some sites.
    sites: BTreeMap<Site, u64>,
    /// How many choices come before the one that is salted alone, and its salt.
    single: Option<(u64, u64)>,
}

/// The choices that a [`redraw`](Choices::redraw) changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrawn {
    /// All later choices.
    All,
    /// All later choices of the site with this name.
    Site(String),
    /// The later choice with this number, from 1.
    Single(u64),
}

/// Words of one stream, kept for its next choices.
#[derive(Clone, Debug)]
struct Block {
    number: u64,
    words: [u64; WORDS],
}

const WORDS: usize = 32;

impl Choices {
    /// The choices of the run with this seed.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        for (n, word) in key.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&mix(seed ^ ((n as u64) << 56)).to_le_bytes());
        }
        let base = ChaCha8Rng::from_seed(key);
        Self { base, blocks: BTreeMap::new(), salt: 0, sites: BTreeMap::new(), single: None }
    }

    /// Makes later choices differ from those of the seed. Equal salts at equal places give equal choices.
    pub fn redraw(&mut self, salt: u64, what: &Redrawn) {
        let add = |old: u64| mix(old ^ mix(salt));
        match what {
            Redrawn::All => {
                self.salt = add(self.salt);
                self.blocks.clear();
            }
            Redrawn::Site(name) => {
                let of_site = self.sites.entry(Site::new(name)).or_default();
                *of_site = add(*of_site);
            }
            Redrawn::Single(number) => self.single = number.checked_sub(1).map(|before| (before, add(0))),
        }
    }

    /// The salt of the next choice of this site.
    fn next_salt(&mut self, site: Site) -> u64 {
        let of_site = if self.sites.is_empty() { 0 } else { self.sites.get(&site).copied().unwrap_or(0) };
        let alone = match &mut self.single {
            None => 0,
            Some((0, salt)) => {
                let salt = *salt;
                self.single = None;
                salt
            }
            Some((before, _)) => {
                *before -= 1;
                0
            }
        };
        self.salt ^ of_site ^ alone
    }

    /// The choice at this address. A draw answers one question: the answers to two questions would depend on each
    /// other.
    pub fn draw(&mut self, site: Site, key: u64, n: u64) -> Draw {
        let salt = self.next_salt(site);
        let stream = mix(site.0 ^ mix(key)) ^ salt;
        let (number, place) = (n / WORDS as u64, (n % WORDS as u64) as usize);
        match self.blocks.get(&stream) {
            Some(block) if block.number == number => Draw(block.words[place]),
            _ => {
                let words = self.words(stream, number);
                self.blocks.insert(stream, Block { number, words });
                Draw(words[place])
            }
        }
    }

    fn words(&mut self, stream: u64, number: u64) -> [u64; WORDS] {
        self.base.set_stream(stream);
        // ChaCha counts in words of 32 bits.
        self.base.set_word_pos(u128::from(number) * 2 * WORDS as u128);
        std::array::from_fn(|_| self.base.next_u64())
    }
}

/// One choice: 64 uniform bits, and the ways to read them. Integers only; no rejection, so that every choice takes
/// exactly one word (the bias of at most n / 2^64 is beyond what any number of runs could show).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// The bits themselves, as a seed for another generator.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A number from 0 to `n` - 1; 0 if `n` is 0.
    pub const fn below(self, n: u64) -> u64 {
        ((self.0 as u128 * n as u128) >> 64) as u64
    }

    /// A duration of the range; its start if it is empty.
    pub fn in_range(self, range: &Range<Duration>) -> Duration {
        let start = nanos(range.start);
        let width = nanos(range.end).saturating_sub(start);
        Duration::from_nanos(start.saturating_add(self.below(width)))
    }

    /// True with a probability of `ppm` parts per million.
    pub const fn chance_ppm(self, ppm: u32) -> bool {
        self.below(1_000_000) < ppm as u64
    }

    /// One of the items; `None` if there are none.
    pub fn pick<T: Copy>(self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len() as u64) as usize).copied()
    }
}

/// The finalizer of SplitMix64: a bijection that spreads every bit over all others.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site::new("network");

    #[test]
    fn known_answers_pin_the_streams() {
        let mut choices = Choices::new(7);
        let key = link_key(NodeId(2), NodeId(3));
        let drawn: Vec<u64> = [0, 1, 17, 31, 32, 1 << 40].iter().map(|&n| choices.draw(SITE, key, n).bits()).collect();
        let expected = [
            11_866_087_247_753_168_017,
            15_155_761_494_385_013_882,
            16_693_243_255_844_614_468,
            3_426_868_847_012_801_727,
            13_099_028_504_078_737_122,
            2_355_364_138_788_444_485,
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn an_address_gives_the_same_choice_in_any_order() {
        let mut forward = Choices::new(7);
        let mut backward = Choices::new(7);
        let up: Vec<Draw> = (0..100).map(|n| forward.draw(SITE, n % 3, n)).collect();
        let mut down: Vec<Draw> = (0..100).rev().map(|n| backward.draw(SITE, n % 3, n)).collect();
        down.reverse();
        assert_eq!(up, down);
        assert_ne!(Choices::new(8).draw(SITE, 0, 0), up[0], "another seed gives another run");
        assert_ne!(Choices::new(7).draw(Site::new("disk"), 0, 0), up[0], "another site gives another stream");
    }

    #[test]
    fn a_redraw_changes_the_choices_that_it_names() {
        let drawn = |redraw: Option<(u64, Redrawn)>| -> Vec<u64> {
            let mut choices = Choices::new(7);
            choices.draw(SITE, 0, 0);
            redraw.iter().for_each(|(salt, what)| choices.redraw(*salt, what));
            let sites = [SITE, Site::new("disk")];
            (0..8).map(|n| choices.draw(sites[n as usize % 2], 0, n / 2).bits()).collect()
        };
        let plain = drawn(None);
        let changed = |redraw| -> Vec<usize> {
            let again = drawn(Some(redraw));
            (0..8).filter(|place| again[*place] != plain[*place]).collect()
        };
        assert_eq!(changed((1, Redrawn::All)), (0..8).collect::<Vec<_>>());
        assert_eq!(changed((1, Redrawn::Site("disk".into()))), [1, 3, 5, 7]);
        assert_eq!(changed((1, Redrawn::Single(4))), [3]);
        assert_eq!(drawn(Some((3, Redrawn::All))), drawn(Some((3, Redrawn::All))));
        assert_ne!(drawn(Some((3, Redrawn::All))), drawn(Some((4, Redrawn::All))));
    }

    #[test]
    fn readings_stay_in_range() {
        let mut choices = Choices::new(1);
        let range = Duration::from_nanos(5)..Duration::from_nanos(8);
        let mut seen = [0_u32; 3];
        let mut hits = 0;
        for n in 0..3_000 {
            let draw = choices.draw(SITE, 0, n);
            seen[(draw.in_range(&range).as_nanos() - 5) as usize] += 1;
            hits += u32::from(draw.chance_ppm(100_000));
        }
        assert!(seen.iter().all(|&count| (900..1_100).contains(&count)), "{seen:?}");
        assert!((240..360).contains(&hits), "{hits} of 3000 draws were true");
        let draw = Draw(u64::MAX);
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.below(10), 9);
        assert_eq!(draw.in_range(&(range.end..range.start)), range.end);
        assert!(draw.chance_ppm(1_000_000) && !Draw(0).chance_ppm(0));
        assert_eq!(draw.pick::<u8>(&[]), None);
    }
}
