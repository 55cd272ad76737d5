//! Several streams in one aggregate.

use moldau_streams::{CogroupedKStream, SessionWindow, Sessions, Sliding, Topic, Windowed};

use crate::{Nullable, O, S, U, append, check, grouped, merge, ms};

/// Values of `s` as they are, and those of `u` in capitals.
fn both(builder: &moldau_streams::Builder) -> CogroupedKStream<Nullable, String> {
    let (s, u) = (grouped(builder, &S), grouped(builder, &U));
    s.cogroup(append).cogroup(&u, |_, value, text| {
        text.push_str(&value.as_deref().unwrap_or_default().to_uppercase());
    })
}

#[test]
fn two_streams_go_into_one_aggregate_and_nulls_are_dropped() {
    check(include_str!("cogroup.txt"), |builder| {
        let table = both(builder).aggregate_as("w", String::new);
        table.to_stream().to(&Topic::<Nullable, String>::new("o"));
    });
}

#[test]
fn two_streams_go_into_common_sessions() {
    check(include_str!("cogroup_session.txt"), |builder| {
        let sessions = both(builder).windowed_by(Sessions::gap(ms(10)).no_grace());
        let table = sessions.aggregate_as("w", String::new, merge);
        let topic = Topic::<Windowed<Nullable, SessionWindow>, String>::new("o");
        table.to_stream().to(&topic);
    });
}

#[test]
fn two_streams_go_into_common_sliding_windows() {
    check(include_str!("cogroup_sliding.txt"), |builder| {
        let windows = both(builder).windowed_by(Sliding::of(ms(10)).no_grace());
        windows.aggregate_as("w", String::new).to_stream().to(&O);
    });
}
