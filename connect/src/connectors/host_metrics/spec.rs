//! The settings of source `host_metrics`.

use std::time::Duration;

use crate::config::reader::{Keys, Reader};
use crate::config::tree::{Node, Value};

/// How often the machine is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostMetricsSpec {
    pub(crate) interval: Duration,
    /// Replaces the name of the machine.
    pub(crate) host: Option<String>,
}

impl HostMetricsSpec {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        // `host_metrics:` alone takes the defaults.
        if node.value == Value::Null {
            return Self {
                interval: DEFAULT_INTERVAL,
                host: None,
            };
        }
        let fields = reader.fields(node, "source `host_metrics`", KEYS);
        let range = MIN_INTERVAL..=Duration::from_secs(86_400);
        let interval = reader.duration(&fields, "interval", range);
        Self {
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            host: reader.text(&fields, "host"),
        }
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// The kernel's own figures are not finer than this.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
const KEYS: Keys = Keys {
    known: &["interval", "host"],
    aliases: &[
        ("scrape_interval_secs", "`interval: 1s`"),
        ("collection_interval", "`interval`"),
    ],
    later: &["collectors", "disks", "networks"],
};
