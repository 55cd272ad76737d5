//! Processors with stores and punctuations.

use std::time::Duration;

use moldau_streams::{
    OnError, Processor, ProcessorContext, ProcessorError, ProcessorRecord, ProcessorStore,
    ProcessorStoreSpec, Punctuation, PunctuationType, Str, Topic, ValueContext, ValueProcessor,
};

use crate::{T, T_IN, driver, header, send, texts};

const OUT: Topic<Str, Str> = Topic::new("o");
const COUNTS: Topic<Str, i64> = Topic::new("o");

/// Counts records per key and tells the counts at each punctuation.
struct Counter {
    counts: ProcessorStore<Str, i64>,
}

impl Processor<Str, Str> for Counter {
    type Key = Str;
    type Value = i64;

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, Str, i64>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        if &**record.value == "bad" {
            return Err("a bad record".into());
        }
        let count = self.counts.get(cx, record.key)?.unwrap_or(0) + 1;
        Ok(self.counts.put(cx, record.key, &count)?)
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, Str, i64>,
        _: Punctuation,
    ) -> Result<(), ProcessorError> {
        for (key, count) in self.counts.all(cx)? {
            cx.forward(&key, &count)?;
        }
        Ok(())
    }
}

fn counter(clock: PunctuationType) -> moldau_streams::TestDriver {
    driver(|builder| {
        builder.on_processing_error(OnError::Skip);
        let store = ProcessorStoreSpec::key_value::<Str, i64>("counts");
        let counted = builder.stream(&T).process([store], move |cx| {
            cx.every(Duration::from_millis(10), clock);
            Ok(Counter {
                counts: cx.store("counts")?,
            })
        });
        counted.to(&COUNTS);
    })
}

#[test]
fn a_processor_keeps_its_store_over_a_crash_and_punctuates_by_the_wall_clock() {
    let driver = counter(PunctuationType::WallClockTime);
    let records = [(Some("a"), Some("x"), 1), (Some("a"), Some("y"), 2)];
    send(&driver, &T_IN, &records);
    assert!(texts(&driver, "o").is_empty());
    driver.crash_and_restore();
    send(&driver, &T_IN, &[(Some("a"), Some("z"), 3)]);
    driver.advance_wall_clock(Duration::from_millis(10));
    assert_eq!(driver.output(&COUNTS).read(), [("a".into(), 3)]);
    assert_eq!(driver.store::<Str, i64>("counts").get("a"), Some(3));
    let changelog = texts(&driver, "app-counts-changelog");
    assert_eq!(
        changelog.last().map(String::as_str),
        Some("a=0000000000000003@3")
    );
}

#[test]
fn punctuations_of_stream_time_fire_with_the_first_record_and_then_by_the_interval() {
    let driver = counter(PunctuationType::StreamTime);
    for timestamp in [1, 5, 12, 13, 45] {
        send(&driver, &T_IN, &[(Some("a"), Some("x"), timestamp)]);
    }
    let counts: Vec<_> = driver.output(&COUNTS).read_with_timestamps();
    let shown: Vec<_> = counts.iter().map(|(_, count, at)| (*count, *at)).collect();
    assert_eq!(shown, [(1, 1), (3, 12), (5, 45)]);
}

#[test]
fn a_record_that_a_processor_refuses_is_handled_by_the_policy() {
    let driver = counter(PunctuationType::WallClockTime);
    let records = [(Some("a"), Some("bad"), 1), (Some("a"), Some("x"), 2)];
    send(&driver, &T_IN, &records);
    assert_eq!(driver.records_dropped(), 1);
    assert_eq!(driver.store::<Str, i64>("counts").get("a"), Some(1));
}

#[test]
fn a_store_that_was_not_given_to_the_processor_is_named() {
    let builder = moldau_streams::Builder::new("app");
    let counted = builder.stream(&T).process([], |cx| {
        Ok(Counter {
            counts: cx.store("counts")?,
        })
    });
    counted.to(&COUNTS);
    let topology = builder.build().expect("a topology");
    let started = topology.test();
    let error = match started {
        Err(error) => error,
        Ok(driver) => driver
            .input(&T)
            .try_send_at(0, "a", "x")
            .expect_err("no store"),
    };
    let error = error.to_string();
    assert!(error.contains("store \"counts\": is not among"), "{error}");
}

/// Puts where a record comes from, and how many headers it has, behind its value.
struct Where;

impl ValueProcessor<Str, Str> for Where {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        let origin = cx.origin().ok_or("a record without an origin")?;
        let text = format!(
            "{} {} {} {}",
            record.value,
            origin.topic,
            origin.offset,
            record.headers.len()
        );
        Ok(cx.forward(&Str::from(text.replace(' ', "-")))?)
    }
}

#[test]
fn a_value_processor_sees_origin_and_headers_and_needs_no_repartition() {
    let driver = driver(|builder| {
        let told = builder.stream(&T).process_values([], |_| Ok(Where));
        let _ = told.group_by_key().count_as("counts");
        told.to(&OUT);
    });
    let headers = vec![header("h", b"v")];
    driver.input(&T).send_with_headers(7, "k", "x", headers);
    assert_eq!(texts(&driver, "o"), ["k=x-t-0-1@7"]);
    assert_eq!(driver.store::<Str, i64>("counts").get("k"), Some(1));
    assert!(driver.raw_topic("app-counts-repartition").is_empty());
    let headers = &driver.raw_topic("o")[0].headers;
    assert_eq!(headers.len(), 1);
}
