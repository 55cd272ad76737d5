//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that SIGINT ended, by the shells' convention.
const EXIT_INTERRUPTED: i32 = 130;

/// Tells any number of waiters that the process was asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens for the signals from now on.
    ///
    /// # Errors
    /// The operating system refuses the signal handlers.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (sender, requested) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // Nobody waiting is fine: then the verb is about to end anyway.
            sender.send_replace(true);
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(EXIT_INTERRUPTED);
        });
        Ok(Self { requested })
    }

    /// Returns once the process was asked to stop.
    pub(crate) async fn requested(&mut self) {
        // An error means that the listening task is gone with the runtime: stop as well.
        let _stopped = self.requested.wait_for(|requested| *requested).await;
    }
}
