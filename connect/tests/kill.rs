//! A process that is killed in the middle of its work loses no line and repeats none.
//!
//! Apart from the other tests, because a process that is being started holds, for a moment, the locks
//! of the one that starts it.

mod pipeline;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pipeline::{PATIENCE, PIPELINE, Process, append, lake, lines, texts};

/// Not a test by itself: the process that [`lines_survive_kill_9`] starts and kills.
#[tokio::test]
async fn child_process() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else {
        return;
    };
    let _process = Process::start(&folder, PIPELINE).await;
    std::future::pending::<()>().await;
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("started")
}

#[tokio::test]
async fn lines_survive_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, out) = (
        folder.path().join("app.log"),
        folder.path().join("out.jsonl"),
    );
    let mut written = 0;
    for round in 0..8 {
        let mut child = start_child(folder.path());
        let seen = texts(&out).len();
        // Killed at different moments: while it starts, and after some lines have come through.
        for _ in 0..round {
            append(&log, lines(written..written + 50));
            written += 50;
            tokio::time::sleep(Duration::from_millis(37)).await;
        }
        let some = async {
            while round % 2 == 1 && texts(&out).len() == seen {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, some)
            .await
            .expect("lines come through");
        child.kill().expect("killed");
        child.wait().expect("gone");
        if round % 3 == 2 {
            fs::rename(&log, folder.path().join(format!("app.log.{round}"))).expect("rename");
        }
    }
    append(&log, lines(written..written + 50));
    written += 50;
    let process = Process::start(folder.path(), PIPELINE).await;
    process
        .until("all lines in the file", || texts(&out).len() >= written)
        .await;
    process
        .until("all lines in objects", || {
            lake(folder.path()).len() >= written
        })
        .await;
    process.stop().await;
    check_once("file", texts(&out), written);
    check_once("objects", lake(folder.path()), written);
}

fn check_once(place: &str, found: Vec<String>, written: usize) {
    let mut counts: BTreeMap<String, usize> = lines(0..written).map(|line| (line, 0)).collect();
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    let wrong: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count != 1)
        .collect();
    assert!(wrong.is_empty(), "{place}: {wrong:?}");
}

const CHILD_FOLDER: &str = "MOLDAU_TEST_CHILD_FOLDER";
