//! Tells the owner of the broker that a part it cannot do without has failed.

use std::thread;

use tokio::sync::watch;
use tracing::error;

/// Raised at most once for good: the first reason stays.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<String>>);

/// Raises the alarm when the thread that holds it panics.
#[derive(Debug)]
pub(crate) struct PanicGuard {
    alarm: Alarm,
    thread: String,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn raise(&self, reason: String) {
        error!(%reason, "broker failed");
        self.0.send_if_modified(|first| {
            let raised = first.is_none();
            first.get_or_insert(reason);
            raised
        });
    }

    /// Watches over the calling thread for as long as the guard lives.
    pub(crate) fn guard(&self) -> PanicGuard {
        let thread = thread::current().name().unwrap_or("unnamed").to_owned();
        PanicGuard {
            alarm: self.clone(),
            thread,
        }
    }

    /// Resolves with the reason once the alarm is raised.
    pub(crate) async fn raised(&self) -> String {
        let mut watch = self.0.subscribe();
        let reason = watch.wait_for(Option::is_some).await;
        reason
            .ok()
            .and_then(|reason| reason.clone())
            .unwrap_or_default()
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.alarm.raise(format!("thread {} panicked", self.thread));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_raises_the_alarm() {
        let alarm = Alarm::new();
        let guarded = alarm.clone();
        let thread = thread::Builder::new()
            .name("doomed".to_owned())
            .spawn(move || {
                let _guard = guarded.guard();
                panic!("on purpose");
            });
        assert!(thread.expect("spawn").join().is_err());
        alarm.raise("later".to_owned());
        assert_eq!(alarm.raised().await, "thread doomed panicked");
    }
}
