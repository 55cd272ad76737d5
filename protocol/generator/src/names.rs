//! Schema names as Rust names.

/// The lower-case words of a name: `TopicIdPartition` is topic, id, partition.
#[must_use]
pub(crate) fn words(name: &str) -> Vec<String> {
    let name = name.replace("KRaft", "Kraft");
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    for (index, letter) in letters.iter().enumerate() {
        let previous = index.checked_sub(1).map(|before| letters[before]);
        let next_is_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let begins = match previous {
            None => true,
            Some(previous) => {
                letter.is_ascii_uppercase() && (!previous.is_ascii_uppercase() || next_is_lower)
            }
        };
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words
}

/// The name in snake case, for files and functions.
#[must_use]
pub(crate) fn snake_case(name: &str) -> String {
    words(name).join("_")
}

/// The name of a Rust field; raw where it is a keyword.
#[must_use]
pub(crate) fn field_name(name: &str) -> String {
    let name = snake_case(name);
    if ["match", "type"].contains(&name.as_str()) {
        format!("r#{name}")
    } else {
        name
    }
}

/// The name of a Rust type.
#[must_use]
pub(crate) fn type_name(name: &str) -> String {
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_capitals() {
        assert_eq!(snake_case("TopicIdPartition"), "topic_id_partition");
        assert_eq!(snake_case("KRaftVersionFeature"), "kraft_version_feature");
        assert_eq!(snake_case("IsKRaftVoter"), "is_kraft_voter");
        assert_eq!(snake_case("timeoutMs"), "timeout_ms");
        assert_eq!(field_name("Match"), "r#match");
    }
}
