//! Files that grow, are renamed, emptied and read by a watcher that is stopped and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// A folder with a log, a topic, the stored offsets and at most one running watcher.
struct World {
    folder: tempfile::TempDir,
    /// Whether renamed files still match the pattern.
    wide: bool,
    skip_existing: bool,
    watcher: Option<Watcher>,
    now: Now,
    /// The records of the topic: content's tag, end of the line, the line.
    topic: Vec<(String, u64, String)>,
    stored: BTreeMap<FileId, Progress>,
    /// Acknowledged and not stored yet.
    pending: BTreeMap<FileId, Option<Progress>>,
    /// What the topic held beyond the stored offsets when the watcher began.
    seen: BTreeSet<(String, u64, String)>,
    rotations: usize,
}

impl World {
    fn new(wide: bool) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall_clock_ms: 1_000,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = Self {
            folder,
            wide,
            skip_existing: false,
            watcher: None,
            now,
            topic: Vec::new(),
            stored: BTreeMap::new(),
            pending: BTreeMap::new(),
            seen: BTreeSet::new(),
            rotations: 0,
        };
        world.append("");
        world
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("app.log")
    }

    fn append(&mut self, text: &str) {
        append(&self.log(), text);
    }

    fn rename(&mut self) {
        self.rotations += 1;
        let old = self
            .folder
            .path()
            .join(format!("app.log.{}", self.rotations));
        fs::rename(self.log(), old).expect("rename");
        self.append("");
    }

    fn empty(&mut self) {
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.log())
            .expect("truncate");
    }

    fn start(&mut self, first_start: bool) {
        let star = if self.wide { "*" } else { "" };
        let settings = TailSettings {
            include: vec![format!("{}{star}", self.log().display())],
            exclude: Vec::new(),
            skip_existing: self.skip_existing,
            rotate_wait: Duration::from_secs(5),
            discovery_interval: Duration::ZERO,
            max_line_bytes: 1024,
        };
        let stored = self
            .stored
            .iter()
            .map(|(id, progress)| (*id, progress.clone()))
            .collect();
        self.seen = self.topic.iter().cloned().collect();
        self.pending.clear();
        self.watcher = Some(Watcher::new(settings, stored, first_start));
    }

    /// One look; only the first `sent` of its lines reach the topic. `true` if it brought any.
    fn poll(&mut self, sent: usize) -> bool {
        self.now.instant += Duration::from_millis(100);
        self.now.wall_clock_ms += 100;
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let batch = watcher.poll(self.now);
        for (id, progress) in batch.before {
            self.pending.remove(&id);
            self.store(id, progress);
        }
        let found = !batch.lines.is_empty();
        let complete = batch.lines.len() <= sent;
        for (source, line) in batch.lines.into_iter().take(sent) {
            let text = String::from_utf8_lossy(&line.content).into_owned();
            let record = (source.tag.to_string(), line.end, text);
            if !self.seen.contains(&record) {
                self.topic.push(record);
            }
        }
        if complete {
            self.pending.extend(batch.after);
        } else {
            self.watcher = None;
        }
        found
    }

    fn poll_to_end(&mut self) {
        while self.poll(usize::MAX) {}
    }

    fn commit(&mut self) {
        for (id, progress) in std::mem::take(&mut self.pending) {
            self.store(id, progress);
        }
    }

    /// Through JSON, as the offsets topic keeps it.
    fn store(&mut self, id: FileId, progress: Option<Progress>) {
        match progress.and_then(|progress| Progress::from_json(&progress.to_json())) {
            Some(progress) => self.stored.insert(id, progress),
            None => self.stored.remove(&id),
        };
    }

    fn stop(&mut self) {
        self.commit();
        self.watcher = None;
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall_clock_ms += i64::try_from(time.as_millis()).expect("short");
    }

    #[track_caller]
    fn expect_lines(&self, expected: &[&str]) {
        let lines: Vec<_> = self
            .topic
            .iter()
            .map(|(_, _, line)| line.as_str())
            .collect();
        assert_eq!(lines, expected);
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open");
    file.write_all(text.as_bytes()).expect("write");
}

#[test]
fn lines_come_when_they_are_complete() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\ntwo\r\nthr");
    world.poll_to_end();
    world.expect_lines(&["one", "two"]);
    world.append("ee\n\nfive\n");
    world.poll_to_end();
    world.expect_lines(&["one", "two", "three", "", "five"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\n");
    world.poll_to_end();
    world.append("two\n");
    world.rename();
    world.append("three\n");
    world.poll_to_end();
    world.expect_lines(&["one", "two", "three"]);
}

#[test]
fn a_file_renamed_while_nobody_watched_is_read_to_its_end() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\n");
    world.poll_to_end();
    world.stop();
    world.append("two\n");
    world.rename();
    world.append("three\n");
    world.start(false);
    world.poll_to_end();
    let lines: BTreeSet<_> = world
        .topic
        .iter()
        .map(|(_, _, line)| line.as_str())
        .collect();
    assert_eq!(lines, BTreeSet::from(["one", "two", "three"]));
}

#[test]
fn the_last_line_of_a_file_that_is_gone_needs_no_line_end() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\ntw");
    world.poll_to_end();
    world.rename();
    world.poll_to_end();
    world.expect_lines(&["one"]);
    append(&world.folder.path().join("app.log.1"), "o");
    world.wait(Duration::from_secs(6));
    world.poll_to_end();
    world.expect_lines(&["one", "two"]);
}

#[test]
fn an_emptied_file_begins_anew_also_with_the_same_heading_and_a_greater_size() {
    let mut world = World::new(false);
    world.start(true);
    world.append("# heading\none\n");
    world.poll_to_end();
    world.empty();
    world.append("# heading\nother\nmore\n");
    world.poll_to_end();
    world.expect_lines(&["# heading", "one", "# heading", "other", "more"]);
}

#[test]
fn a_file_emptied_while_nobody_watched_begins_anew() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\n");
    world.poll_to_end();
    world.stop();
    world.empty();
    world.append("two\nthree\n");
    world.start(false);
    world.poll_to_end();
    world.expect_lines(&["one", "two", "three"]);
}

#[test]
fn after_a_kill_the_lines_that_are_in_the_topic_are_not_sent_again() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\ntwo\nthree\n");
    world.poll(2);
    world.append("four\n");
    world.start(false);
    world.poll_to_end();
    world.expect_lines(&["one", "two", "three", "four"]);
}

#[test]
fn an_overlong_line_is_cut_and_the_next_one_whole() {
    let mut world = World::new(false);
    world.start(true);
    let long = "x".repeat(700_000);
    world.append(&long);
    world.poll_to_end();
    assert!(world.topic.is_empty());
    world.append("end\nnext\n");
    world.poll_to_end();
    world.expect_lines(&[&"x".repeat(1024), "next"]);
}

#[test]
fn at_the_first_start_existing_lines_can_be_left_out() {
    let mut world = World::new(true);
    world.skip_existing = true;
    world.append("old\nhalf");
    world.start(true);
    world.poll_to_end();
    world.append(" and half\n");
    append(&world.folder.path().join("app.log.new"), "new\n");
    world.poll_to_end();
    world.expect_lines(&["half and half", "new"]);
    world.stop();
    append(&world.folder.path().join("app.log.newer"), "newer\n");
    world.start(false);
    world.poll_to_end();
    world.expect_lines(&["half and half", "new", "newer"]);
}

#[test]
fn a_deleted_file_is_forgotten_and_its_inode_may_come_back() {
    let mut world = World::new(false);
    world.start(true);
    world.append("one\n");
    world.poll_to_end();
    fs::remove_file(world.log()).expect("remove");
    world.poll_to_end();
    world.wait(Duration::from_secs(6));
    world.poll_to_end();
    world.commit();
    assert!(world.stored.is_empty());
    world.append("two\n");
    world.poll_to_end();
    world.expect_lines(&["one", "two"]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    AppendPart,
    Rename,
    Empty,
    Poll,
    Commit,
    StopAndStart,
    KillAndStart,
    KillWhileSending(usize),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1..5_usize).prop_map(Step::Append),
        2 => Just(Step::AppendPart),
        1 => Just(Step::Rename),
        1 => Just(Step::Empty),
        4 => Just(Step::Poll),
        2 => Just(Step::Commit),
        1 => Just(Step::StopAndStart),
        1 => Just(Step::KillAndStart),
        1 => (0..4_usize).prop_map(Step::KillWhileSending),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Writes the log and knows what must arrive.
struct Writer {
    world: World,
    lines: Vec<String>,
    part: Option<String>,
}

impl Writer {
    fn finish_line(&mut self) {
        if let Some(part) = self.part.take() {
            self.world.append("-end\n");
            self.lines.push(format!("{part}-end"));
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(count) => {
                self.finish_line();
                for _ in 0..*count {
                    let line = format!("line-{}", self.lines.len());
                    self.world.append(&format!("{line}\n"));
                    self.lines.push(line);
                }
            }
            Step::AppendPart => {
                self.finish_line();
                let part = format!("part-{}", self.lines.len());
                self.world.append(&part);
                self.part = Some(part);
            }
            Step::Rename => {
                self.finish_line();
                // Out of the patterns, a file must have been seen before it is renamed.
                if !self.world.wide {
                    self.world.poll_to_end();
                }
                self.world.rename();
            }
            Step::Empty => {
                self.finish_line();
                // What nobody has read yet would be lost.
                self.world.poll_to_end();
                self.world.empty();
            }
            Step::Poll => {
                self.world.poll(usize::MAX);
            }
            Step::Commit => self.world.commit(),
            Step::StopAndStart => {
                self.world.stop();
                self.world.start(false);
            }
            Step::KillAndStart => self.world.start(false),
            Step::KillWhileSending(sent) => {
                self.world.poll(*sent);
                self.world.start(false);
            }
            Step::Wait => self.world.wait(Duration::from_secs(3)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_line_arrives_exactly_once(steps in steps(), wide in any::<bool>()) {
        let mut writer = Writer { world: World::new(wide), lines: Vec::new(), part: None };
        writer.world.start(true);
        writer.world.poll_to_end();
        for step in &steps {
            writer.run(step);
        }
        writer.finish_line();
        for _ in 0..4 {
            writer.world.poll_to_end();
            writer.world.wait(Duration::from_secs(6));
        }
        let mut arrived: Vec<_> = writer.world.topic.iter().map(|(_, _, line)| line.clone()).collect();
        arrived.sort();
        writer.lines.sort();
        prop_assert_eq!(arrived, writer.lines);
    }
}
