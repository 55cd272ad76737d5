//! Which field of [`BrokerConfig`] holds which setting.
//!
//! What a setting is called, its type, default and meaning stand in the table of `moldau-core`; here is only where its
//! value goes. Settings that are defaults of topic settings need no binding.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use moldau_core::config::{ConfigError, Scope, Setting, topic_settings};
use moldau_core::consumer_group::{Assignor, MigrationPolicy};

use super::{AdvertisedAddress, BrokerConfig};

/// A setting and its field.
pub(super) struct Binding {
    pub(super) name: &'static str,
    /// Assigns a value that has passed the checks of the table.
    pub(super) write: fn(&mut BrokerConfig, &str) -> Result<(), String>,
    /// Shows the value; `None` when it is not set.
    pub(super) read: fn(&BrokerConfig) -> Option<String>,
}

/// Assigns `value` to the setting `name`; see [`BrokerConfig::set`].
pub(super) fn set(config: &mut BrokerConfig, name: &str, value: &str) -> Result<(), ConfigError> {
    let setting = Scope::Broker.validate(name, value)?;
    if let Some(binding) = binding(name) {
        return (binding.write)(config, value).map_err(|reason| ConfigError::Value {
            scope: Scope::Broker,
            name: setting.name,
            reason,
        });
    }
    if is_topic_default(setting) {
        config
            .topic_defaults
            .insert(name.to_owned(), value.to_owned());
    }
    // All others have one value only, which was checked.
    Ok(())
}

/// The binding of this setting, if it has a field.
pub(super) fn binding(name: &str) -> Option<&'static Binding> {
    BINDINGS.iter().find(|binding| binding.name == name)
}

/// Whether a topic setting has its default from this one.
pub(super) fn is_topic_default(setting: &Setting) -> bool {
    topic_settings()
        .iter()
        .any(|topic| topic.default_settings().any(|name| name == setting.name))
}

/// A setting of consumer groups whose value is a number.
macro_rules! consumer_groups {
    ($name:literal, $field:ident) => {
        Binding {
            name: $name,
            write: |config, value| {
                config.consumer_groups.$field = parse(value)?;
                Ok(())
            },
            read: |config| Some(config.consumer_groups.$field.to_string()),
        }
    };
}

/// A setting whose value is a plain field that parses from and shows as text.
macro_rules! field {
    ($name:literal, $field:ident) => {
        Binding {
            name: $name,
            write: |config, value| {
                config.$field = parse(value)?;
                Ok(())
            },
            read: |config| Some(config.$field.to_string()),
        }
    };
}

/// Every setting with a field.
pub(super) const BINDINGS: &[Binding] = &[
    Binding {
        name: "advertised.listeners",
        write: |config, value| {
            config.advertised = match value {
                "" => None,
                value => Some(parse_advertised(value)?),
            };
            Ok(())
        },
        read: |config| Some(config.advertised.as_ref()?.to_string()),
    },
    Binding {
        name: "broker.id",
        write: |config, value| {
            config.node_id = parse(value)?;
            Ok(())
        },
        read: |config| Some(config.node_id.to_string()),
    },
    Binding {
        name: "broker.rack",
        write: |config, value| {
            config.rack = (!value.is_empty()).then(|| value.to_owned());
            Ok(())
        },
        read: |config| config.rack.clone(),
    },
    Binding {
        name: "listeners",
        write: |config, value| {
            config.listeners = value
                .split(',')
                .map(|one| parse_listener(one.trim()))
                .collect::<Result<_, _>>()?;
            Ok(())
        },
        read: |config| {
            let all: Vec<String> = config.listeners.iter().map(show_listener).collect();
            Some(all.join(","))
        },
    },
    Binding {
        name: "log.dir",
        write: set_data_dir,
        read: |_| None,
    },
    Binding {
        name: "log.dirs",
        write: set_data_dir,
        read: |config| Some(config.data_dir.display().to_string()),
    },
    Binding {
        name: "node.id",
        write: |config, value| {
            config.node_id = parse(value)?;
            Ok(())
        },
        read: |config| Some(config.node_id.to_string()),
    },
    field!("auto.create.topics.enable", auto_create_topics),
    field!("connections.max.idle.ms", connections_max_idle_ms),
    field!("default.replication.factor", default_replication_factor),
    field!("delete.topic.enable", delete_topics),
    field!("fetch.max.bytes", fetch_max_bytes),
    consumer_groups!(
        "group.consumer.assignment.interval.ms",
        assignment_interval_ms
    ),
    Binding {
        name: "group.consumer.assignors",
        write: |config, value| {
            config.consumer_groups.assignors = parse_assignors(value)?;
            Ok(())
        },
        read: |config| {
            let assignors = config.consumer_groups.assignors.iter();
            let names: Vec<&str> = assignors.map(|assignor| assignor.name()).collect();
            Some(names.join(","))
        },
    },
    consumer_groups!(
        "group.consumer.heartbeat.interval.ms",
        heartbeat_interval_ms
    ),
    consumer_groups!(
        "group.consumer.max.assignment.interval.ms",
        max_assignment_interval_ms
    ),
    consumer_groups!(
        "group.consumer.max.heartbeat.interval.ms",
        max_heartbeat_interval_ms
    ),
    consumer_groups!(
        "group.consumer.max.session.timeout.ms",
        max_session_timeout_ms
    ),
    consumer_groups!("group.consumer.max.size", max_size),
    Binding {
        name: "group.consumer.migration.policy",
        write: |config, value| {
            let policy = MigrationPolicy::from_name(value);
            config.consumer_groups.migration_policy =
                policy.ok_or_else(|| format!("`{value}` is no migration policy"))?;
            Ok(())
        },
        read: |config| Some(config.consumer_groups.migration_policy.name().to_owned()),
    },
    consumer_groups!(
        "group.consumer.min.assignment.interval.ms",
        min_assignment_interval_ms
    ),
    consumer_groups!(
        "group.consumer.min.heartbeat.interval.ms",
        min_heartbeat_interval_ms
    ),
    consumer_groups!(
        "group.consumer.min.session.timeout.ms",
        min_session_timeout_ms
    ),
    consumer_groups!("group.consumer.session.timeout.ms", session_timeout_ms),
    field!(
        "group.initial.rebalance.delay.ms",
        group_initial_rebalance_delay_ms
    ),
    field!("group.max.session.timeout.ms", group_max_session_timeout_ms),
    field!("group.max.size", group_max_size),
    field!("group.min.session.timeout.ms", group_min_session_timeout_ms),
    field!("log.cleaner.backoff.ms", cleaner_backoff_ms),
    field!(
        "log.cleaner.dedupe.buffer.size",
        cleaner_dedupe_buffer_bytes
    ),
    field!(
        "log.cleaner.io.buffer.load.factor",
        cleaner_buffer_load_factor
    ),
    Binding {
        name: "log.cleaner.io.max.bytes.per.second",
        write: |config, value| {
            config.cleaner_io_max_bytes_per_second = parse(value)?;
            Ok(())
        },
        // The default has 309 digits otherwise.
        read: |config| Some(format!("{:E}", config.cleaner_io_max_bytes_per_second)),
    },
    field!("log.cleaner.threads", cleaner_threads),
    field!(
        "log.flush.offset.checkpoint.interval.ms",
        log_flush_offset_checkpoint_interval_ms
    ),
    field!(
        "log.retention.check.interval.ms",
        log_retention_check_interval_ms
    ),
    field!("max.connections", max_connections),
    field!(
        "max.incremental.fetch.session.cache.slots",
        fetch_session_slots
    ),
    field!(
        "max.request.partition.size.limit",
        max_request_partition_size_limit
    ),
    field!("num.partitions", num_partitions),
    field!("num.writer.threads", num_writer_threads),
    field!("offset.metadata.max.bytes", offset_metadata_max_bytes),
    field!(
        "offsets.retention.check.interval.ms",
        offsets_retention_check_interval_ms
    ),
    field!("offsets.retention.minutes", offsets_retention_minutes),
    field!("offsets.topic.num.partitions", offsets_topic_num_partitions),
    field!(
        "offsets.topic.replication.factor",
        offsets_topic_replication_factor
    ),
    field!("offsets.topic.segment.bytes", offsets_topic_segment_bytes),
    field!("producer.id.expiration.ms", producer_id_expiration_ms),
    field!("queued.max.requests", queued_max_requests),
    field!("request.timeout.ms", request_timeout_ms),
    field!("socket.request.max.bytes", socket_request_max_bytes),
    field!("tail.cache.bytes", tail_cache_bytes),
    field!("transaction.max.timeout.ms", transaction_max_timeout_ms),
    field!(
        "transaction.partition.verification.enable",
        transaction_partition_verification
    ),
    field!(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        transaction_remove_expired_interval_ms
    ),
    field!(
        "transaction.state.log.num.partitions",
        transaction_state_log_num_partitions
    ),
    field!(
        "transaction.state.log.replication.factor",
        transaction_state_log_replication_factor
    ),
    field!(
        "transaction.state.log.segment.bytes",
        transaction_state_log_segment_bytes
    ),
    field!(
        "transactional.id.expiration.ms",
        transactional_id_expiration_ms
    ),
];

/// The table has checked the type; what is left is a number that the field cannot hold.
fn parse<T: FromStr>(value: &str) -> Result<T, String> {
    value
        .trim()
        .parse()
        .map_err(|_| format!("\"{value}\" is out of range"))
}

fn set_data_dir(config: &mut BrokerConfig, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("the directory has no name".to_owned());
    }
    if value.contains(',') {
        return Err(format!(
            "more than one directory is not supported; \"{value}\" has a comma"
        ));
    }
    config.data_dir = PathBuf::from(value);
    Ok(())
}

/// Assignors by name, the default first.
fn parse_assignors(names: &str) -> Result<&'static [Assignor], String> {
    let known = |name: &str| {
        let name = name.trim();
        Assignor::from_name(name)
            .ok_or_else(|| format!("`{name}` is no assignor; there are `uniform` and `range`"))
    };
    let assignors: Vec<Assignor> = names.split(',').map(known).collect::<Result<_, _>>()?;
    Assignor::list(&assignors).ok_or_else(|| "name one assignor at least".to_owned())
}

/// `PLAINTEXT://host:port` or `host:port`.
pub(super) fn parse_advertised(value: &str) -> Result<AdvertisedAddress, String> {
    let refused = || {
        format!(
            "\"{value}\" is not an address that clients can connect to, such as `PLAINTEXT://my-host:9092`"
        )
    };
    let (host, port) = without_protocol(value)?
        .rsplit_once(':')
        .ok_or_else(refused)?;
    let port = port.parse().map_err(|_| refused())?;
    if host.is_empty() {
        return Err(refused());
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Ok(AdvertisedAddress { host, port })
}

/// `PLAINTEXT://:9092` (every address), `PLAINTEXT://127.0.0.1:9092`, `localhost:9092`, `[::]:9092`.
pub(super) fn parse_listener(value: &str) -> Result<SocketAddr, String> {
    let refused = || {
        format!(
            "\"{value}\" is not an address to listen on, such as `PLAINTEXT://:9092` or `127.0.0.1:9092`"
        )
    };
    let address = without_protocol(value)?;
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    let port = port.parse().map_err(|_| refused())?;
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        _ => return Err(refused()),
    };
    Ok(SocketAddr::new(ip, port))
}

/// As Kafka writes it: no host is every address.
fn show_listener(address: &SocketAddr) -> String {
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        format!("PLAINTEXT://:{}", address.port())
    } else {
        format!("PLAINTEXT://{address}")
    }
}

/// The address behind the name of a listener, which says how it speaks.
fn without_protocol(value: &str) -> Result<&str, String> {
    match value.split_once("://") {
        None => Ok(value),
        Some((name @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL"), _)) => Err(format!(
            "listeners that speak {name} are not supported; use PLAINTEXT"
        )),
        Some((_, address)) => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use moldau_core::config::broker_settings;

    use super::*;

    #[test]
    fn every_setting_accepts_the_value_that_it_shows() {
        let mut config = BrokerConfig::default();
        for binding in BINDINGS {
            if let Some(value) = (binding.read)(&config) {
                config.set(binding.name, &value).expect(binding.name);
            }
        }
        assert_eq!(config, BrokerConfig::default());
    }

    /// What the table calls the default is what happens.
    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = BrokerConfig::default();
        for binding in BINDINGS {
            let setting = Scope::Broker.setting(binding.name).expect(binding.name);
            let differs = ["log.dir", "num.writer.threads"].contains(&binding.name);
            if !differs {
                let shown = (binding.read)(&config);
                assert_eq!(shown.as_deref(), setting.default, "{}", binding.name);
            }
        }
    }

    /// A setting that is served either has a field, or is the default of a topic setting, or has but one value.
    #[test]
    fn no_setting_is_stored_without_an_effect() {
        for setting in broker_settings()
            .iter()
            .filter(|setting| setting.is_served())
        {
            let works = binding(setting.name).is_some() || is_topic_default(setting);
            assert_eq!(
                works,
                setting.has_choice() || is_topic_default(setting),
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn a_wrong_value_says_what_is_allowed() {
        let mut config = BrokerConfig::default();
        for (name, value, expected) in [
            (
                "num.partition",
                "1",
                "unknown broker setting \"num.partition\"; did you mean \"num.partitions\"?",
            ),
            (
                "num.partitions",
                "many",
                "broker setting \"num.partitions\": \"many\" is not a whole number of 32 bits",
            ),
            (
                "num.partitions",
                "0",
                "broker setting \"num.partitions\": 0 is too small; the least is 1",
            ),
            (
                "default.replication.factor",
                "40000",
                "broker setting \"default.replication.factor\": \"40000\" is out of range",
            ),
            (
                "log.dirs",
                "a,b",
                "broker setting \"log.dirs\": more than one directory is not supported; \"a,b\" has a comma",
            ),
            (
                "listeners",
                "SSL://:9093",
                "broker setting \"listeners\": listeners that speak SSL are not supported; use PLAINTEXT",
            ),
            (
                "num.io.threads",
                "8",
                "broker setting \"num.io.threads\": not supported: threads and their memory are chosen by the number of cores; leave it out",
            ),
        ] {
            assert_eq!(
                config.set(name, value).expect_err(name).to_string(),
                expected
            );
        }
        assert_eq!(config, BrokerConfig::default());
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
