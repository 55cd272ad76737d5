//! Changes good inputs a little, as a damaged file or a hostile client would.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Makes inputs from inputs; the same seed makes the same ones.
#[derive(Debug)]
pub struct Mutator {
    random: SmallRng,
}

impl Mutator {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// One of `examples`, changed in a few places.
    pub fn next(&mut self, examples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(examples).unwrap_or_default();
        for _ in 0..self.random.random_range(1..6) {
            self.change(&mut bytes, examples);
        }
        bytes
    }

    fn pick(&mut self, examples: &[Vec<u8>]) -> Option<Vec<u8>> {
        let index = self.below(examples.len());
        examples.get(index).cloned()
    }

    fn change(&mut self, bytes: &mut Vec<u8>, examples: &[Vec<u8>]) {
        let place = self.below(bytes.len());
        let end = place + self.below(bytes.len().saturating_sub(place).min(64) + 1);
        match self.random.random_range(0..8) {
            0 => bytes.truncate(place),
            1 if !bytes.is_empty() => bytes[place] ^= 1 << self.random.random_range(0..8),
            2 => drop(bytes.drain(place..end)),
            3 => {
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            4 => {
                let other = self.pick(examples).unwrap_or_default();
                let from = self.below(other.len());
                bytes.splice(place..end, other[from..].iter().copied().take(256));
            }
            5 => {
                let made_up: Vec<u8> = (0..self.below(16)).map(|_| self.random.random()).collect();
                bytes.splice(place..place, made_up);
            }
            _ => {
                let telling = TELLING[self.random.random_range(0..TELLING.len())];
                let end = (place + telling.len()).min(bytes.len());
                bytes.splice(place..end, telling.iter().copied());
            }
        }
        bytes.truncate(MAX_INPUT);
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end.max(1))
    }
}

/// Numbers at which lengths, counts and offsets turn over.
const TELLING: [&[u8]; 12] = [
    &[0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0],
    &[1],
];

/// Larger inputs find nothing that smaller ones do not.
const MAX_INPUT: usize = 1 << 14;
