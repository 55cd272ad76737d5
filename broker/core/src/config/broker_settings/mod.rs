//! The broker settings of Kafka 4.3, and our own: the one table that everything about them comes from.
//!
//! A setting that works has a row in [`node`], [`log`], [`groups`] or [`transactions`]; one that Kafka has and a single
//! node cannot honour has a row in [`refused`], so that it is refused by name and never stored.

mod groups;
mod log;
mod node;
mod refused;
mod transactions;

use std::sync::LazyLock;

use super::setting::Setting;

/// The broker settings, ordered by name.
#[must_use]
pub fn broker_settings() -> &'static [Setting] {
    &BROKER_SETTINGS
}

/// The row of one broker setting.
#[must_use]
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    let index = BROKER_SETTINGS
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()?;
    BROKER_SETTINGS.get(index)
}

static BROKER_SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut rows = [
        node::ROWS,
        log::ROWS,
        groups::ROWS,
        transactions::ROWS,
        refused::ROWS,
    ]
    .concat();
    rows.sort_by_key(|setting| setting.name);
    rows
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{topic_settings, validate_broker_setting};

    #[test]
    fn names_are_unique_and_every_default_is_valid() {
        let settings = broker_settings();
        for pair in settings.windows(2) {
            assert_ne!(pair[0].name, pair[1].name);
        }
        for setting in settings.iter().filter(|setting| setting.is_served()) {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
            assert!(!setting.doc.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn the_default_of_a_topic_setting_is_that_of_its_broker_setting() {
        for setting in topic_settings() {
            let Some(broker) = setting.synonym else {
                continue;
            };
            let broker = broker_setting(broker).expect(broker);
            if broker.default.is_some() {
                assert_eq!(broker.default, setting.default, "{}", setting.name);
            }
            assert_eq!(broker.kind, setting.kind, "{}", setting.name);
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_with_these_words() {
        for (name, value) in [
            ("ssl.keystore.location", "/etc/keys.jks"),
            ("num.io.threads", "8"),
            ("log.preallocate", "true"),
            ("remote.log.storage.system.enable", "true"),
        ] {
            let error = validate_broker_setting(name, value)
                .map(|setting| setting.name)
                .expect_err(name)
                .to_string();
            assert!(error.contains("not supported"), "{name}: {error}");
        }
    }
}
