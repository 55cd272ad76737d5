//! Updates that are held back until a window closes or a time limit has passed.

use moldau_streams::{
    EagerBuffer, SessionWindow, Sessions, Str, StrictBuffer, Suppressed, Topic, Tumbling, Windowed,
};

use crate::{Nullable, O, S, append, check, driver, grouped, merge, ms};

const T: Topic<Str, Str> = Topic::new("t");
const TABLE_OUT: Topic<Str, Str> = Topic::new("o");

#[test]
fn until_a_window_closes_only_its_last_update_is_emitted_with_the_updates_own_headers() {
    check(include_str!("suppress_close.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(Tumbling::of(ms(10)).grace(ms(5)));
        let table = table.aggregate_as("w", String::new, append).named("ss");
        let table = table.suppress(Suppressed::until_window_closes(StrictBuffer::unbounded()));
        table.to_stream().to(&O);
    });
}

#[test]
fn tombstones_of_merged_sessions_are_swallowed() {
    check(include_str!("suppress_session.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(Sessions::gap(ms(10)).no_grace());
        let table = table
            .aggregate_as("w", String::new, append, merge)
            .named("ss");
        let table = table.suppress(Suppressed::until_window_closes(StrictBuffer::unbounded()));
        let topic = Topic::<Windowed<Nullable, SessionWindow>, String>::new("o");
        table.to_stream().to(&topic);
    });
}

#[test]
fn a_time_limit_counts_from_the_first_update_and_a_full_buffer_emits_its_oldest() {
    check(include_str!("suppress_limit.txt"), |builder| {
        let limit = Suppressed::until_time_limit(ms(10), EagerBuffer::max_records(2));
        let table = builder.table(&T).named("ss").suppress(limit);
        table.to_stream().to(&TABLE_OUT);
    });
}

#[test]
fn a_full_buffer_that_may_not_emit_early_fails_with_its_figures() {
    let driver = driver(|builder| {
        let buffer = EagerBuffer::max_records(1).shut_down_when_full();
        let limit = Suppressed::until_time_limit(ms(10), buffer);
        let table = builder.table(&T).named("ss").suppress(limit);
        table.to_stream().to(&TABLE_OUT);
    });
    let input = driver.input(&T);
    input.send_at(0, "a", "1");
    let error = input
        .try_send_at(1, "b", "2")
        .expect_err("full")
        .to_string();
    // Kafka Streams: "Currently [2/1] records and [62/9223372036854775807] bytes".
    assert!(
        error.contains("2 records of 1 and 62 bytes of any"),
        "{error}"
    );
}

#[test]
fn what_is_held_back_by_bytes_comes_back_after_a_crash() {
    let driver = driver(|builder| {
        let limit = Suppressed::until_time_limit(ms(10), EagerBuffer::max_bytes(70));
        let table = builder.table(&T).named("ss").suppress(limit);
        table.to_stream().to(&TABLE_OUT);
    });
    let input = driver.input(&T);
    input.send_at(0, "a", "1");
    input.send_at(1, "b", "2");
    assert_eq!(driver.output(&TABLE_OUT).read(), []);
    driver.crash_and_restore();
    input.send_at(2, "c", "3");
    let read = driver.output(&TABLE_OUT).read_with_timestamps();
    assert_eq!(read, [(Str::from("a"), Str::from("1"), 0)]);
}

#[test]
fn waiting_for_a_window_behind_a_table_without_windows_is_refused() {
    let builder = moldau_streams::Builder::new("app");
    let windowed = Topic::<Windowed<Str>, Str>::new("w");
    let table = builder.table(&windowed);
    let _ = table.suppress(Suppressed::until_window_closes(StrictBuffer::unbounded()));
    let error = builder.build().expect_err("no windows").to_string();
    assert!(error.contains("waits until windows close"), "{error}");
}
