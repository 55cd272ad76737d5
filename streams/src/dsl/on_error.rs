//! What to do with a record that cannot be handled.

use moldau_client::KString;

/// What to do with a record that cannot be read or that a fallible operator refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Stop the application; the record is not committed and comes again. The default.
    #[default]
    Fail,
    /// Go on with the next record; the drop is counted and logged.
    Skip,
    /// Write the record to this topic as it came, with headers that say what was wrong
    /// (`__streams.errors.message`, `.topic`, `.partition`, `.offset` …), and go on.
    DeadLetter(KString),
}

impl OnError {
    /// Write the record to the topic `dead_letter_topic`, and go on.
    #[must_use]
    pub fn dead_letter(dead_letter_topic: impl Into<String>) -> Self {
        Self::DeadLetter(KString::from(dead_letter_topic.into()))
    }
}
