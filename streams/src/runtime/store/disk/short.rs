//! Bytes that stand where they are kept if they are few, so that most rows need no memory of their
//! own and are compared without a jump to it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// Bytes; up to `N` of them in place. `N` is less than 256.
pub(super) enum Short<const N: usize> {
    InPlace { length: u8, bytes: [u8; N] },
    Apart(Box<[u8]>),
}

/// A row's key: a window's key with 16 bytes of the user's stands in place.
pub(super) type Key = Short<30>;
/// A row's value: a timestamp and a number stand in place.
pub(super) type Row = Short<22>;

impl<const N: usize> Short<N> {
    /// Puts pieces one after the other.
    pub(super) fn of(pieces: &[&[u8]]) -> Self {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut bytes = [0; N];
        match (bytes.get_mut(..length), u8::try_from(length)) {
            (Some(mut place), Ok(length)) => {
                for piece in pieces {
                    let (own, rest) = place.split_at_mut(piece.len());
                    own.copy_from_slice(piece);
                    place = rest;
                }
                Self::InPlace { length, bytes }
            }
            _ => Self::Apart(pieces.concat().into_boxed_slice()),
        }
    }

    /// Memory it takes beside its own size, about.
    pub(super) fn memory_apart(&self) -> usize {
        match self {
            Self::InPlace { .. } => 0,
            Self::Apart(bytes) => bytes.len() + ALLOCATION,
        }
    }
}

impl<const N: usize> Deref for Short<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::InPlace { length, bytes } => {
                bytes.get(..usize::from(*length)).unwrap_or_default()
            }
            Self::Apart(bytes) => bytes,
        }
    }
}

impl<const N: usize> Borrow<[u8]> for Short<N> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> PartialEq for Short<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const N: usize> Eq for Short<N> {}

impl<const N: usize> PartialOrd for Short<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Short<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<const N: usize> std::fmt::Debug for Short<N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.escape_ascii())
    }
}

/// What an allocator adds to a piece of memory, about.
const ALLOCATION: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_in_place_and_apart() {
        for length in [0, 1, 21, 22, 23, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let (first, second) = bytes.split_at(length / 3);
            let short = Row::of(&[first, second]);
            assert_eq!(*short, bytes);
            assert_eq!(short.memory_apart() > 0, length > 22);
        }
        assert_eq!(size_of::<(Key, Option<Row>)>(), 56);
    }

    #[test]
    fn the_order_is_that_of_the_bytes_wherever_they_are() {
        let long = [b'b'; 40];
        let sorted = [&b""[..], b"a", b"ab", b"b", &long, b"c"].map(|bytes| Key::of(&[bytes]));
        assert!(sorted.is_sorted());
    }
}
