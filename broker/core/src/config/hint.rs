//! "Did you mean": the setting that a misspelt name probably stands for.

use super::{Scope, topic_settings};

/// `; did you mean "…"?`, or nothing when no name is near.
pub(super) fn hint(scope: Scope, name: &str) -> String {
    if let Some(elsewhere) = of_another_scope(scope, name) {
        return format!("; did you mean \"{elsewhere}\"?");
    }
    let nearest = scope
        .settings()
        .iter()
        .map(|setting| (distance(name, setting.name), setting.name))
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= nearest.len() / 3 => {
            format!("; did you mean \"{nearest}\"?")
        }
        _ => String::new(),
    }
}

/// Many topic settings have another name as a broker setting: `retention.ms` and `log.retention.ms`.
fn of_another_scope(scope: Scope, name: &str) -> Option<&'static str> {
    let mut pairs = topic_settings()
        .iter()
        .filter_map(|topic| Some((topic.name, topic.synonym?)));
    match scope {
        Scope::Topic => pairs
            .find(|(_, broker)| *broker == name)
            .map(|(topic, _)| topic),
        Scope::Broker => pairs
            .find(|(topic, _)| *topic == name)
            .map(|(_, broker)| broker),
        Scope::Group => None,
    }
}

/// Levenshtein distance: how many letters must be changed, added or left out. Long names are cut.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().take(MAX_COMPARED_BYTES).collect();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.bytes().take(MAX_COMPARED_BYTES).enumerate() {
        let mut before = line + 1;
        let mut row = vec![before];
        for (pair, other) in above.windows(2).zip(&right) {
            let [diagonal, up] = pair else { continue };
            before = (before + 1)
                .min(up + 1)
                .min(diagonal + usize::from(letter != *other));
            row.push(before);
        }
        above = row;
    }
    above.last().copied().unwrap_or_default()
}

const MAX_COMPARED_BYTES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gives_the_nearest_one_and_a_strange_one_gives_none() {
        let near = "; did you mean \"num.partitions\"?";
        assert_eq!(hint(Scope::Broker, "num.partition"), near);
        assert_eq!(hint(Scope::Broker, "nun.partitons"), near);
        assert_eq!(hint(Scope::Broker, "colour"), "");
    }

    #[test]
    fn a_name_of_the_other_scope_gives_its_name_here() {
        assert_eq!(
            hint(Scope::Broker, "retention.ms"),
            "; did you mean \"log.retention.ms\"?"
        );
        assert_eq!(
            hint(Scope::Topic, "message.max.bytes"),
            "; did you mean \"max.message.bytes\"?"
        );
    }

    #[test]
    fn distance_counts_changed_missing_and_added_letters() {
        assert_eq!(distance("num.partitions", "num.partitions"), 0);
        assert_eq!(distance("num.partition", "num.partitions"), 1);
        assert_eq!(distance("nun.partitons", "num.partitions"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
