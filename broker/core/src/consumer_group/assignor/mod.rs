//! Server-side assignors: which member is to read which partition.
//!
//! They are given the target assignment so far and keep as much of it as balance allows. The same
//! input always gives the same output: members count in the order of their ids.

mod levels;
mod range;
mod uniform;
mod uniform_mixed;

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::types::{KString, Uuid};

use super::partitions::Partitions;

/// An assignor by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Spreads all partitions evenly and moves as few as it can.
    #[default]
    Uniform,
    /// Gives each member a range of each topic, the same for topics with as many partitions.
    Range,
}

impl Assignor {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// These assignors in this order; each counts once. `None` if there is none.
    #[must_use]
    pub fn list(assignors: &[Self]) -> Option<&'static [Self]> {
        let has = |assignor| assignors.contains(&assignor);
        match assignors.first()? {
            Self::Uniform if has(Self::Range) => Some(&[Self::Uniform, Self::Range]),
            Self::Uniform => Some(&[Self::Uniform]),
            Self::Range if has(Self::Uniform) => Some(&[Self::Range, Self::Uniform]),
            Self::Range => Some(&[Self::Range]),
        }
    }

    /// The target of every member; each partition of a topic that anyone subscribes to is given to
    /// exactly one of its subscribers.
    pub(crate) fn assign(self, input: &Input<'_>) -> Vec<Partitions> {
        if input.members.is_empty() {
            return Vec::new();
        }
        match (self, input.homogeneous) {
            (Self::Range, _) => range::assign(input),
            (Self::Uniform, true) => uniform::assign(input),
            (Self::Uniform, false) => uniform_mixed::assign(input),
        }
    }
}

/// What an assignor decides on.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// Ordered by member id.
    pub(crate) members: Vec<Subscriber<'a>>,
    /// How many partitions each topic has that anyone subscribes to.
    pub(crate) partition_counts: BTreeMap<Uuid, i32>,
    /// Whether all members subscribe to the same topics.
    pub(crate) homogeneous: bool,
}

/// A member as an assignor sees it.
#[derive(Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) member_id: &'a KString,
    pub(crate) instance_id: Option<&'a KString>,
    /// The topics it subscribes to and that exist.
    pub(crate) topics: BTreeSet<Uuid>,
    /// Its target so far.
    pub(crate) target: Option<&'a Partitions>,
}

impl Input<'_> {
    fn partition_count(&self, topic_id: Uuid) -> i32 {
        self.partition_counts
            .get(&topic_id)
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod kafka_tests;
#[cfg(test)]
mod tests;
