//! The jobs, as a user would write them. `Bench.java` beside Kafka Streams' tests has the same.

use std::time::Duration;

use moldau_streams::{Builder, Json, Raw, StreamsError, Topic, Topology, Tumbling, Windowed};
use serde::{Deserialize, Serialize};

use super::{Job, Run, input};

/// An event of about 150 bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) user: String,
    pub(super) page: String,
    pub(super) country: String,
    pub(super) duration_ms: u32,
    pub(super) amount: f64,
    pub(super) session: String,
}

/// What is left of an event.
#[derive(Debug, Serialize, Deserialize)]
struct Purchase {
    id: u64,
    user: String,
    amount: f64,
    is_large: bool,
}

/// The topology of a run.
pub(super) fn topology(run: &Run) -> Result<Topology, StreamsError> {
    let builder = Builder::new(run.application_id.as_str());
    let output = output(run);
    match run.job {
        Job::FilterMap => builder
            .stream(&events())
            .filter(|_, event| event.amount >= LIMIT)
            .map_values(|event| {
                Json(Purchase {
                    id: event.id,
                    user: event.user.clone(),
                    amount: event.amount,
                    is_large: event.amount >= LARGE,
                })
            })
            .to(&Topic::<Option<Raw>, Json<Purchase>>::named(output)),
        Job::WindowedCount => builder
            .stream(&events())
            .group_by(|_, event| event.user.clone())
            .windowed_by(Tumbling::of(Duration::from_secs(60)).grace(DAY))
            .count_as("counts")
            .to_stream()
            .to(&Topic::<Windowed<String>, i64>::named(output)),
        Job::Restore | Job::Keys => builder
            .stream(&Topic::<Raw, Raw>::named(input::topic(run.job)))
            .group_by_key()
            .count_as("counts")
            .to_stream()
            .to(&Topic::<Raw, i64>::named(output)),
    }
    builder.build()
}

/// How many records the job reads in all, with those of repartition topics.
pub(super) const fn reads(run: &Run) -> u64 {
    match run.job {
        Job::FilterMap | Job::Keys => run.records,
        Job::WindowedCount => 2 * run.records,
        Job::Restore => 0,
    }
}

/// The topic that a run writes to.
pub(super) fn output(run: &Run) -> String {
    format!("{}-output", run.application_id)
}

fn events() -> Topic<Option<Raw>, Json<Event>> {
    Topic::named(input::topic(Job::FilterMap))
}

/// Half of all amounts are less.
const LIMIT: f64 = 50.0;
const LARGE: f64 = 90.0;
/// Inputs are read partition by partition, so times are far from being in order.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
