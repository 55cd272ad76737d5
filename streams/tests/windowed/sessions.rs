//! Sessions: merging, tombstones, late records, bytes of keys.

use moldau_streams::{Materialized, SessionWindow, Sessions, Str, Topic, Windowed};

use crate::{Nullable, S, append, check, driver, grouped, merge, ms, send};

const O: Topic<Windowed<Nullable, SessionWindow>, String> = Topic::new("o");

fn sessions(gap: u64, grace: u64) -> Sessions {
    Sessions::gap(ms(gap)).grace(ms(grace))
}

#[test]
fn a_record_between_two_sessions_removes_both_and_makes_one_of_them() {
    check(include_str!("session.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(sessions(10, 20));
        table
            .aggregate_as("w", String::new, append, merge)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn without_a_cache_a_session_that_grows_is_removed_first_and_has_no_headers() {
    check(include_str!("session_nocache.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(sessions(10, 20));
        let kept = Materialized::named("w").every_update();
        table
            .aggregate_as(kept, String::new, append, merge)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn reduced_sessions_are_merged_with_the_reducer() {
    check(include_str!("session_reduce.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(sessions(10, 0));
        let both = |one: &Nullable, two: &Nullable| {
            let text = |value: &Nullable| value.as_deref().unwrap_or_default().to_owned();
            Some(Str::from(text(one) + &text(two)))
        };
        let topic = Topic::<Windowed<Nullable, SessionWindow>, Nullable>::new("o");
        table.reduce(both).to_stream().to(&topic);
    });
}

#[test]
fn many_records_out_of_order_make_kafka_streams_sessions() {
    check(include_str!("session_random.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(sessions(4, 20));
        table
            .aggregate_as("w", String::new, append, merge)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn sessions_come_back_after_a_crash_and_go_on() {
    let counts = Topic::<Windowed<Nullable, SessionWindow>, i64>::new("o");
    let driver = driver(|builder| {
        let table = grouped(builder, &S).windowed_by(sessions(10, 20)).count();
        table.to_stream().to(&counts);
    });
    send(&driver, "s a x 0");
    send(&driver, "s a x 5");
    driver.crash_and_restore();
    send(&driver, "s a x 12");
    let output = driver.output(&Topic::<Windowed<Nullable, SessionWindow>, Option<i64>>::new("o"));
    let last = output.read().pop().expect("a count");
    assert_eq!(last.0.window, SessionWindow { start: 0, end: 12 });
    assert_eq!(last.1, Some(3));
}
