//! Kafka Streams itself: a process that answers cases.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::case::{Answer, Case};

/// A running `Differential` of `tests/clients/java/streams`.
pub(crate) struct Jvm {
    process: Child,
    cases: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Jvm {
    /// Starts it by its command line, whose words are separated by spaces.
    pub(crate) fn start(command: &str) -> Self {
        let mut words = command.split_whitespace();
        let mut process = Command::new(words.next().expect("a command"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{command}`: {error}"));
        let cases = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        Self {
            process,
            cases,
            answers,
        }
    }

    pub(crate) fn answer(&mut self, case: &Case) -> Answer {
        let line = serde_json::to_string(case).expect("JSON");
        writeln!(self.cases, "{line}").expect("a process that reads");
        self.cases.flush().expect("a process that reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("answer `{answer}`: {error}"))
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // Either may fail only because the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
