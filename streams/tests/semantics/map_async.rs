//! Mapping by futures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moldau_streams::{CommitMode, InFlight, LocalConfig, OnError, Str, TestDriver, Topic};

use super::{Nullable, O, S, T_IN, driver, driver_with, send, text, texts};

const P: Topic<Str, Str> = Topic::new("s");

/// Waits longer for the first records than for later ones.
async fn shout(value: Str) -> Result<Str, String> {
    let steps = 10_u32.saturating_sub(value.len() as u32);
    for _ in 0..steps {
        tokio::task::yield_now().await;
    }
    if value.as_str() == "bad" {
        return Err("it is bad".to_owned());
    }
    Ok(Str::from(format!("{}!", value.as_str())))
}

fn manual(in_flight: impl Into<InFlight>) -> TestDriver {
    let in_flight = in_flight.into();
    let config = LocalConfig::default().commit(CommitMode::Manual);
    driver_with(config, |builder| {
        let stream = builder.stream(&P);
        stream
            .map_values_async(in_flight, |_, value| shout(value.clone()))
            .to(&O);
    })
}

#[test]
fn results_have_the_order_keys_and_times_of_their_records() {
    let driver = manual(16);
    let records: Vec<String> = (1..9).map(|length| "x".repeat(length)).collect();
    for (time, record) in records.iter().enumerate() {
        send(&driver, &S, &[(Some("k"), Some(record), time as i64)]);
    }
    driver.commit();
    let expected = records.iter().enumerate();
    let expected: Vec<_> = expected
        .map(|(time, record)| format!("k={record}!@{time}"))
        .collect();
    assert_eq!(texts(&driver, "o"), expected);
}

#[test]
fn a_commit_waits_for_all_that_are_under_way() {
    let driver = manual(16);
    send(
        &driver,
        &S,
        &[(Some("k"), Some("a"), 0), (Some("k"), Some("b"), 1)],
    );
    assert_eq!(texts(&driver, "o"), Vec::<String>::new());
    driver.commit();
    assert_eq!(texts(&driver, "o"), ["k=a!@0", "k=b!@1"]);
    driver.crash_and_restore();
    driver.commit();
    assert_eq!(
        texts(&driver, "o").len(),
        2,
        "what is committed does not come again"
    );
}

#[test]
fn what_is_under_way_when_a_task_crashes_comes_again() {
    let driver = manual(16);
    send(&driver, &S, &[(Some("k"), Some("a"), 0)]);
    driver.crash_and_restore();
    assert_eq!(texts(&driver, "o"), Vec::<String>::new());
    driver.commit();
    assert_eq!(texts(&driver, "o"), ["k=a!@0"]);
}

#[test]
fn no_more_futures_are_under_way_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let driver = driver_with(config, move |builder| {
        let mapped = builder
            .stream(&P)
            .map_values_async(3, move |_, value: &Str| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (now, value) = (Arc::clone(&now), value.clone());
                async move {
                    let shouted = shout(value).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    shouted
                }
            });
        mapped.to(&O);
    });
    for time in 0..10 {
        send(&driver, &S, &[(Some("k"), Some("a"), time)]);
        let written = texts(&driver, "o").len() as i64;
        assert_eq!(
            written,
            (time - 2).max(0),
            "the oldest goes on when there is no room"
        );
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    driver.commit();
    assert_eq!(texts(&driver, "o").len(), 10);
}

#[test]
fn the_test_driver_sees_each_result_where_every_record_commits() {
    let driver = driver(|builder| {
        let stream = builder.stream(&P);
        stream
            .map_values_async(64, |_, value| shout(value.clone()))
            .to(&O);
    });
    send(&driver, &S, &[(Some("k"), Some("a"), 7)]);
    assert_eq!(texts(&driver, "o"), ["k=a!@7"]);
}

#[test]
fn results_are_looked_for_while_no_record_comes() {
    let driver = manual(16);
    send(&driver, &S, &[(Some("k"), Some("a"), 0)]);
    driver.advance_wall_clock(Duration::from_millis(10));
    assert_eq!(texts(&driver, "o"), ["k=a!@0"]);
}

#[test]
fn an_error_fails_the_topology_unless_a_policy_says_otherwise() {
    let driver = driver(|builder| {
        let stream = builder.stream(&P).named("shout");
        stream
            .map_values_async(4, |_, value| shout(value.clone()))
            .to(&O);
    });
    let sent = driver
        .input(&S)
        .try_send_at(0, text(Some("k")), text(Some("bad")));
    let error = sent.expect_err("a bad record").to_string();
    assert!(
        error.contains("operator shout failed on the record of topic \"s\""),
        "{error}"
    );
    assert!(error.contains("it is bad"), "{error}");
}

#[test]
fn a_refused_record_is_skipped_or_goes_to_the_dead_letter_topic_in_its_turn() {
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&P);
        let shouted = stream.map_values_async(4, |_, value| shout(value.clone()));
        shouted.on_error(OnError::dead_letter("dead")).to(&O);
    });
    send(
        &driver,
        &S,
        &[
            (Some("k"), Some("a"), 0),
            (Some("k"), Some("bad"), 1),
            (Some("k"), Some("c"), 2),
        ],
    );
    driver.commit();
    assert_eq!(texts(&driver, "o"), ["k=a!@0", "k=c!@2"]);
    assert_eq!(texts(&driver, "dead"), ["k=bad@1"]);
    let offset = driver.raw_topic("dead")[0]
        .headers
        .iter()
        .find_map(|header| {
            (header.key.as_str() == "__streams.errors.offset").then(|| header.value.clone())
        });
    assert_eq!(offset.flatten().as_deref(), Some(b"1".as_slice()));
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_future_that_does_not_end_in_time_is_an_error_of_its_record() {
    let limit = InFlight::at_most(4).timeout(Duration::from_millis(1));
    let driver = driver(|builder| {
        let stream = builder.stream(&P);
        let waiting =
            stream.map_values_async(limit, |_, _| std::future::pending::<Result<Str, String>>());
        waiting.on_error(OnError::Skip).to(&O);
    });
    send(&driver, &S, &[(Some("k"), Some("a"), 0)]);
    assert_eq!(texts(&driver, "o"), Vec::<String>::new());
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_future_that_panics_names_its_operator() {
    let driver = driver(|builder| {
        let stream = builder.stream(&P).named("careless");
        let mapped = stream.map_values_async(4, |_, value: &Str| {
            let value = value.clone();
            async move {
                assert_ne!(value.as_str(), "a", "no a");
                Ok::<_, String>(value)
            }
        });
        mapped.to(&O);
    });
    let sent = driver
        .input(&S)
        .try_send_at(0, text(Some("k")), text(Some("a")));
    let error = sent.expect_err("a panic").to_string();
    assert!(error.contains("operator careless panicked"), "{error}");
}

#[test]
fn a_new_key_is_repartitioned_before_a_join() {
    let driver = driver(|builder| {
        let table = builder.table(&Topic::<Nullable, Nullable>::new("t"));
        let stream = builder.stream(&P);
        let by_value = stream.named("by-value").map_async(4, |_, value: &Str| {
            let value = value.clone();
            async move { Ok::<_, String>((Some(value.clone()), value)) }
        });
        by_value
            .join(&table)
            .by(|value, _| Some(value.clone()))
            .to(&O);
    });
    send(&driver, &T_IN, &[(Some("v"), Some("1"), 0)]);
    send(&driver, &S, &[(Some("k"), Some("v"), 1)]);
    assert_eq!(texts(&driver, "app-by-value-repartition"), ["v=v@1"]);
    assert_eq!(texts(&driver, "o"), ["v=v@1"]);
}

#[tokio::test]
async fn the_test_driver_may_run_inside_an_asynchronous_test() {
    let driver = manual(2);
    for time in 0..4 {
        send(&driver, &S, &[(Some("k"), Some("a"), time)]);
    }
    driver.commit();
    assert_eq!(texts(&driver, "o").len(), 4);
}
