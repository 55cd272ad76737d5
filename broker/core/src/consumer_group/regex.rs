//! Subscriptions by regular expression, in the syntax of RE2.
//!
//! The engine takes time linear in the topic's name, whatever the expression, so one cannot be made
//! to stall the coordinator. What RE2 has and the engine has not, `\Q…\E`, is written out before.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;
use regex::{Regex, RegexBuilder};

use crate::metadata::MetadataImage;
use crate::rejection::Rejection;

/// The topics that an expression matched when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvedRegex {
    pub(crate) topics: BTreeSet<KString>,
    /// The version of the metadata it was resolved with; Kafka writes it down, nobody reads it here.
    pub(crate) version: i64,
    pub(crate) timestamp_ms: i64,
}

/// Makes an expression that matches whole names.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION: it is malformed, or too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Rejection> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let reason = format!("it has more than {MAX_PATTERN_BYTES} bytes");
        return Err(invalid(pattern, &reason));
    }
    let pattern_written_out = write_out_quotes(pattern);
    // On its own first: brackets that are out of balance must not borrow from ours.
    build(&pattern_written_out).map_err(|error| invalid(pattern, &reason(&error)))?;
    // The line break ends a comment that the expression may end with; it counts as nothing then,
    // and is only tried if the plain form fails.
    build(&format!(r"\A(?:{pattern_written_out})\z"))
        .or_else(|_| build(&format!("\\A(?:{pattern_written_out}\n)\\z")))
        .map_err(|error| invalid(pattern, &reason(&error)))
}

/// The topics whose whole names match.
pub(crate) fn matching_topics(regex: &Regex, image: &MetadataImage) -> BTreeSet<KString> {
    let names = image.topics().map(|topic| &topic.name);
    names.filter(|name| regex.is_match(name)).cloned().collect()
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM_BYTES)
        .dfa_size_limit(MAX_PROGRAM_BYTES)
        .nest_limit(MAX_NESTING)
        .build()
}

/// Replaces `\Q…\E` by the text between with all its special characters escaped.
fn write_out_quotes(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escaped) = rest.split_at(at);
        written.push_str(before);
        if let Some(quoted) = escaped.strip_prefix(r"\Q") {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            written.push_str(&regex::escape(text));
            rest = after;
        } else {
            // The backslash and what it escapes, so that `\\Q` stays what it is.
            let length = 1 + escaped.chars().nth(1).map_or(0, char::len_utf8);
            let (pair, after) = escaped.split_at(length);
            written.push_str(pair);
            rest = after;
        }
    }
    written.push_str(rest);
    written
}

fn invalid(pattern: &str, reason: &str) -> Rejection {
    let shown: String = pattern.chars().take(MAX_SHOWN_CHARS).collect();
    Rejection::new(
        ErrorCode::InvalidRegularExpression,
        format!("regular expression \"{shown}\" is not valid: {reason}; the syntax is RE2's"),
    )
}

/// The last line of the engine's explanation says what is wrong; those before draw a picture.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.trim_start_matches("error: ").to_owned()
}

const MAX_PATTERN_BYTES: usize = 16 * 1024;
const MAX_PROGRAM_BYTES: usize = 1024 * 1024;
const MAX_NESTING: u32 = 100;
const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        compile(pattern).expect("a good expression").is_match(name)
    }

    #[test]
    fn an_expression_matches_the_whole_name() {
        assert!(matches("orders-.*", "orders-eu"));
        assert!(!matches("orders", "orders-eu"));
        assert!(matches("a|ab", "ab"), "the longer alternative counts too");
        assert!(!matches("a|b", "ab"));
    }

    #[test]
    fn quoted_text_stands_for_itself() {
        assert!(matches(r"\Qa.b\E.*", "a.b-1"));
        assert!(!matches(r"\Qa.b\E.*", "axb-1"));
        assert!(matches(r"x\Q.*", "x.*"), "an open quote lasts to the end");
        assert!(
            matches(r"\\Q", r"\Q"),
            "an escaped backslash begins no quote"
        );
    }

    #[test]
    fn a_comment_at_the_end_swallows_nothing() {
        assert!(matches("(?x) orders # all of them", "orders"));
    }

    #[test]
    fn malformed_and_oversized_expressions_are_refused() {
        for bad in [
            "(",
            "a)(?:b",
            "[a",
            r"\1",
            "(?=a)",
            "a{2,1}",
            "(?:(?:.{1000}){1000}){1000}",
        ] {
            let refused = compile(bad).expect_err(bad);
            assert_eq!(refused.code, ErrorCode::InvalidRegularExpression, "{bad}");
        }
        assert!(compile(&"a".repeat(MAX_PATTERN_BYTES + 1)).is_err());
    }
}
