//! Tables with values from a transformer.

use std::time::Duration;

use moldau_streams::{
    Builder, KTable, ProcessorError, ProcessorInit, ProcessorStore, ProcessorStoreSpec,
    Punctuation, PunctuationType, Str, TestDriver, Topic, TransformContext, ValueTransformer,
};

use super::{S, T, T_IN, driver, send, texts};

const OUT: Topic<Str, Str> = Topic::new("o");
const STREAM: Topic<Str, Str> = Topic::new("s");

/// Counts the changes of each key in a store; a removed entry is told too.
struct Numbered {
    seen: ProcessorStore<Str, i64>,
}

impl ValueTransformer<Str, Str> for Numbered {
    type Value = Str;

    fn transform(
        &mut self,
        cx: &mut TransformContext<'_>,
        key: &Str,
        value: Option<&Str>,
    ) -> Result<Option<Str>, ProcessorError> {
        if value.is_some_and(|value| value.as_str() == "bad") {
            return Err("a bad value".into());
        }
        let number = self.seen.get(cx, key)?.unwrap_or(0) + 1;
        self.seen.put(cx, key, &number)?;
        let time = cx.timestamp();
        Ok(value.map(|value| Str::from(format!("{}#{number}@{time}", value.as_str()))))
    }

    fn punctuate(
        &mut self,
        cx: &mut TransformContext<'_>,
        _: Punctuation,
    ) -> Result<(), ProcessorError> {
        Ok(self.seen.retain(cx, |_, _| false)?)
    }
}

fn seen() -> [ProcessorStoreSpec; 1] {
    [ProcessorStoreSpec::key_value::<Str, i64>("seen")]
}

fn numbered(cx: &mut ProcessorInit<'_>) -> Result<Numbered, ProcessorError> {
    Ok(Numbered {
        seen: cx.store("seen")?,
    })
}

fn plain(build: impl FnOnce(&Builder, KTable<Str, Str>)) -> TestDriver {
    driver(|builder| build(builder, builder.table(&T)))
}

#[test]
fn a_transformer_makes_values_with_its_store_and_sees_removals() {
    let driver = plain(|_, table| {
        let transformed = table.transform_values(seen(), numbered);
        transformed.to_stream().to(&OUT);
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("x"), 1),
            (Some("a"), None, 2),
            (Some("a"), Some("y"), 3),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["a=x#1@1@1", "a=null@2", "a=y#3@3@3"]);
    assert_eq!(driver.store::<Str, i64>("seen").get("a"), Some(3));
}

#[test]
fn a_transformed_table_without_a_store_transforms_once_more_in_each_look_up() {
    let driver = plain(|builder, table| {
        let transformed = table.transform_values(seen(), numbered);
        let joined = builder.stream(&STREAM).join(&transformed);
        joined.by(|_, found| found.clone()).to(&OUT);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("x"), 1)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("q"), 5), (Some("a"), Some("q"), 6)],
    );
    assert_eq!(texts(&driver, "o"), ["a=x#2@1@5", "a=x#3@1@6"]);
}

#[test]
fn a_transformed_table_with_a_store_is_transformed_once() {
    let driver = plain(|builder, table| {
        let transformed = table.transform_values_as("kept", seen(), numbered);
        let joined = builder.stream(&STREAM).join(&transformed);
        joined.by(|_, found| found.clone()).to(&OUT);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("x"), 1)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("q"), 5), (Some("a"), Some("q"), 6)],
    );
    assert_eq!(texts(&driver, "o"), ["a=x#1@1@5", "a=x#1@1@6"]);
    assert_eq!(texts(&driver, "app-kept-changelog"), ["a=x#1@1@1"]);
}

#[test]
fn old_values_are_transformed_where_a_later_operator_needs_them() {
    struct Length;
    impl ValueTransformer<Str, Str> for Length {
        type Value = i64;
        fn transform(
            &mut self,
            _: &mut TransformContext<'_>,
            _: &Str,
            value: Option<&Str>,
        ) -> Result<Option<i64>, ProcessorError> {
            Ok(value.map(|value| value.len() as i64))
        }
    }
    let driver = plain(|_, table| {
        let lengths = table.transform_values([], |_| Ok(Length));
        let grouped = lengths.group_by(|_, length| (Str::from("all"), *length));
        let sum = grouped.aggregate_as(
            "sum",
            || 0_i64,
            |_, n, sum| *sum += n,
            |_, n, sum| *sum -= n,
        );
        sum.to_stream().to(&Topic::<Str, i64>::new("o"));
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("xxx"), 1),
            (Some("b"), Some("xx"), 2),
            (Some("a"), Some("x"), 3),
            (Some("b"), None, 4),
        ],
    );
    assert_eq!(driver.store::<Str, i64>("sum").get("all"), Some(1));
}

#[test]
fn a_transformer_punctuates() {
    let driver = plain(|_, table| {
        let transformed = table.transform_values(seen(), |cx| {
            cx.every(Duration::from_millis(10), PunctuationType::WallClockTime);
            numbered(cx)
        });
        transformed.to_stream().to(&OUT);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("x"), 1)]);
    driver.advance_wall_clock(Duration::from_millis(10));
    send(&driver, &T_IN, &[(Some("a"), Some("y"), 2)]);
    assert_eq!(texts(&driver, "o"), ["a=x#1@1@1", "a=y#1@2@2"]);
}

#[test]
fn a_value_that_cannot_be_transformed_is_handled_by_policy() {
    let driver = driver(|builder| {
        builder.on_processing_error(moldau_streams::OnError::dead_letter("dead"));
        let transformed = builder.table(&T).transform_values(seen(), numbered);
        transformed.to_stream().to(&OUT);
    });
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("bad"), 1), (Some("a"), Some("x"), 2)],
    );
    assert_eq!(texts(&driver, "o"), ["a=x#1@2@2"]);
    assert_eq!(texts(&driver, "dead"), ["a=bad@1"]);
}

#[test]
fn a_transformed_table_is_named_and_described_as_in_kafka_streams() {
    let builder = Builder::new("app");
    let table = builder.table(&T);
    table
        .transform_values(seen(), numbered)
        .to_stream()
        .to(&OUT);
    let text = builder.build().expect("a topology").describe();
    let expected = "Processor: KTABLE-TRANSFORMVALUES-0000000003 (stores: [seen])";
    assert!(text.contains(expected), "{text}");
}
