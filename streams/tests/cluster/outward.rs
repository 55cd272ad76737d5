//! What reaches out of a task: futures, and topics and partitions that records name.

use std::collections::BTreeMap;
use std::time::Duration;

use moldau_streams::{Builder, Raw, SendTo, Str, StreamsConfig, Topic};

use crate::cluster::{Cluster, often};

#[tokio::test(flavor = "multi_thread")]
async fn futures_run_beside_the_task_and_do_not_wait_for_a_commit() {
    let cluster = Cluster::start("futures").await;
    let (input, even, odd) = (cluster.name("in"), cluster.name("0"), cluster.name("1"));
    for (topic, partitions) in [(&input, 1), (&even, 2), (&odd, 1)] {
        cluster.create(topic, partitions).await;
    }
    let records: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let records: Vec<_> = records.iter().map(|n| (Some("k"), n.as_str(), 1)).collect();
    cluster.write(&input, &records).await;

    let builder = Builder::new(cluster.name("app"));
    let mapped = builder
        .stream(&Topic::<Str, Str>::named(input))
        .map_values_async(8, |_, number| {
            let number = number.clone();
            async move {
                let parsed: u64 = number.parse()?;
                // The earlier one of two takes longer.
                tokio::time::sleep(Duration::from_millis(5 - parsed % 5)).await;
                Ok::<_, std::num::ParseIntError>(Str::from(format!("{number}!")))
            }
        });
    let prefix = cluster.name("");
    mapped.to_dynamic_partitioned(
        move |_, value, _| {
            let number: u64 = value.trim_end_matches('!').parse().unwrap_or(0);
            format!("{prefix}{}", number % 2)
        },
        |_, _, target| SendTo::Partition(target.partitions - 1),
    );
    let topology = builder.build().expect("a topology");
    let config = StreamsConfig {
        // So that nothing comes out by way of a commit.
        commit_interval_ms: Some(3_600_000),
        ..often()
    };
    let handle = cluster.run(&topology, config).await;
    let last = |value: &'static str| {
        BTreeMap::from([(
            Raw::from_static(b"k"),
            Some(Raw::from_static(value.as_bytes())),
        )])
    };
    let entries = cluster.wait_for_table(&even, &last("38!")).await;
    let values: Vec<_> = entries.iter().map(|entry| entry.1.clone()).collect();
    let expected = (0..40).step_by(2).map(|n| Some(Raw::from(format!("{n}!"))));
    assert_eq!(values, expected.collect::<Vec<_>>());
    cluster.wait_for_table(&odd, &last("39!")).await;
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}
