//! Where a classic group stands.

/// The state of a classic group. A group that is gone has none; it is described as `Dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members; it may have offsets.
    Empty,
    /// Its members are joining.
    PreparingRebalance,
    /// All have joined; the leader is assigning.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }

    /// Kafka's name for a group that is not there.
    pub const DEAD: &'static str = "Dead";
}
