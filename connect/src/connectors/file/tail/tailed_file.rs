//! One file that is being read.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::identity::{ANCHOR_BYTES, FileId, HEAD_BYTES, Print, Progress, read_full};

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its line end.
    pub(crate) content: Bytes,
    /// The place after its line end; tells the lines of a content apart.
    pub(crate) end: u64,
    /// Only the first bytes are here, because the line is longer than allowed.
    pub(crate) cut: bool,
}

/// An open file and the place in it.
#[derive(Debug)]
pub(crate) struct TailedFile {
    pub(crate) id: FileId,
    pub(crate) path: PathBuf,
    pub(crate) progress: Progress,
    /// Names the content in record headers: device, inode, generation.
    pub(crate) tag: Arc<str>,
    file: File,
    /// Size and time of change when nothing more was found to read.
    idle_at: Option<(u64, i64, i64)>,
    /// A line longer than allowed has no end before this place.
    no_end_before: u64,
    /// Since when the file is out of the patterns.
    pub(crate) gone_since: Option<Instant>,
}

/// What a look at the file brought.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) lines: Vec<Line>,
    /// The content is another one: its progress must be stored before its lines are sent.
    pub(crate) restarted: bool,
    /// Nothing more is there for now.
    pub(crate) at_end: bool,
}

impl TailedFile {
    /// Takes a file over from `progress`.
    pub(crate) fn resume(id: FileId, path: &Path, file: File, progress: Progress) -> Self {
        let mut tailed = Self {
            id,
            path: path.to_owned(),
            tag: Arc::from(""),
            no_end_before: progress.position,
            progress,
            file,
            idle_at: None,
            gone_since: None,
        };
        tailed.progress.closed = None;
        tailed.set_tag();
        tailed
    }

    /// Begins with a file that has not been read before, at its first byte.
    pub(crate) fn begin(id: FileId, path: &Path, file: File, generation: u64) -> io::Result<Self> {
        let head = Print::of_head(&file, file.metadata()?.len())?;
        let progress = Progress {
            generation,
            position: 0,
            head,
            anchor: Print::of(b""),
            path: path.display().to_string(),
            closed: None,
        };
        Ok(Self::resume(id, path, file, progress))
    }

    /// Goes behind the last line that is there now.
    pub(crate) fn skip_to_end(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let start = size.saturating_sub(LAST_LINE_BYTES);
        let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(0)];
        let length = read_full(&self.file, &mut bytes, start)?;
        bytes.truncate(length);
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let end = end.map_or(if start == 0 { 0 } else { size }, |index| {
            start + index as u64 + 1
        });
        let anchor_start = end.saturating_sub(ANCHOR_BYTES as u64);
        let mut anchor = vec![0; usize::try_from(end - anchor_start).unwrap_or(0)];
        read_full(&self.file, &mut anchor, anchor_start)?;
        self.progress.position = end;
        self.progress.anchor = Print::of(&anchor);
        self.no_end_before = end;
        Ok(())
    }

    /// Whether no name refers to the file any more.
    pub(crate) fn is_deleted(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Reads the lines that are complete, at most about `budget` bytes of them.
    pub(crate) fn read(&mut self, budget: usize, max_line: usize, now: u64) -> io::Result<Read> {
        let mut read = Read::default();
        let metadata = self.file.metadata()?;
        let size = metadata.len();
        let state = (size, metadata.mtime(), metadata.mtime_nsec());
        if self.idle_at == Some(state) {
            read.at_end = true;
            return Ok(read);
        }
        let anchor_length = usize::try_from(self.progress.anchor.length).unwrap_or(0);
        let start = self.progress.position - self.progress.anchor.length;
        let mut buffer = vec![0; anchor_length + budget.max(max_line + 2)];
        let length = read_full(&self.file, &mut buffer, start)?;
        buffer.truncate(length);
        // One read holds the anchor and the new bytes, so the check is about these bytes.
        let same = size >= self.progress.position
            && buffer
                .get(..anchor_length)
                .is_some_and(|b| Print::of(b) == self.progress.anchor)
            && self.update_head(size)?;
        if !same {
            self.restart(size, now)?;
            read.restarted = true;
            return Ok(read);
        }
        let bytes = Bytes::from(buffer);
        let end_of_read = start + bytes.len() as u64;
        self.split(&bytes, start, anchor_length, max_line, &mut read.lines);
        if read.lines.is_empty() && end_of_read < size {
            self.cut_long_line(&bytes.slice(anchor_length..), max_line, &mut read.lines)?;
        }
        if read.lines.is_empty() {
            self.idle_at = Some(state);
            read.at_end = true;
        }
        Ok(read)
    }

    /// The last line of a file that nobody will go on writing, though it has no line end.
    pub(crate) fn read_unfinished(&mut self, max_line: usize) -> io::Result<Option<Line>> {
        let size = self.file.metadata()?.len();
        let mut content = vec![0; max_line];
        let length = read_full(&self.file, &mut content, self.progress.position)?;
        if length == 0 {
            return Ok(None);
        }
        content.truncate(length);
        let cut = self.progress.position + (length as u64) < size;
        self.advance(size, &content);
        Ok(Some(Line {
            content: Bytes::from(content),
            end: size,
            cut,
        }))
    }

    /// Takes the complete lines out of `bytes`, whose first byte stands at `start`.
    fn split(
        &mut self,
        bytes: &Bytes,
        start: u64,
        from: usize,
        max_line: usize,
        lines: &mut Vec<Line>,
    ) {
        let mut line_start = from;
        while let Some(length) = bytes[line_start..].iter().position(|byte| *byte == b'\n') {
            let line_end = line_start + length;
            let mut content_end = line_end;
            if content_end > line_start && bytes[content_end - 1] == b'\r' {
                content_end -= 1;
            }
            let cut = content_end - line_start > max_line;
            let content = bytes.slice(line_start..content_end.min(line_start + max_line));
            lines.push(Line {
                content,
                end: start + line_end as u64 + 1,
                cut,
            });
            line_start = line_end + 1;
        }
        if line_start > from {
            self.advance(start + line_start as u64, &bytes[..line_start]);
        }
    }

    /// Looks for the end of a line that is longer than allowed, and emits its first bytes.
    fn cut_long_line(
        &mut self,
        begin: &Bytes,
        max_line: usize,
        lines: &mut Vec<Line>,
    ) -> io::Result<()> {
        let first = self.progress.position + begin.len() as u64;
        let mut at = self.no_end_before.max(first);
        let mut chunk = vec![0; SEARCH_BYTES];
        loop {
            let length = read_full(&self.file, &mut chunk, at)?;
            let found = chunk.iter().take(length).position(|byte| *byte == b'\n');
            if let Some(index) = found {
                let end = at + index as u64 + 1;
                lines.push(Line {
                    content: begin.slice(..max_line.min(begin.len())),
                    end,
                    cut: true,
                });
                let anchor_start = end.saturating_sub(ANCHOR_BYTES as u64);
                let mut anchor = vec![0; usize::try_from(end - anchor_start).unwrap_or(0)];
                read_full(&self.file, &mut anchor, anchor_start)?;
                self.advance(end, &anchor);
                return Ok(());
            }
            at += length as u64;
            self.no_end_before = at;
            if length < chunk.len() {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, position: u64, bytes_before: &[u8]) {
        let anchor_start = bytes_before.len().saturating_sub(ANCHOR_BYTES);
        self.progress.position = position;
        self.progress.anchor = Print::of(&bytes_before[anchor_start..]);
        self.progress.path = self.path.display().to_string();
        self.no_end_before = position;
        self.idle_at = None;
    }

    /// Lets the print of the first bytes grow with the file; `false` when they have changed.
    fn update_head(&mut self, size: u64) -> io::Result<bool> {
        if self.progress.head.length >= HEAD_BYTES as u64 {
            return Ok(true);
        }
        if !self.progress.head.matches(&self.file, 0)? {
            return Ok(false);
        }
        self.progress.head = Print::of_head(&self.file, size)?;
        Ok(true)
    }

    /// The content is another one now: reads it from its first byte.
    fn restart(&mut self, size: u64, now: u64) -> io::Result<()> {
        self.progress.generation = now.max(self.progress.generation + 1);
        self.progress.head = Print::of_head(&self.file, size)?;
        self.advance(0, b"");
        self.set_tag();
        Ok(())
    }

    fn set_tag(&mut self) {
        let FileId { device, inode } = self.id;
        self.tag = Arc::from(format!(
            "{device:x}-{inode:x}-{:x}",
            self.progress.generation
        ));
    }
}

/// How far back the start of the last line is looked for.
const LAST_LINE_BYTES: u64 = 64 << 10;
/// Step in which the end of an overlong line is looked for.
const SEARCH_BYTES: usize = 256 << 10;
