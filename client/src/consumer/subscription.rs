//! What a group member subscribes to: topics by name, or all whose names match a pattern.

use moldau_protocol::KString;
use regex::Regex;

use crate::client::Client;
use crate::error::ClientError;

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    Topics(Vec<KString>),
    Pattern(Pattern),
}

/// A pattern of topic names, in RE2's syntax. It must match a whole name.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: KString,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// It is not a regular expression.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let regex = Regex::new(&format!("^(?:{text})$")).map_err(|error| ClientError::Config {
            setting: "pattern",
            reason: format!("\"{text}\" is not a regular expression: {error}"),
        })?;
        Ok(Self {
            text: KString::copy_from(text),
            regex,
        })
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &KString {
        &self.text
    }

    /// Whether a topic of this name is meant.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }

    /// The topics that match now, sorted, without the brokers' own.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn topics(&self, client: &Client) -> Result<Vec<KString>, ClientError> {
        let response = client.metadata().ask(None, false).await?;
        let names = response
            .topics
            .iter()
            .filter(|topic| topic.error_code == 0 && !topic.is_internal)
            .filter_map(|topic| topic.name.as_ref());
        let mut matching: Vec<_> = names
            .filter(|name| self.matches(name))
            .map(KString::detached)
            .collect();
        matching.sort();
        Ok(matching)
    }
}

impl Subscription {
    /// The topics by name; of a pattern those that exist now, without the brokers' own.
    pub(crate) async fn topics(&self, client: &Client) -> Result<Vec<KString>, ClientError> {
        match self {
            Self::Topics(topics) => Ok(topics.clone()),
            Self::Pattern(pattern) => pattern.topics(client).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = Pattern::parse("orders|bills-.*").unwrap();
        assert!(pattern.matches("orders") && pattern.matches("bills-2"));
        assert!(!pattern.matches("orders-2") && !pattern.matches("old-bills-2"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let error = Pattern::parse("orders(").unwrap_err().to_string();
        assert!(error.contains("\"orders(\""), "{error}");
    }
}
