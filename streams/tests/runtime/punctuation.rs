//! Punctuations by stream time and by the wall clock, and what is kept with the offsets.

use std::sync::Arc;

use moldau_streams::runtime::PunctuationType::{StreamTime, WallClockTime};

use crate::probe::{OnRecord, driver, lines, record, say};

fn timestamps() -> OnRecord {
    Arc::new(|record, task| {
        let topic = task.source_topic().clone();
        let line = format!("{topic}-{} {}", record.partition, record.timestamp);
        say(task, &line);
        Ok(())
    })
}

#[test]
fn a_stream_time_punctuation_comes_right_after_the_record_that_reaches_it() {
    let mut driver = driver(&[(10, StreamTime)], Vec::new(), timestamps());
    for timestamp in [3, 4, 35, 36, 40] {
        let appended = driver.append("in", record("k", "v", timestamp));
        appended.expect("appended");
    }
    driver.run().expect("run");
    assert_eq!(
        lines(&mut driver),
        [
            "in-0 3",
            "punctuation Some(0) at 3",
            "in-0 4",
            "in-0 35",
            "punctuation Some(0) at 35",
            "in-0 36",
            "in-0 40",
            "punctuation Some(0) at 40",
        ]
    );
}

#[test]
fn a_wall_clock_punctuation_comes_without_any_record_and_collapses_missed_intervals() {
    let mut driver = driver(&[(100, WallClockTime)], Vec::new(), timestamps());
    driver.advance_wall_clock(99).expect("advanced");
    assert_eq!(lines(&mut driver), [""; 0]);
    driver.advance_wall_clock(1).expect("advanced");
    assert_eq!(lines(&mut driver), ["punctuation Some(0) at 100"]);
    driver.advance_wall_clock(350).expect("advanced");
    assert_eq!(lines(&mut driver), ["punctuation Some(0) at 450"]);
    driver.advance_wall_clock(50).expect("advanced");
    assert_eq!(lines(&mut driver), ["punctuation Some(0) at 500"]);
}

#[test]
fn stream_time_and_processor_metadata_survive_a_restart_as_far_as_committed() {
    let on_record: OnRecord = Arc::new(|record, task| {
        let known = task.processor_metadata("last").unwrap_or(-1);
        say(task, &format!("{} after {known}", task.stream_time()));
        task.set_processor_metadata("last", record.timestamp);
        Ok(())
    });
    let mut driver = driver(&[], Vec::new(), on_record);
    driver.send("in", record("k", "v", 50)).expect("sent");
    driver.commit().expect("committed");
    driver.send("in", record("k", "v", 70)).expect("sent");
    assert_eq!(lines(&mut driver), ["-1 after -1", "50 after 50"]);
    driver.crash_and_restore().expect("restored");
    assert_eq!(lines(&mut driver), ["50 after 50"]);
}
