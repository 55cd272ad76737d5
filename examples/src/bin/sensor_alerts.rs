//! Readings of sensors: the mean of each minute, and an alert for each hot one.
//!
//! In: `readings`, keyed by sensor, JSON such as `{"celsius": 21.5}`. Out: `means` and `alerts`,
//! keyed by sensor and minute, each minute once, when it is over. Readings may come up to ten
//! seconds late.
//!
//! Run it with `cargo run -p moldau-examples --bin sensor_alerts [BOOTSTRAP]`.

use std::time::Duration;

use anyhow::Result;
use moldau_streams::{
    Builder, Json, StreamsConfig, StreamsError, StrictBuffer, Suppressed, Topic, Topology,
    Tumbling, Windowed,
};
use serde::{Deserialize, Serialize};

/// What a sensor sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    celsius: f64,
}

/// The readings of one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Minute {
    readings: u32,
    sum: f64,
}

impl Minute {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.readings)
    }
}

const READINGS: Topic<String, Json<Reading>> = Topic::new("readings");
const MEANS: Topic<Windowed<String>, f64> = Topic::new("means");
const ALERTS: Topic<Windowed<String>, String> = Topic::new("alerts");
/// Warmer than this is an alert.
const HOT_CELSIUS: f64 = 60.0;

fn topology() -> Result<Topology, StreamsError> {
    let seconds = Duration::from_secs;
    let builder = Builder::new("sensor-alerts");
    let means = builder
        .stream(&READINGS)
        .group_by_key()
        .windowed_by(Tumbling::of(seconds(60)).grace(seconds(10)))
        .aggregate_as(
            "minutes",
            || Json(Minute::default()),
            |_, reading, minute| {
                minute.readings += 1;
                minute.sum += reading.celsius;
            },
        )
        .suppress(Suppressed::until_window_closes(StrictBuffer::unbounded()))
        .to_stream()
        .present()
        .map_values(|minute| minute.mean());
    means.to(&MEANS);
    means
        .filter(|_, mean| *mean > HOT_CELSIUS)
        .map_values_with_key(|sensor, mean| format!("{} has {mean:.1} °C", sensor.key))
        .to(&ALERTS);
    builder.build()
}

fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    Ok(topology()?.run(&bootstrap, StreamsConfig::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_minute_is_told_once_and_with_its_late_readings() -> Result<()> {
        let test = topology()?.test()?;
        let readings = test.input(&READINGS);
        let read = |second: i64, sensor: &str, celsius| {
            readings.send_at(second * 1_000, sensor, Reading { celsius });
        };
        read(5, "oven", 50.0);
        read(10, "hall", 20.0);
        read(65, "hall", 21.0);
        read(59, "oven", 100.0);
        assert_eq!(test.output(&MEANS).read(), []);
        read(70, "hall", 22.0);
        let means: Vec<_> = test
            .output(&MEANS)
            .read()
            .iter()
            .map(|(_, mean)| *mean)
            .collect();
        assert_eq!(means, [20.0, 75.0]);
        let alerts = test.output(&ALERTS).read();
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].1, "oven has 75.0 °C");
        Ok(())
    }
}
