//! Session windows.

use std::time::Duration;

use super::windows::{HasGrace, NeedsGrace, millis, sealed::SetGrace};

/// Windows of activity: a session goes on as long as a record of its key comes within the gap of
/// another one. A record between two sessions makes one of them (KIP-94).
///
/// ```
/// use std::time::Duration;
///
/// use moldau_streams::Sessions;
///
/// let visits = Sessions::gap(Duration::from_secs(30 * 60)).no_grace();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    pub(crate) gap_ms: i64,
    pub(crate) grace_ms: i64,
}

impl Sessions {
    /// Sessions that end when there was nothing for longer than this.
    pub fn gap(gap: Duration) -> NeedsGrace<Self> {
        NeedsGrace::new(Self {
            gap_ms: millis(gap),
            grace_ms: 0,
        })
    }
}

impl HasGrace for Sessions {}

impl SetGrace for Sessions {
    fn set_grace_ms(&mut self, grace_ms: i64) {
        self.grace_ms = grace_ms;
    }
}
