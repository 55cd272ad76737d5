//! The table of broker settings: every name that [`BrokerConfig::set`] knows.

use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::{AdvertisedAddress, BrokerConfig, ConfigError, Setting, SettingKind};

/// Assigns `value` to the setting `name`; see [`BrokerConfig::set`].
pub(super) fn set(config: &mut BrokerConfig, name: &str, value: &str) -> Result<(), ConfigError> {
    if let Some((divisor, topic_name)) = time_alias(name) {
        let amount: i64 = parse(name, value, "a whole number")?;
        let value = if amount < 0 {
            -1
        } else {
            amount.saturating_mul(divisor)
        };
        config
            .topic_defaults
            .insert(topic_name.to_owned(), value.to_string());
        return Ok(());
    }
    let setting = SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .ok_or_else(|| ConfigError::unknown(name))?;
    (setting.write)(config, setting, value)
}

/// Settings that give a topic setting in a larger unit: milliseconds per unit, and the topic setting.
fn time_alias(name: &str) -> Option<(i64, &'static str)> {
    const MINUTE: i64 = 60_000;
    match name {
        "log.retention.hours" => Some((60 * MINUTE, "retention.ms")),
        "log.retention.minutes" => Some((MINUTE, "retention.ms")),
        "log.roll.hours" => Some((60 * MINUTE, "segment.ms")),
        _ => None,
    }
}

/// A setting whose value is a plain field that parses from and shows as text.
macro_rules! field {
    ($name:literal, $kind:ident, $field:ident, $allowed:expr) => {
        Setting {
            name: $name,
            kind: SettingKind::$kind,
            topic_name: None,
            write: |config, setting, value| {
                config.$field = parse(setting.name, value, $allowed)?;
                Ok(())
            },
            read: |config| Some(config.$field.to_string()),
        }
    };
}

/// A setting that is the default of a topic setting; core checks the value when a topic uses it.
macro_rules! topic_default {
    ($name:literal, $kind:ident, $topic:literal) => {
        Setting {
            name: $name,
            kind: SettingKind::$kind,
            topic_name: Some($topic),
            write: |config, setting, value| {
                check_kind(setting, value)?;
                config
                    .topic_defaults
                    .insert($topic.to_owned(), value.to_owned());
                Ok(())
            },
            read: |config| config.topic_defaults.get($topic).cloned(),
        }
    };
}

const COUNT: &str = "a whole number of at least 0";

/// Every broker setting, sorted by name.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "advertised.listeners",
        kind: SettingKind::List,
        topic_name: None,
        write: |config, setting, value| {
            config.advertised = Some(parse_advertised(setting.name, value)?);
            Ok(())
        },
        read: |config| {
            let address = config.advertised.as_ref()?;
            Some(format!("PLAINTEXT://{}:{}", address.host, address.port))
        },
    },
    field!(
        "auto.create.topics.enable",
        Boolean,
        auto_create_topics,
        "`true` or `false`"
    ),
    topic_default!("compression.type", String, "compression.type"),
    field!(
        "connections.max.idle.ms",
        Long,
        connections_max_idle_ms,
        "milliseconds of at least 0"
    ),
    field!(
        "default.replication.factor",
        Int,
        default_replication_factor,
        "a whole number"
    ),
    field!(
        "delete.topic.enable",
        Boolean,
        delete_topics,
        "`true` or `false`"
    ),
    field!("fetch.max.bytes", Int, fetch_max_bytes, COUNT),
    field!(
        "group.initial.rebalance.delay.ms",
        Int,
        group_initial_rebalance_delay_ms,
        COUNT
    ),
    field!(
        "group.max.session.timeout.ms",
        Int,
        group_max_session_timeout_ms,
        COUNT
    ),
    field!("group.max.size", Int, group_max_size, COUNT),
    field!(
        "group.min.session.timeout.ms",
        Int,
        group_min_session_timeout_ms,
        COUNT
    ),
    Setting {
        name: "listeners",
        kind: SettingKind::List,
        topic_name: None,
        write: |config, setting, value| {
            config.listeners = value
                .split(',')
                .map(|one| parse_listener(setting.name, one.trim()))
                .collect::<Result<_, _>>()?;
            Ok(())
        },
        read: |config| {
            let all: Vec<String> = config
                .listeners
                .iter()
                .map(|one| format!("PLAINTEXT://{one}"))
                .collect();
            Some(all.join(","))
        },
    },
    topic_default!(
        "log.cleaner.delete.retention.ms",
        Long,
        "delete.retention.ms"
    ),
    topic_default!(
        "log.cleaner.max.compaction.lag.ms",
        Long,
        "max.compaction.lag.ms"
    ),
    topic_default!(
        "log.cleaner.min.cleanable.ratio",
        Double,
        "min.cleanable.dirty.ratio"
    ),
    topic_default!(
        "log.cleaner.min.compaction.lag.ms",
        Long,
        "min.compaction.lag.ms"
    ),
    topic_default!("log.cleanup.policy", List, "cleanup.policy"),
    Setting {
        name: "log.dirs",
        kind: SettingKind::List,
        topic_name: None,
        write: |config, setting, value| {
            if value.is_empty() || value.contains(',') {
                return Err(ConfigError::invalid(setting.name, &value, "one directory"));
            }
            config.data_dir = PathBuf::from(value);
            Ok(())
        },
        read: |config| Some(config.data_dir.display().to_string()),
    },
    topic_default!("log.flush", String, "flush"),
    field!(
        "log.flush.offset.checkpoint.interval.ms",
        Int,
        log_flush_offset_checkpoint_interval_ms,
        COUNT
    ),
    topic_default!("log.index.interval.bytes", Int, "index.interval.bytes"),
    topic_default!("log.index.size.max.bytes", Int, "segment.index.bytes"),
    topic_default!(
        "log.message.timestamp.after.max.ms",
        Long,
        "message.timestamp.after.max.ms"
    ),
    topic_default!(
        "log.message.timestamp.before.max.ms",
        Long,
        "message.timestamp.before.max.ms"
    ),
    topic_default!(
        "log.message.timestamp.type",
        String,
        "message.timestamp.type"
    ),
    topic_default!("log.retention.bytes", Long, "retention.bytes"),
    field!(
        "log.retention.check.interval.ms",
        Long,
        log_retention_check_interval_ms,
        COUNT
    ),
    topic_default!("log.retention.ms", Long, "retention.ms"),
    topic_default!("log.roll.ms", Long, "segment.ms"),
    topic_default!("log.segment.bytes", Int, "segment.bytes"),
    topic_default!("log.segment.delete.delay.ms", Long, "file.delete.delay.ms"),
    field!("max.connections", Int, max_connections, COUNT),
    field!(
        "max.incremental.fetch.session.cache.slots",
        Int,
        fetch_session_slots,
        COUNT
    ),
    topic_default!("message.max.bytes", Int, "max.message.bytes"),
    topic_default!("min.insync.replicas", Int, "min.insync.replicas"),
    field!("node.id", Int, node_id, COUNT),
    field!(
        "num.partitions",
        Int,
        num_partitions,
        "a whole number of at least 1"
    ),
    field!(
        "num.writer.threads",
        Int,
        num_writer_threads,
        "a whole number of at least 1"
    ),
    field!(
        "offset.metadata.max.bytes",
        Int,
        offset_metadata_max_bytes,
        COUNT
    ),
    field!(
        "offsets.retention.check.interval.ms",
        Long,
        offsets_retention_check_interval_ms,
        COUNT
    ),
    field!(
        "offsets.retention.minutes",
        Int,
        offsets_retention_minutes,
        COUNT
    ),
    field!(
        "offsets.topic.num.partitions",
        Int,
        offsets_topic_num_partitions,
        COUNT
    ),
    field!(
        "offsets.topic.replication.factor",
        Short,
        offsets_topic_replication_factor,
        COUNT
    ),
    field!(
        "offsets.topic.segment.bytes",
        Int,
        offsets_topic_segment_bytes,
        COUNT
    ),
    field!(
        "producer.id.expiration.ms",
        Int,
        producer_id_expiration_ms,
        COUNT
    ),
    field!("queued.max.requests", Int, queued_max_requests, COUNT),
    field!("request.timeout.ms", Int, request_timeout_ms, COUNT),
    field!(
        "socket.request.max.bytes",
        Int,
        socket_request_max_bytes,
        COUNT
    ),
    field!("tail.cache.bytes", Long, tail_cache_bytes, COUNT),
];

fn parse<T: FromStr>(name: &str, value: &str, allowed: &str) -> Result<T, ConfigError> {
    value
        .parse()
        .map_err(|_| ConfigError::invalid(name, &value as &dyn Display, allowed))
}

fn check_kind(setting: &Setting, value: &str) -> Result<(), ConfigError> {
    match setting.kind {
        SettingKind::Boolean => {
            parse::<bool>(setting.name, value, "`true` or `false`")?;
        }
        SettingKind::Int | SettingKind::Short | SettingKind::Long => {
            parse::<i64>(setting.name, value, "a whole number")?;
        }
        SettingKind::Double => {
            parse::<f64>(setting.name, value, "a number")?;
        }
        SettingKind::String | SettingKind::List => {}
    }
    Ok(())
}

/// `PLAINTEXT://host:port` or `host:port`.
fn parse_advertised(name: &str, value: &str) -> Result<AdvertisedAddress, ConfigError> {
    const ALLOWED: &str = "an address such as `PLAINTEXT://my-host:9092`";
    let (host, port) = without_protocol(value)
        .rsplit_once(':')
        .ok_or_else(|| ConfigError::invalid(name, &value, ALLOWED))?;
    let port = parse(name, port, ALLOWED)?;
    if host.is_empty() {
        return Err(ConfigError::invalid(name, &value, ALLOWED));
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Ok(AdvertisedAddress { host, port })
}

/// `PLAINTEXT://:9092` (every address), `PLAINTEXT://127.0.0.1:9092`, `localhost:9092`, `[::]:9092`.
fn parse_listener(name: &str, value: &str) -> Result<SocketAddr, ConfigError> {
    const ALLOWED: &str = "an address such as `PLAINTEXT://:9092` or `127.0.0.1:9092`";
    let address = without_protocol(value);
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| ConfigError::invalid(name, &value, ALLOWED))?;
    let port = parse(name, port, ALLOWED)?;
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        _ => return Err(ConfigError::invalid(name, &value, ALLOWED)),
    };
    Ok(SocketAddr::new(ip, port))
}

fn without_protocol(value: &str) -> &str {
    value.strip_prefix("PLAINTEXT://").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_accepts_the_value_that_it_shows() {
        let mut config = BrokerConfig::default();
        for setting in SETTINGS {
            if let Some(value) = (setting.read)(&config) {
                (setting.write)(&mut config, setting, &value).expect(setting.name);
            }
        }
        assert_eq!(config, BrokerConfig::default());
    }

    #[test]
    fn settings_are_sorted_by_name() {
        assert!(SETTINGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn larger_units_become_milliseconds() {
        let mut config = BrokerConfig::default();
        config.set("log.retention.hours", "2").expect("valid");
        assert_eq!(config.topic_defaults["retention.ms"], "7200000");
        config.set("log.retention.minutes", "-1").expect("valid");
        assert_eq!(config.topic_defaults["retention.ms"], "-1");
    }

    #[test]
    fn an_unknown_setting_names_its_likely_spelling() {
        let error = BrokerConfig::default()
            .set("num.partition", "1")
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "setting `num.partition` is unknown\nhint: did you mean `num.partitions`?"
        );
    }

    #[test]
    fn a_wrong_value_says_what_is_allowed() {
        let error = BrokerConfig::default()
            .set("num.partitions", "many")
            .expect_err("invalid");
        assert_eq!(
            error.to_string(),
            "setting `num.partitions`: value `many` is not allowed\nhint: give a whole number of at least 1"
        );
    }

    #[test]
    fn listeners_are_read_in_the_forms_that_users_write() {
        let mut config = BrokerConfig::default();
        config
            .set("listeners", "PLAINTEXT://:9092, localhost:0,[::1]:7")
            .expect("valid");
        let shown: Vec<String> = config.listeners.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["[::]:9092", "127.0.0.1:0", "[::1]:7"]);
        config
            .set("advertised.listeners", "PLAINTEXT://[2001:db8::1]:9")
            .expect("valid");
        let advertised = config.advertised.expect("set");
        assert_eq!(
            (advertised.host.as_str(), advertised.port),
            ("2001:db8::1", 9)
        );
    }
}
