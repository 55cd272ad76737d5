//! Builds one object in memory.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder, write::GzEncoder};

use super::spec::ObjectCompression;

/// An object that grows line by line. The same lines give the same bytes, compressed or not.
#[derive(Debug)]
pub(crate) struct ObjectBuilder {
    /// Offset of its first record; part of its name.
    pub(crate) start_offset: i64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl ObjectBuilder {
    pub(crate) fn new(start_offset: i64, compression: ObjectCompression) -> Self {
        let content = match compression {
            ObjectCompression::None => Content::Plain(Vec::new()),
            // No time of creation in the header, so that a repeated upload is the same.
            ObjectCompression::Gzip => Content::Gzip(Box::new(
                GzBuilder::new()
                    .mtime(0)
                    .write(Vec::new(), Compression::default()),
            )),
        };
        Self {
            start_offset,
            content,
        }
    }

    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.content {
            Content::Plain(bytes) => bytes.write_all(line),
            Content::Gzip(encoder) => encoder.write_all(line),
        }
    }

    /// Bytes held in memory, about.
    pub(crate) fn memory(&self) -> usize {
        match &self.content {
            Content::Plain(bytes) => bytes.capacity(),
            Content::Gzip(encoder) => encoder.get_ref().capacity() + GZIP_STATE_BYTES,
        }
    }

    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.content {
            Content::Plain(bytes) => Ok(bytes),
            Content::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// What a compressor keeps beside its output.
const GZIP_STATE_BYTES: usize = 256 << 10;
