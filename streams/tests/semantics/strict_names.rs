//! Names required by a switch (KIP-1111).

use std::time::Duration;

use moldau_streams::{Builder, Repartitioned, StreamsError, Tumbling};

use super::{O, S, T, U};

fn strict(build: impl FnOnce(&Builder)) -> Result<(), StreamsError> {
    let builder = Builder::new("app");
    builder.strict_names(true);
    build(&builder);
    builder.build().map(drop)
}

#[track_caller]
fn refuses(build: impl FnOnce(&Builder), expected: &[&str]) {
    let error = strict(build).expect_err("a numbered name").to_string();
    for part in expected {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_numbered_store_is_refused_with_its_changelog_and_operator() {
    refuses(
        |builder| drop(builder.stream(&S).group_by_key().count()),
        &[
            "store \"KSTREAM-AGGREGATE-STATE-STORE-0000000001\"",
            "changelog \"app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog\"",
            "of operator KSTREAM-AGGREGATE-0000000002",
        ],
    );
}

#[test]
fn a_numbered_repartition_topic_is_refused_with_the_operator_before_it() {
    refuses(
        |builder| {
            let stream = builder.stream(&S).select_key(|_, value| value.clone());
            let _ = stream.repartition(Repartitioned::new());
        },
        &[
            "topic \"app-KSTREAM-REPARTITION-0000000002-repartition\"",
            "behind operator KSTREAM-KEY-SELECT-0000000001",
        ],
    );
}

#[test]
fn a_join_without_a_name_is_refused_for_its_window_stores() {
    let window = Duration::from_secs(1);
    refuses(
        |builder| {
            let other = builder.stream(&U);
            let join = builder.stream(&S).join(other.within(window).no_grace());
            join.by(|value, _| value.clone()).to(&O);
        },
        &[
            "store \"KSTREAM-JOINTHIS-0000000004-store\"",
            "store \"KSTREAM-JOINOTHER-0000000005-store\"",
        ],
    );
}

#[test]
fn a_table_that_is_looked_up_needs_a_name_and_one_that_is_not_does_not() {
    strict(|builder| builder.table(&T).to_stream().for_each(|_, _| ())).expect("no store");
    refuses(
        |builder| {
            let table = builder.table(&T);
            drop(
                table
                    .join(&table.map_values(Clone::clone))
                    .by(|one, _| one.clone()),
            );
        },
        &[
            "store \"t-STATE-STORE-0000000000\"",
            "of operator KTABLE-SOURCE-0000000002",
        ],
    );
}

#[test]
fn a_global_table_without_a_name_is_refused() {
    refuses(
        |builder| {
            let _ = builder.global_table(&T);
            builder.stream(&S).to(&O);
        },
        &["store \"t-STATE-STORE-0000000000\" of operator KTABLE-SOURCE-0000000002"],
    );
}

#[test]
fn a_topology_with_names_everywhere_is_built() {
    let built = strict(|builder| {
        let stream = builder.stream(&S).named("by-value");
        let windows = stream.group_by(|_, value| value.clone());
        let minute = Duration::from_secs(60);
        let windows = windows.windowed_by(Tumbling::of(minute).no_grace());
        let _ = windows.count_as("counts");
        let other = builder.stream(&U);
        let within = other.within(minute).no_grace().stored_as("kept");
        let joined = builder.stream(&S).named("joined").join(within);
        joined.by(|value, _| value.clone()).to(&O);
    });
    built.expect("all names are given");
}

#[test]
fn a_given_name_that_looks_numbered_is_a_name() {
    let built = strict(|builder| {
        let counts = builder.stream(&S).group_by_key();
        let _ = counts.count_as("KSTREAM-AGGREGATE-STATE-STORE-0000000009");
    });
    built.expect("a given name");
}

#[test]
fn numbered_names_are_fine_without_the_switch() {
    let builder = Builder::new("app");
    drop(builder.stream(&S).group_by_key().count());
    builder.build().expect("a topology");
}
