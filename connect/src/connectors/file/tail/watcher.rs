//! The files that are read, and whose turn it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use glob::Pattern;
use tracing::{info, warn};

use super::discovery::{self, Found};
use super::identity::{FileId, Progress};
use super::tailed_file::{Line, TailedFile};

/// What is followed, and how.
#[derive(Debug, Clone)]
pub(crate) struct TailSettings {
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<Pattern>,
    /// Whether files that are there at the very first start are read from their end.
    pub(crate) skip_existing: bool,
    pub(crate) rotate_wait: Duration,
    /// Pause between two searches for new files.
    pub(crate) discovery_interval: Duration,
    pub(crate) max_line_bytes: usize,
}

/// Follows the files. All methods block; they belong on a thread for that.
#[derive(Debug)]
pub(crate) struct Watcher {
    settings: TailSettings,
    files: BTreeMap<FileId, TailedFile>,
    /// Known from before and not open.
    dormant: BTreeMap<FileId, Progress>,
    first_start: bool,
    last_discovery: Option<Instant>,
    warned: bool,
}

/// What one look brought.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order of each file; the text names the content the line is from.
    pub(crate) lines: Vec<(Arc<Source>, Line)>,
    /// To be stored before `lines` are sent; replaces what waits to be stored for the same file.
    pub(crate) before: Vec<(FileId, Option<Progress>)>,
    /// To be stored after `lines` are acknowledged. `None`: to be forgotten.
    pub(crate) after: Vec<(FileId, Option<Progress>)>,
}

/// Where lines are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) tag: Arc<str>,
    pub(crate) path: String,
}

/// The moment of a look, given from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) wall_clock_ms: i64,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall_clock_ms: chrono::Utc::now().timestamp_millis(),
        }
    }

    fn generation(self) -> u64 {
        u64::try_from(self.wall_clock_ms).unwrap_or(0)
    }
}

impl Watcher {
    /// Goes on from `stored`; `first_start` when this connector never ran before.
    pub(crate) fn new(
        settings: TailSettings,
        stored: Vec<(FileId, Progress)>,
        first_start: bool,
    ) -> Self {
        Self {
            settings,
            files: BTreeMap::new(),
            dormant: stored.into_iter().collect(),
            first_start,
            last_discovery: None,
            warned: false,
        }
    }

    /// Looks at all files once.
    pub(crate) fn poll(&mut self, now: Now) -> Batch {
        let mut batch = Batch::default();
        let due = self.last_discovery.is_none_or(|last| {
            now.instant.saturating_duration_since(last) >= self.settings.discovery_interval
        });
        if due {
            self.discover(now, &mut batch);
            self.last_discovery = Some(now.instant);
        }
        // Files that are gone come first: what follows them in time stands in others.
        let mut order: Vec<FileId> = self.files.keys().copied().collect();
        order.sort_by_key(|id| {
            self.files
                .get(id)
                .is_none_or(|file| file.gone_since.is_none())
        });
        let mut budget = BATCH_BYTES;
        for id in order {
            if budget == 0 {
                break;
            }
            let used = self.read_one(id, now, budget, &mut batch);
            budget = budget.saturating_sub(used);
        }
        batch
    }

    fn discover(&mut self, now: Now, batch: &mut Batch) {
        let Found {
            mut files,
            too_many,
        } = discovery::find(&self.settings.include, &self.settings.exclude, MAX_FILES);
        if too_many && !self.warned {
            self.warned = true;
            warn!(
                limit = MAX_FILES,
                "more files match than are read at once, the others wait"
            );
        }
        if self.last_discovery.is_none() {
            self.find_renamed_while_away(&mut files, now, batch);
        }
        for (id, tailed) in &mut self.files {
            match files.remove(id) {
                Some(path) if tailed.path != path => {
                    info!(from = %tailed.path.display(), to = %path.display(), "file was renamed");
                    tailed.path = path;
                    tailed.gone_since = None;
                }
                Some(_) => tailed.gone_since = None,
                None if tailed.gone_since.is_none() => tailed.gone_since = Some(now.instant),
                None => {}
            }
        }
        for (id, path) in files {
            if self.files.len() >= MAX_FILES {
                break;
            }
            if let Err(error) = self.open(id, &path, now, batch) {
                // It may have gone since, or not be ours to read; it is tried again.
                self.warn_once(&path, &error);
            }
        }
        self.first_start = false;
        self.forget_old(now, batch);
    }

    /// Adds files that were renamed out of the patterns before they were read to their end.
    fn find_renamed_while_away(
        &mut self,
        files: &mut BTreeMap<FileId, PathBuf>,
        now: Now,
        batch: &mut Batch,
    ) {
        for (id, progress) in &mut self.dormant {
            if files.contains_key(id) || progress.closed.is_some() {
                continue;
            }
            let path = discovery::find_renamed(*id, Path::new(&progress.path));
            let path = path.filter(|path| {
                let fits = File::open(path).and_then(|file| {
                    let size = file.metadata()?.len();
                    progress.fits(&file, size)
                });
                fits.is_ok_and(|fits| fits)
            });
            if let Some(path) = path {
                files.insert(*id, path);
            } else {
                // It is remembered for a while, in case its disk comes back.
                progress.closed = Some(now.wall_clock_ms);
                batch.after.push((*id, Some(progress.clone())));
            }
        }
    }

    fn open(
        &mut self,
        expected: FileId,
        path: &Path,
        now: Now,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        if id != expected || self.files.contains_key(&id) {
            // Replaced in the meantime; the next search sees it.
            return Ok(());
        }
        let stored = self.dormant.get(&id).cloned();
        let generation = stored
            .as_ref()
            .map_or(0, |p| p.generation + 1)
            .max(now.generation());
        let tailed = match stored {
            Some(progress) if progress.fits(&file, metadata.len())? => {
                TailedFile::resume(id, path, file, progress)
            }
            known => {
                let mut tailed = TailedFile::begin(id, path, file, generation)?;
                if self.first_start && known.is_none() && self.settings.skip_existing {
                    tailed.skip_to_end()?;
                }
                batch.before.push((id, Some(tailed.progress.clone())));
                tailed
            }
        };
        self.dormant.remove(&id);
        self.files.insert(id, tailed);
        Ok(())
    }

    /// Reads one file; gives the bytes of the lines.
    fn read_one(&mut self, id: FileId, now: Now, budget: usize, batch: &mut Batch) -> usize {
        let Some(tailed) = self.files.get_mut(&id) else {
            return 0;
        };
        let budget = budget.min(FILE_BYTES);
        let max_line = self.settings.max_line_bytes;
        let generation = now.generation();
        let mut result = tailed.read(budget, max_line, generation);
        if let Ok(read) = &result
            && read.restarted
        {
            info!(path = %tailed.path.display(), "file has another content now, reading it from its first byte");
            batch.before.push((id, Some(tailed.progress.clone())));
            result = tailed.read(budget, max_line, generation);
        }
        match result {
            Ok(read) => {
                let at_end = read.at_end;
                if !read.lines.is_empty() && tailed.gone_since.is_some() {
                    tailed.gone_since = Some(now.instant);
                }
                let used = take_lines(tailed, id, read.lines, batch);
                if at_end {
                    self.close_if_gone(id, now, batch);
                }
                used
            }
            Err(error) => {
                let path = tailed.path.clone();
                self.dormant.insert(id, tailed.progress.clone());
                self.files.remove(&id);
                self.warn_once(&path, &error);
                0
            }
        }
    }

    /// Closes a file that left the patterns and has not grown for a while.
    fn close_if_gone(&mut self, id: FileId, now: Now, batch: &mut Batch) {
        let Some(tailed) = self.files.get_mut(&id) else {
            return;
        };
        let Some(since) = tailed.gone_since else {
            return;
        };
        if now.instant.saturating_duration_since(since) < self.settings.rotate_wait {
            return;
        }
        let deleted = tailed.is_deleted();
        if let Ok(Some(line)) = tailed.read_unfinished(self.settings.max_line_bytes) {
            take_lines(tailed, id, vec![line], batch);
        }
        info!(path = %tailed.path.display(), deleted, "file is gone, closing it");
        if deleted {
            batch.after.push((id, None));
        } else {
            tailed.progress.closed = Some(now.wall_clock_ms);
            batch.after.push((id, Some(tailed.progress.clone())));
            self.dormant.insert(id, tailed.progress.clone());
        }
        self.files.remove(&id);
    }

    /// Forgets files that were closed long ago.
    fn forget_old(&mut self, now: Now, batch: &mut Batch) {
        let limit = now.wall_clock_ms - REMEMBER_CLOSED_MS;
        self.dormant.retain(|id, progress| {
            let keep = progress.closed.is_none_or(|closed| closed > limit);
            if !keep {
                batch.after.push((*id, None));
            }
            keep
        });
    }

    fn warn_once(&mut self, path: &Path, error: &io::Error) {
        if !self.warned {
            self.warned = true;
            warn!(path = %path.display(), %error, "cannot read file, trying again");
        }
    }
}

fn take_lines(tailed: &TailedFile, id: FileId, lines: Vec<Line>, batch: &mut Batch) -> usize {
    if lines.is_empty() {
        return 0;
    }
    let source = Source {
        tag: tailed.tag.clone(),
        path: tailed.path.display().to_string(),
    };
    let source = Arc::new(source);
    let mut used = 0;
    for line in lines {
        used += line.content.len() + 1;
        batch.lines.push((source.clone(), line));
    }
    batch.after.push((id, Some(tailed.progress.clone())));
    used
}

/// Files that are open at once.
const MAX_FILES: usize = 1024;
/// Bytes of lines that one look gives out.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of one file's lines in one look, so that a large file does not hold up the others.
const FILE_BYTES: usize = 256 << 10;
/// How long a closed file is known, in case it comes back.
const REMEMBER_CLOSED_MS: i64 = 7 * 86_400_000;
