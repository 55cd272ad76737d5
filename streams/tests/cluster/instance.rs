//! One instance of the job of the crash tests, in a process of its own: this test program, asked by
//! a variable to be one.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use moldau_client::{Client, ClientConfig};
use moldau_streams::runtime::TaskRunState;
use moldau_streams::{ProcessingGuarantee, StreamsConfig, StreamsHandle};
use serde::{Deserialize, Serialize};

/// Variable with the [`Setup`] of an instance.
const INSTANCE: &str = "MOLDAU_TEST_INSTANCE";
/// What a line of an instance's output begins with that is a [`Report`].
const REPORT: &str = "instance-report ";

/// What an instance is started with.
#[derive(Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) bootstrap: String,
    pub(crate) prefix: String,
    /// Without one its stores are in memory.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) num_standby_replicas: u64,
    /// Whether it is a program that knows nothing but `Topology::run`.
    pub(crate) runs_by_itself: bool,
    /// Largest file that the process may write, in KiB: its disk is full then.
    pub(crate) file_size_limit: Option<u64>,
}

/// What an instance says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Tasks that process records.
    pub(crate) tasks: u64,
    pub(crate) stores_wiped: u64,
    /// Changelog records read back, by tasks that it has.
    pub(crate) restored: u64,
    /// What stopped it, if it failed.
    pub(crate) error: Option<String>,
}

/// A running instance.
pub(crate) struct Instance {
    process: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    /// The last report.
    report: Arc<Mutex<Report>>,
    reading: Option<JoinHandle<()>>,
}

impl Instance {
    pub(crate) fn start(setup: &Setup) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = match setup.file_size_limit {
            None => Command::new(program),
            Some(limit) => {
                // Beyond the limit writes fail, as on a disk that is full.
                let mut shell = Command::new("bash");
                let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(program);
                shell
            }
        };
        let name = "instance::an_instance_of_the_job_runs_where_the_environment_asks_for_it";
        let mut process = command
            .args([name, "--exact", "--nocapture"])
            .env(INSTANCE, serde_json::to_string(setup).expect("json"))
            // A frozen process is a reason for the system to hang up on all of its group.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let report = Arc::new(Mutex::new(Report::default()));
        let last = Arc::clone(&report);
        let reading = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, json)) = line.split_once(REPORT)
                    && let Ok(new) = serde_json::from_str(json)
                {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = new;
                }
            }
        });
        Self {
            stdin: process.stdin.take(),
            process,
            report,
            reading: Some(reading),
        }
    }

    /// Kills it with a signal that it cannot handle; it must have been alive.
    pub(crate) fn kill(&mut self) -> Report {
        let ended = self.process.try_wait().expect("its state");
        let report = self.last_report();
        assert!(ended.is_none(), "it had ended by itself: {report:?}");
        self.process.kill().expect("killed");
        self.process.wait().expect("dead");
        self.finished()
    }

    /// Lets it commit and leave the group.
    pub(crate) fn end(mut self) -> Report {
        drop(self.stdin.take());
        let status = self.process.wait().expect("an end");
        let report = self.finished();
        assert!(status.success(), "it failed at its end: {report:?}");
        report
    }

    /// Asks it to end as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops it where it stands; all others must take it for dead after a while.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on as if nothing had happened.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Report {
        self.process.wait().expect("an end");
        self.finished()
    }

    fn finished(&mut self) -> Report {
        if let Some(reading) = self.reading.take() {
            reading.join().expect("its output");
        }
        self.last_report()
    }

    pub(crate) fn last_report(&self) -> Report {
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One instance; of the tests of this process it is a passing one.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_the_job_runs_where_the_environment_asks_for_it() {
    let Ok(setup) = std::env::var(INSTANCE) else {
        return;
    };
    let setup: Setup = serde_json::from_str(&setup).expect("a setup");
    let client = Client::connect(ClientConfig::new(&setup.bootstrap)).await;
    let config = StreamsConfig {
        processing_guarantee: ProcessingGuarantee::ExactlyOnceV2,
        session_timeout_ms: 6_000,
        transaction_timeout_ms: 6_000,
        num_threads: 1,
        group_instance_id: setup.group_instance_id,
        num_standby_replicas: usize::try_from(setup.num_standby_replicas).expect("a few"),
        state_dir: setup.state_dir,
        // So little that stores write to disk all the time.
        store_memory_bytes: 64 * 1024,
        ..StreamsConfig::default()
    };
    let topology = crate::orders::job(&setup.prefix);
    if setup.runs_by_itself {
        let run = move || topology.run(&setup.bootstrap, config);
        let ended = tokio::task::spawn_blocking(run).await.expect("no panic");
        return ended.expect("a clean end");
    }
    let handle = topology.start(client.expect("a cluster"), config).await;
    let handle = handle.expect("started");
    // The parent holds the other end for as long as it lives. Nobody waits for this thread.
    let (gone, parent) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let read = std::io::stdin().read_line(&mut String::new());
        gone.send(read.is_ok())
    });
    tokio::select! {
        () = handle.ended() => {}
        _ = parent => {}
        () = tell(&handle) => {}
    }
    say(&report(&handle));
    handle.close().await.expect("a clean end");
}

/// Says what it does whenever that has changed.
async fn tell(handle: &StreamsHandle) {
    let mut told = Report::default();
    loop {
        let now = report(handle);
        if now != told {
            say(&now);
            told = now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn say(report: &Report) {
    let json = serde_json::to_string(report).expect("json");
    println!("\n{REPORT}{json}");
}

fn report(handle: &StreamsHandle) -> Report {
    let metrics = handle.metrics();
    let tasks = metrics.tasks.iter();
    let running = tasks.filter(|task| task.state == TaskRunState::Running);
    Report {
        tasks: running.count() as u64,
        stores_wiped: metrics.stores_wiped,
        restored: metrics.tasks.iter().map(|task| task.restored).sum(),
        error: handle.error().map(|error| error.to_string()),
    }
}
