//! The opaque value of a `records` field.

use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Record batches that are carried without being decoded: pieces written one after another.
///
/// Decoding always gives one [`RecordsPiece::Bytes`], a slice of the frame. A response may be
/// built of many pieces, which reach the socket without being joined.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pieces: Pieces,
    len: usize,
}

/// A single piece, by far the most common, needs no allocation.
#[derive(Clone, Debug, Default)]
enum Pieces {
    #[default]
    None,
    One(RecordsPiece),
    Many(Vec<RecordsPiece>),
}

/// One run of bytes that is already in memory, or still in a file.
#[derive(Clone, Debug)]
pub enum RecordsPiece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in a file, for `sendfile`.
    File(FileRange),
}

/// A run of bytes of a file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The open file.
    pub file: Arc<File>,
    /// Where the run begins.
    pub position: u64,
    /// How many bytes it has.
    pub length: u32,
}

impl Records {
    /// No records: zero bytes, which is not the same as a null field.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: Pieces::None,
            len: 0,
        }
    }

    /// How many bytes all pieces have together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in the order in which they are written; none of them is empty.
    #[must_use]
    pub const fn pieces(&self) -> &[RecordsPiece] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces.as_slice(),
        }
    }

    /// The pieces in the order in which they are written.
    #[must_use]
    pub fn into_pieces(self) -> Vec<RecordsPiece> {
        match self.pieces {
            Pieces::None => Vec::new(),
            Pieces::One(piece) => vec![piece],
            Pieces::Many(pieces) => pieces,
        }
    }

    /// Adds a piece at the end; an empty one leaves no trace.
    pub fn push(&mut self, piece: impl Into<RecordsPiece>) {
        let piece = piece.into();
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        self.pieces = match std::mem::take(&mut self.pieces) {
            Pieces::None => Pieces::One(piece),
            Pieces::One(first) => Pieces::Many(vec![first, piece]),
            Pieces::Many(mut pieces) => {
                pieces.push(piece);
                Pieces::Many(pieces)
            }
        };
    }

    /// The bytes without copy, if there is nothing to join: no piece, or a single one in memory.
    #[must_use]
    pub fn as_bytes(&self) -> Option<Bytes> {
        match self.pieces() {
            [] => Some(Bytes::new()),
            [RecordsPiece::Bytes(bytes)] => Some(bytes.clone()),
            _ => None,
        }
    }

    /// All pieces as one; copies if there are several. `None` if one of them is in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Bytes> {
        self.as_bytes().or_else(|| join(self.pieces(), self.len))
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        let mut records = Self::new();
        records.push(bytes);
        records
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut records = Self::new();
        pieces.into_iter().for_each(|piece| records.push(piece));
        records
    }
}

/// Equal if the bytes are; ranges of files are equal if they are the same range of the same file.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        match (self.to_bytes(), other.to_bytes()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.pieces() == other.pieces(),
        }
    }
}

impl RecordsPiece {
    /// How many bytes the piece has.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.length as usize,
        }
    }

    /// Whether the piece has no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for RecordsPiece {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(ours), Self::Bytes(theirs)) => ours == theirs,
            (Self::File(ours), Self::File(theirs)) => {
                Arc::ptr_eq(&ours.file, &theirs.file)
                    && ours.position == theirs.position
                    && ours.length == theirs.length
            }
            _ => false,
        }
    }
}

impl From<Bytes> for RecordsPiece {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<FileRange> for RecordsPiece {
    fn from(range: FileRange) -> Self {
        Self::File(range)
    }
}

/// The pieces copied into one; `None` if one of them is in a file.
pub(crate) fn join(pieces: &[RecordsPiece], len: usize) -> Option<Bytes> {
    let mut joined = BytesMut::with_capacity(len);
    for piece in pieces {
        match piece {
            RecordsPiece::Bytes(bytes) => joined.extend_from_slice(bytes),
            RecordsPiece::File(_) => return None,
        }
    }
    Some(joined.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_equal_their_join() {
        let pieces: Records = [
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"c"),
        ]
        .into_iter()
        .collect();
        assert_eq!(pieces.pieces().len(), 2);
        assert_eq!(pieces.as_bytes(), None);
        assert_eq!(pieces, Records::from(Bytes::from_static(b"abc")));
    }
}
