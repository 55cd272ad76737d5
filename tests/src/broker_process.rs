//! A broker that can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;

/// A broker in a process of its own; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    /// Kept open: the process ends when it closes.
    _stdin: ChildStdin,
    address: SocketAddr,
}

impl BrokerProcess {
    /// Starts `program` (the path of `broker-process`) and waits until it listens.
    ///
    /// # Errors
    /// The process does not start or ends before it listens.
    pub fn start(
        program: impl AsRef<Path>,
        data_dir: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let program: PathBuf = program.as_ref().into();
        let mut child = Command::new(&program)
            .arg(data_dir)
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdin = child.stdin.take().context("standard input is a pipe")?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .with_context(|| format!("the broker said {line:?} instead of its address"))?;
        Ok(Self {
            child,
            _stdin: stdin,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory that it had at any time (`VmHWM`), in KiB.
    ///
    /// # Errors
    /// The process is gone, or the system has no `/proc`.
    pub fn peak_memory_kib(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let words = line.and_then(|line| line.split_whitespace().next());
        words
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no VmHWM in {path}"))
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
