//! Running the binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A command of the binary that the test is built with.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_moldau"))
}

/// Runs a verb to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) kafka: String,
    pub(crate) http: String,
    pub(crate) postgres: Option<String>,
    pub(crate) cluster_id: String,
    output: PathBuf,
}

impl Server {
    /// Starts `verb` (`start` or `broker`) with its data in `folder` and waits until it answers.
    pub(crate) fn start(verb: &str, file: Option<&Path>, folder: &Path) -> Self {
        let ready = folder.join("ready.json");
        let output = folder.join("output.txt");
        let log = std::fs::File::create(&output).expect("a file for the output");
        let mut command = command();
        command.arg(verb);
        if let Some(file) = file {
            command.arg(file);
        }
        if verb == "start" {
            command.args(["--postgres", "127.0.0.1:0"]);
        }
        let child = command
            .args(["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut server = Self {
            child,
            kafka: String::new(),
            http: String::new(),
            postgres: None,
            cluster_id: String::new(),
            output,
        };
        // A file from an earlier life names another process.
        let addresses = eventually("the ready file", || {
            if let Some(status) = server.child.try_wait().expect("the state of the process") {
                panic!("the server ended with {status}: {}", server.printed());
            }
            let text = std::fs::read_to_string(&ready).ok()?;
            let addresses: Value = serde_json::from_str(&text).expect("the ready file is JSON");
            (addresses["pid"] == server.child.id()).then_some(addresses)
        });
        let text = |name: &str| addresses[name].as_str().map(str::to_owned);
        server.kafka = text("kafka").expect("a Kafka address");
        server.http = text("http").expect("an HTTP address");
        server.postgres = text("postgres");
        server.cluster_id = text("cluster_id").expect("a cluster id");
        server
    }

    /// What the server printed so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Runs a client verb against this server; its standard output.
    pub(crate) fn client(&self, arguments: &[&str], input: &str) -> String {
        let mut child = command()
            .args(arguments)
            .env("MOLDAU_BOOTSTRAP", &self.kafka)
            .env(
                "MOLDAU_POSTGRES",
                self.postgres.as_deref().unwrap_or("127.0.0.1:1"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes())
            .expect("the verb reads its input");
        let output = child.wait_with_output().expect("the verb ends");
        let text = String::from_utf8(output.stdout).expect("text");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "moldau {arguments:?}: {errors}\n{text}"
        );
        text
    }

    /// The body of `GET path`, and the status line.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.http).expect("the HTTP port answers");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: moldau\r\nConnection: close\r\n\r\n"
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        (
            head.lines().next().unwrap_or_default().to_owned(),
            body.to_owned(),
        )
    }

    /// Sends the signal of Ctrl-C and waits for the end; the exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let sent = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        eventually("the end of the process", || {
            self.child.try_wait().expect("the state of the process")
        })
        .code()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Asks again until there is an answer; panics when there is none in time.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < LIMIT, "{what} did not come in {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
