//! One verb for all joins: what is on the right side decides which join it is.

/// The right side of a [`join`](crate::KStream::join), for a left side of type `L`.
///
/// A stream joins a table (`&table`), a global table (`global.on(..)`) or a window around another
/// stream; a table joins a table (`&table`), also by a foreign key (`table.on(..)`).
pub trait JoinRhs<L> {
    /// The join, to be told how ([`Left`], [`Outer`]) and ended with `.by(closure)`.
    type Join;

    /// The join of `left` with this.
    fn join_to(self, left: &L) -> Self::Join;
}

/// An inner join: both sides must be there.
#[derive(Clone, Copy, Debug)]
pub struct Inner;

/// A left join: the right side may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Left;

/// An outer join: either side may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Outer;
