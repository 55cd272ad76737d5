//! Crashes: state comes back from changelogs, input from committed offsets.

use std::time::Duration;

use moldau_streams::{CommitMode, LocalConfig, Str, Topic, Tumbling, Windowed};

use crate::{COUNTS, S, driver, driver_with, send, text, texts};

#[test]
fn a_crash_between_commits_loses_nothing_and_repeats_only_what_was_not_committed() {
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let driver = driver_with(config, |builder| {
        builder
            .stream(&S)
            .group_by_key()
            .count_as("c")
            .to_stream()
            .to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 1), (Some("a"), Some("x"), 2)],
    );
    driver.commit();
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 3), (Some("b"), Some("x"), 4)],
    );
    driver.crash_and_restore();
    driver.commit();
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=0000000000000002@2",
            "a=0000000000000003@3",
            "b=0000000000000001@4"
        ]
    );
    assert_eq!(driver.store::<Str, i64>("c").get("a"), Some(3));
}

#[test]
fn a_repartitioned_count_is_the_same_with_a_crash_after_every_record() {
    let run = |crash: bool, partitions: i32| {
        let config = LocalConfig::default().topic("s", partitions);
        let driver = driver_with(config, |builder| {
            let words = builder
                .stream(&S)
                .flat_map_values(|line, words: &mut Vec<String>| {
                    words.extend(
                        line.iter()
                            .flat_map(|line| line.split(' '))
                            .map(str::to_owned),
                    );
                });
            let counts = words.group_by(|_, word| word.clone()).count_as("c");
            counts.to_stream().to(&Topic::<String, i64>::new("o"));
        });
        for (at, line) in ["to be or not", "to be", "that is the question", "to not be"]
            .iter()
            .enumerate()
        {
            let key = format!("k{at}");
            send(&driver, &S, &[(Some(&key), Some(line), at as i64)]);
            if crash {
                driver.crash_and_restore();
            }
        }
        let mut output = texts(&driver, "o");
        output.sort();
        output
    };
    let expected = run(false, 1);
    assert_eq!(expected.len(), 13);
    for partitions in [1, 2, 4] {
        assert_eq!(run(true, partitions), expected, "{partitions} partitions");
    }
}

#[test]
fn windows_and_tombstones_come_back_from_the_changelog() {
    let driver = driver(|builder| {
        let windows = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(60));
        let counts = builder
            .stream(&S)
            .group_by_key()
            .windowed_by(windows)
            .count_as("w");
        counts
            .to_stream()
            .to(&Topic::<Windowed<Option<Str>>, i64>::new("o"));
        let _ = builder.table_as(&Topic::<Str, Str>::new("t"), "st");
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 1_000),
            (Some("a"), Some("x"), 61_000),
        ],
    );
    let table = driver.input(&crate::T_IN);
    table.send(text(Some("k")), text(Some("v")));
    table.send(text(Some("gone")), text(Some("v")));
    table.send(text(Some("gone")), text(None));
    driver.crash_and_restore();
    send(&driver, &S, &[(Some("a"), Some("x"), 2_000)]);
    let windows = driver.window_store::<Str, i64>("w");
    assert_eq!(windows.get("a", 0), Some(2));
    assert_eq!(windows.get("a", 60_000), Some(1));
    let entries = driver.store::<Str, Str>("st");
    assert_eq!(entries.get("k"), Some(Str::from("v")));
    assert_eq!(entries.get("gone"), None);
}
