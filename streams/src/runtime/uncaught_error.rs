//! What to do when a thread meets an error that it cannot handle.

use std::fmt;
use std::sync::Arc;

use super::error::StreamsError;

/// What to do when a thread meets an error that it cannot handle (KIP-671).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UncaughtErrorAction {
    /// Start another thread in its place, which begins with what is committed. An error that
    /// comes from a record comes again.
    ReplaceThread,
    /// Stop this process's part of the application; others take its tasks over.
    StopClient,
    /// Stop the application in all processes.
    StopApplication,
}

/// Chooses the action for an error.
#[derive(Clone)]
pub struct UncaughtErrorHandler {
    choose: Arc<dyn Fn(&StreamsError) -> UncaughtErrorAction + Send + Sync>,
}

impl UncaughtErrorHandler {
    /// A handler that decides by the error.
    pub fn new(
        choose: impl Fn(&StreamsError) -> UncaughtErrorAction + Send + Sync + 'static,
    ) -> Self {
        Self {
            choose: Arc::new(choose),
        }
    }

    /// A handler that always does the same.
    #[must_use]
    pub fn always(action: UncaughtErrorAction) -> Self {
        Self::new(move |_| action)
    }

    pub(crate) fn action(&self, error: &StreamsError) -> UncaughtErrorAction {
        (self.choose)(error)
    }
}

impl Default for UncaughtErrorHandler {
    /// Stops the client, as Kafka Streams does.
    fn default() -> Self {
        Self::always(UncaughtErrorAction::StopClient)
    }
}

impl fmt::Debug for UncaughtErrorHandler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UncaughtErrorHandler")
            .finish_non_exhaustive()
    }
}
