//! How a topic is read.

use super::on_error::OnError;
use crate::runtime::StartAt;

/// How a topic is read, where the defaults do not fit.
#[derive(Clone, Debug, Default)]
pub struct Consumed {
    pub(crate) name: Option<String>,
    pub(crate) start_at: StartAt,
    pub(crate) on_error: Option<OnError>,
}

impl Consumed {
    /// The defaults: from the first record on, errors as the builder says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the source node instead of numbering it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where to start when nothing is committed yet.
    #[must_use]
    pub const fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// What to do with records that are not of the topic's types.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }
}
