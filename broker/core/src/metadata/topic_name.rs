//! Which names a topic may have.

/// Topics that the cluster itself writes.
const INTERNAL_TOPICS: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];

/// The log of the cluster's state, which is no topic.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Longest name: the directory of a partition adds a dash and a number, and file names end at 255.
const MAX_LENGTH: usize = 249;

/// Why a name cannot be a topic's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// It has no letter.
    #[error("the topic name is empty")]
    Empty,
    /// It would be a directory of its own.
    #[error("the topic name cannot be \".\" or \"..\"")]
    Dots,
    /// It is too long for a file name.
    #[error("the topic name has {length} characters; at most {MAX_LENGTH} are allowed")]
    TooLong {
        /// How long it is.
        length: usize,
    },
    /// It has a character that files or metrics do not bear.
    #[error(
        "the topic name has the character '{character}'; only letters, digits, '.', '_' and '-' are allowed"
    )]
    Character {
        /// The first such character.
        character: char,
    },
    /// It is the log of the cluster's state.
    #[error("the topic name {METADATA_TOPIC} is reserved")]
    Reserved,
}

/// Checks a name: `[a-zA-Z0-9._-]{1,249}`, but not `.` and `..`.
///
/// # Errors
/// What is wrong with it.
pub fn validate_topic_name(name: &str) -> Result<(), TopicNameError> {
    let is_legal = |character: &char| {
        character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
    };
    match name {
        "" => Err(TopicNameError::Empty),
        "." | ".." => Err(TopicNameError::Dots),
        METADATA_TOPIC => Err(TopicNameError::Reserved),
        _ if name.len() > MAX_LENGTH => Err(TopicNameError::TooLong {
            length: name.chars().count(),
        }),
        _ => match name.chars().find(|character| !is_legal(character)) {
            Some(character) => Err(TopicNameError::Character { character }),
            None => Ok(()),
        },
    }
}

/// Whether the cluster itself writes this topic.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// Whether two different names look the same in metrics, where '.' becomes '_'.
#[must_use]
pub fn collides(name: &str, other: &str) -> bool {
    name != other && name.len() == other.len() && unified(name).eq(unified(other))
}

/// The name as metrics show it; two names that collide are equal here.
pub(super) fn unified(name: &str) -> impl Iterator<Item = u8> {
    name.bytes()
        .map(|byte| if byte == b'.' { b'_' } else { byte })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_refused() {
        let long = "x".repeat(250);
        for (name, expected) in [
            ("", TopicNameError::Empty),
            (".", TopicNameError::Dots),
            ("..", TopicNameError::Dots),
            (long.as_str(), TopicNameError::TooLong { length: 250 }),
            ("a b", TopicNameError::Character { character: ' ' }),
            ("a/../b", TopicNameError::Character { character: '/' }),
            ("grün", TopicNameError::Character { character: 'ü' }),
            ("a\0", TopicNameError::Character { character: '\0' }),
            ("__cluster_metadata", TopicNameError::Reserved),
        ] {
            assert_eq!(validate_topic_name(name), Err(expected), "{name:?}");
        }
    }

    #[test]
    fn names_that_are_fine() {
        for name in [
            "a",
            "...",
            "A-z_0.9",
            "__consumer_offsets",
            &"x".repeat(249),
        ] {
            assert_eq!(validate_topic_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_dot_and_an_underscore_collide() {
        assert!(collides("a.b", "a_b"));
        assert!(collides("a.b_c", "a_b.c"));
        assert!(!collides("a.b", "a.b"));
        assert!(!collides("a.b", "a-b"));
        assert!(!collides("a.b", "a_bc"));
    }
}
