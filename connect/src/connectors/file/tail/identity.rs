//! How a file is known again: by its inode, its first bytes, and the bytes before our place in it.
//!
//! The inode alone does not do: a file system gives the number of a deleted file to the next one,
//! and a file that is emptied and written anew (copytruncate) keeps its number. The first bytes
//! alone do not do either: many logs begin with the same heading.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde_json::{Value, json};

/// Device and inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Length and hash of a piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Print {
    pub(crate) length: u64,
    pub(crate) hash: u64,
}

/// How far a file has been read. Stored as JSON in the offsets topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Tells the contents apart that one inode has had one after the other. Never given twice.
    pub(crate) generation: u64,
    /// Bytes read: the place after the last line end.
    pub(crate) position: u64,
    /// The first bytes, at most [`HEAD_BYTES`].
    pub(crate) head: Print,
    /// The bytes before `position`, at most [`ANCHOR_BYTES`].
    pub(crate) anchor: Print,
    pub(crate) path: String,
    /// When it was read to its end after it left the patterns, in milliseconds since 1970.
    pub(crate) closed: Option<i64>,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// As the key of its progress in the offsets topic.
    pub(crate) fn to_json(self) -> Value {
        json!({"device": self.device, "inode": self.inode})
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            device: value.get("device")?.as_u64()?,
            inode: value.get("inode")?.as_u64()?,
        })
    }
}

impl Print {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len() as u64,
            hash: fnv1a(bytes),
        }
    }

    /// The print of the first bytes of a file.
    pub(crate) fn of_head(file: &File, size: u64) -> io::Result<Self> {
        Self::of_piece(file, 0, size.min(HEAD_BYTES as u64))
    }

    /// The print of a piece of a file; shorter when the file ends before.
    pub(crate) fn of_piece(file: &File, start: u64, length: u64) -> io::Result<Self> {
        let mut bytes = vec![0; bounded(length, HEAD_BYTES.max(ANCHOR_BYTES))];
        let length = read_full(file, &mut bytes, start)?;
        bytes.truncate(length);
        Ok(Self::of(&bytes))
    }

    /// Whether the piece of `file` that begins at `start` is still this one.
    pub(crate) fn matches(self, file: &File, start: u64) -> io::Result<bool> {
        Ok(Self::of_piece(file, start, self.length)? == self)
    }
}

impl Progress {
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "position": self.position,
            "generation": self.generation,
            "head": [self.head.length, format!("{:016x}", self.head.hash)],
            "anchor": [self.anchor.length, format!("{:016x}", self.anchor.hash)],
            "path": self.path,
        });
        if let Some(closed) = self.closed {
            value["closed"] = Value::from(closed);
        }
        value
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let print = |name: &str| {
            let pair = value.get(name)?;
            let hash = u64::from_str_radix(pair.get(1)?.as_str()?, 16).ok()?;
            Some(Print {
                length: pair.get(0)?.as_u64()?,
                hash,
            })
        };
        Some(Self {
            generation: value.get("generation")?.as_u64()?,
            position: value.get("position")?.as_u64()?,
            head: print("head")?,
            anchor: print("anchor")?,
            path: value.get("path")?.as_str()?.to_owned(),
            closed: value.get("closed").and_then(Value::as_i64),
        })
    }

    /// Whether `file` still holds what had been read of it.
    pub(crate) fn fits(&self, file: &File, size: u64) -> io::Result<bool> {
        if size < self.position || size < self.head.length || self.anchor.length > self.position {
            return Ok(false);
        }
        Ok(self.head.matches(file, 0)?
            && self
                .anchor
                .matches(file, self.position - self.anchor.length)?)
    }
}

/// Reads until `buffer` is full or the file ends; gives the number of bytes.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn bounded(length: u64, limit: usize) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}

/// FNV-1a with 64 bits: the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub(crate) const HEAD_BYTES: usize = 1024;
pub(crate) const ANCHOR_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_its_json() {
        let progress = Progress {
            generation: u64::MAX,
            position: 7,
            head: Print::of(b"heading"),
            anchor: Print::of(b"g"),
            path: "/a/ä.log".to_owned(),
            closed: Some(5),
        };
        assert_eq!(Progress::from_json(&progress.to_json()), Some(progress));
        assert_eq!(Progress::from_json(&json!({"position": 1})), None);
        let id = FileId {
            device: 1,
            inode: u64::MAX,
        };
        assert_eq!(FileId::from_json(&id.to_json()), Some(id));
    }

    #[test]
    fn a_hash_is_the_same_everywhere() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
