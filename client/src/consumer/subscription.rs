//! What a group member subscribes to: topics by name, or all whose names match a pattern.

use moldau_protocol::KString;
use regex::Regex;

use crate::client::Client;
use crate::error::ClientError;

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) enum Subscription {
    Topics(Vec<KString>),
    Pattern(Pattern),
}

/// A pattern, in RE2's syntax. It must match a whole name.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: KString,
    regex: Regex,
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Topics(left), Self::Topics(right)) => left == right,
            (Self::Pattern(left), Self::Pattern(right)) => left.text == right.text,
            (Self::Topics(_), Self::Pattern(_)) | (Self::Pattern(_), Self::Topics(_)) => false,
        }
    }
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let regex = Regex::new(&format!("^(?:{text})$")).map_err(|error| ClientError::Config {
            setting: "pattern",
            reason: format!("\"{text}\" is not a regular expression: {error}"),
        })?;
        Ok(Self {
            text: KString::copy_from(text),
            regex,
        })
    }

    fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }
}

impl Subscription {
    /// The topics by name; of a pattern those that exist now, without the brokers' own.
    pub(crate) async fn topics(&self, client: &Client) -> Result<Vec<KString>, ClientError> {
        let pattern = match self {
            Self::Topics(topics) => return Ok(topics.clone()),
            Self::Pattern(pattern) => pattern,
        };
        let response = client.metadata().ask(None, false).await?;
        let names = response
            .topics
            .iter()
            .filter(|topic| topic.error_code == 0 && !topic.is_internal)
            .filter_map(|topic| topic.name.as_ref());
        let mut matching: Vec<_> = names
            .filter(|name| pattern.matches(name))
            .map(KString::detached)
            .collect();
        matching.sort();
        Ok(matching)
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
