//! Source `host_metrics` at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use sysinfo::{
    CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, RefreshKind, System,
};

use super::HostMetricsSpec;
use crate::runtime::error::ConnectError;
use crate::runtime::source::{Source, SourceBatch, SourceRecord, Stored};

/// Takes a sample every interval, on a thread for blocking work.
#[derive(Debug)]
pub(crate) struct HostMetricsSource {
    interval: Duration,
    host: String,
    sampler: Option<Sampler>,
    ticks: Option<tokio::time::Interval>,
}

impl HostMetricsSource {
    pub(crate) fn new(spec: &HostMetricsSpec, host: &Arc<str>) -> Self {
        let host = spec.host.clone().unwrap_or_else(|| host.to_string());
        Self {
            interval: spec.interval,
            host,
            sampler: None,
            ticks: None,
        }
    }
}

impl Source for HostMetricsSource {
    /// What was missed while nobody looked is gone; there is nothing to go on from.
    fn restore(&mut self, _stored: Stored) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn poll(&mut self) -> Result<SourceBatch, ConnectError> {
        let failed = |error| ConnectError::State(format!("taking a sample failed: {error}"));
        if self.sampler.is_none() {
            // The share of the processor is that between two looks, so the first one is only taken.
            let sampler = tokio::task::spawn_blocking(Sampler::start)
                .await
                .map_err(failed)?;
            let none =
                |error| ConnectError::State(format!("this machine gives no figures: {error}"));
            self.sampler = Some(sampler.map_err(none)?);
        }
        let ticks = self.ticks.get_or_insert_with(|| {
            let start = tokio::time::Instant::now() + self.interval;
            let mut ticks = tokio::time::interval_at(start, self.interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            ticks
        });
        ticks.tick().await;
        let Some(mut sampler) = self.sampler.take() else {
            return Ok(SourceBatch::default());
        };
        let look = tokio::task::spawn_blocking(move || {
            let sample = sampler.sample();
            (sampler, sample)
        });
        let (sampler, sample) = look.await.map_err(failed)?;
        self.sampler = Some(sampler);
        let mut value = Map::new();
        value.insert("host".to_owned(), Value::from(self.host.as_str()));
        value.extend(sample);
        let record = SourceRecord {
            timestamp: chrono::Utc::now().timestamp_millis(),
            default_key: Some(self.host.clone()),
            value: Value::Object(value),
            ..SourceRecord::default()
        };
        Ok(SourceBatch {
            records: vec![record],
            ..SourceBatch::default()
        })
    }
}

/// Looks at the machine.
#[derive(Debug)]
struct Sampler {
    system: System,
    /// Some containers have neither disks nor networks to look at; their fields are null then.
    disks: Option<Disks>,
    networks: Option<Networks>,
    last: Instant,
}

impl Sampler {
    fn start() -> Result<Self, sysinfo::Error> {
        let cpu = CpuRefreshKind::nothing().with_usage();
        let what = RefreshKind::nothing()
            .with_cpu(cpu)
            .with_memory(MemoryRefreshKind::everything());
        Ok(Self {
            system: System::new_with_specifics(what)?,
            disks: Disks::new_with_refreshed_list_specifics(storage()).ok(),
            networks: Networks::new_with_refreshed_list().ok(),
            last: Instant::now(),
        })
    }

    /// The fields of one record, all flat.
    fn sample(&mut self) -> Map<String, Value> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        if let Some(disks) = &mut self.disks {
            disks.refresh_specifics(true, storage());
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        let now = Instant::now();
        let seconds = now
            .saturating_duration_since(self.last)
            .as_secs_f64()
            .max(0.001);
        self.last = now;
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        set(
            "cpu_percent",
            rounded(f64::from(self.system.global_cpu_usage())),
        );
        set("cpu_count", Value::from(self.system.cpus().len()));
        let (used, total) = (self.system.used_memory(), self.system.total_memory());
        set("memory_used_bytes", Value::from(used));
        set("memory_total_bytes", Value::from(total));
        set("memory_percent", percent(used, total));
        let (used, total) = (self.system.used_swap(), self.system.total_swap());
        set("swap_used_bytes", Value::from(used));
        set("swap_total_bytes", Value::from(total));
        let (used, total) = self.disk_space().unzip();
        set("disk_used_bytes", Value::from(used));
        set("disk_total_bytes", Value::from(total));
        set(
            "disk_used_percent",
            used.zip(total)
                .map_or(Value::Null, |(used, total)| percent(used, total)),
        );
        let (received, sent) = self.network_traffic().unzip();
        let rate =
            |bytes: Option<u64>| bytes.map_or(Value::Null, |bytes| per_second(bytes, seconds));
        set("network_received_bytes_per_s", rate(received));
        set("network_sent_bytes_per_s", rate(sent));
        let load = System::load_average().ok();
        let load = |one: fn(&sysinfo::LoadAvg) -> f64| {
            load.as_ref().map_or(Value::Null, |load| rounded(one(load)))
        };
        set("load_1m", load(|load| load.one));
        set("load_5m", load(|load| load.five));
        set("load_15m", load(|load| load.fifteen));
        set("uptime_s", Value::from(System::uptime().ok()));
        fields
    }

    /// Used and all bytes of the disks; one that is mounted twice counts once.
    fn disk_space(&self) -> Option<(u64, u64)> {
        let mut names = Vec::new();
        let (mut used, mut total) = (0_u64, 0_u64);
        for disk in self.disks.as_ref()? {
            if names.contains(&disk.name()) {
                continue;
            }
            names.push(disk.name());
            used += disk.total_space().saturating_sub(disk.available_space());
            total += disk.total_space();
        }
        Some((used, total))
    }

    /// Bytes received and sent since the last sample, without the loopback interface.
    fn network_traffic(&self) -> Option<(u64, u64)> {
        let networks = self.networks.as_ref()?;
        let outside = networks
            .iter()
            .filter(|(name, _)| !name.to_string_lossy().starts_with("lo"));
        Some(outside.fold((0, 0), |(received, sent), (_, data)| {
            (received + data.received(), sent + data.transmitted())
        }))
    }
}

fn storage() -> DiskRefreshKind {
    DiskRefreshKind::nothing().with_storage()
}

#[expect(clippy::cast_precision_loss, reason = "shares are for people")]
fn percent(part: u64, whole: u64) -> Value {
    if whole == 0 {
        Value::from(0.0)
    } else {
        rounded(part as f64 * 100.0 / whole as f64)
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates are for people")]
fn per_second(count: u64, seconds: f64) -> Value {
    rounded(count as f64 / seconds)
}

/// Two decimals are enough and keep records short.
fn rounded(value: f64) -> Value {
    Value::from((value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sample_has_flat_fields_with_plausible_figures() {
        let spec = HostMetricsSpec {
            interval: Duration::from_millis(1),
            host: None,
        };
        let mut source = HostMetricsSource::new(&spec, &Arc::from("box"));
        let batch = source.poll().await.expect("a sample");
        let [record] = batch.records.as_slice() else {
            panic!("one record")
        };
        assert_eq!(record.default_key.as_deref(), Some("box"));
        let value = &record.value;
        assert_eq!(value["host"], "box");
        for field in ["cpu_percent", "memory_percent", "disk_used_percent"] {
            let share = value[field].as_f64().expect("a number");
            assert!((0.0..=100.0).contains(&share), "{field} {share}");
        }
        assert!(value["memory_used_bytes"].as_u64() <= value["memory_total_bytes"].as_u64());
        assert!(
            value["network_received_bytes_per_s"]
                .as_f64()
                .is_some_and(|rate| rate >= 0.0)
        );
        assert!(value["load_1m"].is_number());
        assert!(
            value
                .as_object()
                .is_some_and(|o| o.values().all(|v| !v.is_object() && !v.is_array()))
        );
    }
}
