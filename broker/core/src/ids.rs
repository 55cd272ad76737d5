//! Offsets, epochs and ids as types of their own, so that they cannot be mixed up.

use std::fmt;
use std::ops::{Add, Sub};

/// The position of a record in a partition; 0 is the first record ever written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Add<i64> for Offset {
    type Output = Self;

    fn add(self, records: i64) -> Self {
        Self(self.0.saturating_add(records))
    }
}

impl Sub for Offset {
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How many times the leader of a partition has changed (KIP-101).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

/// The id of an idempotent or transactional producer; [`ProducerId::NONE`] for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A producer without idempotence.
    pub const NONE: Self = Self(-1);
}

/// Fences older instances of the same producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// No epoch is known.
    pub const NONE: Self = Self(-1);
}

/// A request that waits for its answer; chosen by the shell, given back exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Records on their way to a coordinator's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

macro_rules! display_as_number {
    ($($id:ty),*) => {
        $(impl fmt::Display for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        })*
    };
}

display_as_number!(
    Offset,
    LeaderEpoch,
    ProducerId,
    ProducerEpoch,
    Token,
    AppendId
);
