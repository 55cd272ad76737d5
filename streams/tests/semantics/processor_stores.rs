//! Stores of processors that keep windows, sessions and versions, and value processors that
//! punctuate.

use std::time::Duration;

use moldau_streams::{
    LocalConfig, ProcessorError, ProcessorInit, ProcessorRecord, ProcessorSessionStore,
    ProcessorStore, ProcessorStoreSpec, ProcessorVersionedStore, ProcessorWindowStore, Punctuation,
    PunctuationType, SessionWindow, Str, TestDriver, Topic, ValueContext, ValueProcessor,
    VersionPut,
};

use crate::{T, T_IN, driver_with, send, texts};

const OUT: Topic<Str, Str> = Topic::new("o");
const LONG: Duration = Duration::from_millis(100);

/// Runs a value processor in memory and on disk; the answers are the same.
fn both<P: ValueProcessor<Str, Str, Value = Str>>(
    store: &ProcessorStoreSpec,
    make: fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError>,
    check: impl Fn(&TestDriver),
) {
    let directory = tempfile::tempdir().expect("a directory");
    for state_dir in [None, Some(directory.path().to_owned())] {
        let config = LocalConfig {
            state_dir,
            ..LocalConfig::default()
        };
        let driver = driver_with(config, |builder| {
            let stream = builder.stream(&T);
            stream.process_values([store.clone()], make).to(&OUT);
        });
        check(&driver);
    }
}

/// Tells how many records its key has had in the window of ten milliseconds, and in all.
struct Windows(ProcessorWindowStore<Str, i64>);

impl ValueProcessor<Str, Str> for Windows {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        let start = record.timestamp / 10 * 10;
        let count = self.0.get(cx, record.key, start)?.unwrap_or(0) + 1;
        let is_kept = self.0.put(cx, record.key, start, &count)?;
        let own = self.0.fetch(cx, record.key, 0, i64::MAX)?.len();
        let all = self.0.fetch_all(cx, 0, i64::MAX)?.len();
        if record.value.as_str() == "drop" {
            self.0.delete(cx, record.key, start)?;
        }
        Ok(cx.forward(&Str::from(format!("{count},{is_kept},{own},{all}")))?)
    }
}

#[test]
fn a_processor_keeps_windows() {
    let spec = ProcessorStoreSpec::window::<Str, i64>("w", LONG);
    both(
        &spec,
        |cx| Ok(Windows(cx.window_store("w")?)),
        |driver| {
            send(
                driver,
                &T_IN,
                &[
                    (Some("a"), Some("1"), 11),
                    (Some("a"), Some("2"), 19),
                    (Some("a"), Some("3"), 25),
                    (Some("b"), Some("4"), 25),
                ],
            );
            driver.crash_and_restore();
            send(
                driver,
                &T_IN,
                &[
                    (Some("a"), Some("drop"), 12),
                    (Some("a"), Some("late"), 500),
                    (Some("a"), Some("late"), 100),
                ],
            );
            assert_eq!(
                texts(driver, "o"),
                [
                    "a=1,true,1,1@11",
                    "a=2,true,1,1@19",
                    "a=1,true,2,2@25",
                    "b=1,true,1,3@25",
                    "a=3,true,2,3@12",
                    "a=1,true,1,1@500",
                    "a=1,false,1,1@100"
                ]
            );
        },
    );
}

/// Merges records at most five milliseconds apart.
struct Sessions(ProcessorSessionStore<Str, i64>);

impl ValueProcessor<Str, Str> for Sessions {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        let (time, key) = (record.timestamp, record.key);
        let mut merged = SessionWindow {
            start: time,
            end: time,
        };
        let mut count = 1;
        for (session, before) in self.0.find(cx, key, time - 5, time + 5)? {
            self.0.remove(cx, key, session)?;
            merged.start = merged.start.min(session.start);
            merged.end = merged.end.max(session.end);
            count += before;
        }
        self.0.put(cx, key, merged, &count)?;
        assert_eq!(self.0.get(cx, key, merged)?, Some(count));
        let SessionWindow { start, end } = merged;
        Ok(cx.forward(&Str::from(format!("{start}-{end}:{count}")))?)
    }
}

#[test]
fn a_processor_keeps_sessions() {
    let spec = ProcessorStoreSpec::session::<Str, i64>("s", LONG);
    both(
        &spec,
        |cx| Ok(Sessions(cx.session_store("s")?)),
        |driver| {
            send(
                driver,
                &T_IN,
                &[(Some("a"), Some("1"), 10), (Some("a"), Some("2"), 20)],
            );
            driver.crash_and_restore();
            send(
                driver,
                &T_IN,
                &[(Some("a"), Some("3"), 15), (Some("b"), Some("4"), 15)],
            );
            assert_eq!(
                texts(driver, "o"),
                [
                    "a=10-10:1@10",
                    "a=20-20:1@20",
                    "a=10-20:3@15",
                    "b=15-15:1@15"
                ]
            );
        },
    );
}

/// Tells what was valid before a record's time, and puts its value from then on.
struct Versions(ProcessorVersionedStore<Str, Str>);

impl ValueProcessor<Str, Str> for Versions {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        let (time, key) = (record.timestamp, record.key);
        if record.value.as_str() == "remove" {
            let removed = self
                .0
                .delete(cx, key, time)?
                .map(|(value, from)| format!("{}@{from}", value.as_str()));
            return Ok(cx.forward(&Str::from(format!(
                "removed {}",
                removed.unwrap_or_default()
            )))?);
        }
        let before = self.0.get_as_of(cx, key, time)?.map(|(value, _)| value);
        let put = self.0.put(cx, key, record.value, time)?;
        let latest = self.0.get(cx, key)?.map(|(value, _)| value);
        let shown = |value: Option<Str>| value.map_or_else(|| "-".to_owned(), String::from);
        let put = match put {
            VersionPut::Latest => "latest".to_owned(),
            VersionPut::ValidTo(end) => format!("to{end}"),
            VersionPut::TooLate => "late".to_owned(),
        };
        let told = format!("{},{put},{}", shown(before), shown(latest));
        Ok(cx.forward(&Str::from(told))?)
    }
}

#[test]
fn a_processor_keeps_versions() {
    let spec = ProcessorStoreSpec::versioned::<Str, Str>("v", LONG);
    both(
        &spec,
        |cx| Ok(Versions(cx.versioned_store("v")?)),
        |driver| {
            send(
                driver,
                &T_IN,
                &[(Some("a"), Some("x"), 10), (Some("a"), Some("z"), 30)],
            );
            driver.crash_and_restore();
            send(
                driver,
                &T_IN,
                &[
                    (Some("a"), Some("y"), 20),
                    (Some("a"), Some("remove"), 25),
                    (Some("b"), Some("q"), 500),
                    (Some("a"), Some("late"), 399),
                ],
            );
            let told: Vec<_> = driver.output(&OUT).read();
            let told: Vec<_> = told.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(
                told,
                [
                    "-,latest,x",
                    "x,latest,z",
                    "x,to30,z",
                    "removed y@20",
                    "-,latest,q",
                    "z,late,z"
                ]
            );
        },
    );
}

#[test]
fn a_store_of_another_kind_is_refused_with_its_name() {
    let spec = ProcessorStoreSpec::window::<Str, i64>("w", LONG);
    let builder = moldau_streams::Builder::new("app");
    let stream = builder.stream(&T);
    let processed = stream.process_values([spec], |cx| Ok(Sessions(cx.session_store("w")?)));
    processed.to(&OUT);
    let topology = builder.build().expect("a topology");
    let error = topology.test().expect_err("another kind").to_string();
    assert!(
        error.contains("store \"w\": is no session store"),
        "{error}"
    );
}

/// Counts records and forgets them at each punctuation; one that wants to forward fails.
struct Forgetful {
    counts: ProcessorStore<Str, i64>,
    forwards: bool,
}

impl ValueProcessor<Str, Str> for Forgetful {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        let count = self.counts.get(cx, record.key)?.unwrap_or(0) + 1;
        self.counts.put(cx, record.key, &count)?;
        Ok(cx.forward(&Str::from(count.to_string()))?)
    }

    fn punctuate(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        _: Punctuation,
    ) -> Result<(), ProcessorError> {
        if self.forwards {
            cx.forward(&Str::from("never"))?;
        }
        Ok(self.counts.retain(cx, |_, _| false)?)
    }
}

fn forgetful(forwards: bool) -> TestDriver {
    driver_with(LocalConfig::default(), |builder| {
        let store = ProcessorStoreSpec::key_value::<Str, i64>("c");
        let stream = builder.stream(&T).process_values([store], move |cx| {
            cx.every(LONG, PunctuationType::StreamTime);
            Ok(Forgetful {
                counts: cx.store("c")?,
                forwards,
            })
        });
        stream.to(&OUT);
    })
}

#[test]
fn a_value_processor_punctuates() {
    let driver = forgetful(false);
    for time in [0, 10, 20, 150, 160] {
        send(&driver, &T_IN, &[(Some("a"), Some("x"), time)]);
    }
    assert_eq!(
        texts(&driver, "o"),
        ["a=1@0", "a=1@10", "a=2@20", "a=3@150", "a=1@160"]
    );
}

#[test]
fn a_value_processor_cannot_forward_in_a_punctuation() {
    let driver = forgetful(true);
    let sent = driver.input(&T).try_send_at(0, "a", "x");
    let error = sent.expect_err("no key").to_string();
    assert!(error.contains("cannot forward in a punctuation"), "{error}");
}
