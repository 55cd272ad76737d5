//! Sliding windows: left and right windows, early records, and when they close.

use moldau_streams::{Materialized, Sliding};

use crate::{O, S, append, check, grouped, ms};

fn windows(grace: u64) -> Sliding {
    Sliding::of(ms(10)).grace(ms(grace))
}

#[test]
fn each_record_makes_its_left_window_and_right_windows_that_are_not_empty() {
    check(include_str!("sliding.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(windows(50));
        table
            .aggregate_as("w", String::new, append)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn without_a_cache_each_window_is_emitted_as_it_changes() {
    check(include_str!("sliding_nocache.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(windows(50));
        let kept = Materialized::named("w").every_update();
        table
            .aggregate_as(kept, String::new, append)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn many_records_out_of_order_make_kafka_streams_windows() {
    check(include_str!("sliding_random.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(windows(20));
        table
            .aggregate_as("w", String::new, append)
            .to_stream()
            .to(&O);
    });
}
