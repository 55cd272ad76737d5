//! Keys and values that carry the id of their schema: Avro and Protobuf.

use std::sync::Once;

use apache_avro::{AvroSchema, Schema};
use moldau_streams::runtime::LocalTopicRecord;
use moldau_streams::{
    Avro, Builder, FixedSchemas, OnError, Proto, ProtoMessage, Str, TestDriver, Topic,
    use_schema_registry,
};
use prost::Message;
use serde::{Deserialize, Serialize};

/// A payment as it is now; an earlier schema had no currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    amount: i64,
    currency: String,
    note: Option<String>,
}

const PAYMENT: &str = r#"{"type":"record","name":"Payment","fields":[
    {"name":"amount","type":"long"},
    {"name":"currency","type":"string","default":"EUR"},
    {"name":"note","type":["null","string"],"default":null}]}"#;
const OLD_PAYMENT: &str =
    r#"{"type":"record","name":"Payment","fields":[{"name":"amount","type":"int"}]}"#;
const NO_PAYMENT: &str =
    r#"{"type":"record","name":"Other","fields":[{"name":"x","type":"string"}]}"#;

impl AvroSchema for Payment {
    fn get_schema() -> Schema {
        Schema::parse_str(PAYMENT).expect("a schema")
    }
}

/// A sensor's reading; the second message of its file.
#[derive(Clone, PartialEq, Message)]
struct Reading {
    #[prost(string, tag = "1")]
    sensor: String,
    #[prost(int64, tag = "2")]
    value: i64,
}

impl ProtoMessage for Reading {
    const SCHEMA: &'static str = "syntax = \"proto3\"; message Header {} message Reading { string sensor = 1; int64 value = 2; }";
    const INDEXES: &'static [i32] = &[1];
}

/// The first message of its file.
#[derive(Clone, PartialEq, Message)]
struct Total {
    #[prost(int64, tag = "1")]
    value: i64,
}

impl ProtoMessage for Total {
    const SCHEMA: &'static str = "syntax = \"proto3\"; message Total { int64 value = 1; }";
}

const PAYMENTS: Topic<Str, Avro<Payment>> = Topic::new("payments");
const PAID: Topic<Str, Avro<Payment>> = Topic::new("paid");
const READINGS: Topic<Str, Proto<Reading>> = Topic::new("readings");
const TOTALS: Topic<Str, Proto<Total>> = Topic::new("totals");

fn registry() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let text = serde_json::to_string(&Payment::get_schema()).expect("a text");
        let schemas = FixedSchemas::new()
            .with(258, text)
            .with(1, OLD_PAYMENT)
            .with(2, NO_PAYMENT)
            .with(7, Reading::SCHEMA)
            .with(8, Total::SCHEMA);
        use_schema_registry(schemas).expect("the first one");
    });
}

fn payments() -> TestDriver {
    registry();
    let builder = Builder::new("app");
    builder.on_deserialization_error(OnError::dead_letter("refused"));
    let table = builder.table_as(&PAYMENTS, "payments");
    table.to_stream().to(&PAID);
    builder
        .build()
        .expect("a topology")
        .test()
        .expect("a driver")
}

fn payment(amount: i64, currency: &str, note: Option<&str>) -> Payment {
    Payment {
        amount,
        currency: currency.to_owned(),
        note: note.map(str::to_owned),
    }
}

fn value(record: &LocalTopicRecord) -> &[u8] {
    record.value.as_deref().expect("a value")
}

#[test]
fn avro_is_written_with_magic_byte_and_schema_id() {
    let driver = payments();
    let sent = payment(3, "USD", Some("x"));
    driver.input(&PAYMENTS).send("a", sent.clone());
    let written = driver.raw_topic("payments");
    // Zigzag 3, a string of three bytes, the second branch of the union, a string of one byte.
    assert_eq!(value(&written[0]), b"\0\0\0\x01\x02\x06\x06USD\x02\x02x");
    assert_eq!(driver.output(&PAID).read(), [(Str::from("a"), Avro(sent))]);
}

#[test]
fn avro_of_an_older_schema_is_read_with_the_defaults_of_the_new_one() {
    let driver = payments();
    let sent = driver
        .input(&PAYMENTS)
        .send_raw(0, Some(b"a"), Some(b"\0\0\0\0\x01\x0a"));
    sent.expect("readable");
    let store = driver.store::<Str, Avro<Payment>>("payments");
    assert_eq!(store.get("a"), Some(Avro(payment(5, "EUR", None))));
}

#[test]
fn avro_that_does_not_fit_or_has_no_known_schema_goes_the_way_of_errors() {
    let driver = payments();
    let broken: [&[u8]; 5] = [
        b"\0\0\0\0\x02\x02x",
        b"\0\0\0\0\x63\x02",
        b"{\"amount\":1}",
        b"\0\0",
        b"\0\0\0\x01\x02\x06\x7f",
    ];
    for bytes in broken {
        let sent = driver.input(&PAYMENTS).send_raw(0, Some(b"a"), Some(bytes));
        sent.expect("a policy");
    }
    let refused = driver.raw_topic("refused");
    let reasons = refused.iter().map(|record| {
        let header = record
            .headers
            .iter()
            .find(|h| h.key.as_str() == "__streams.errors.message");
        let text = header
            .and_then(|header| header.value.clone())
            .unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    });
    let reasons: Vec<_> = reasons.collect();
    assert!(
        reasons[0].contains("no fitting Avro of schema 2"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].contains("no fixed schema has the id 99"),
        "{reasons:?}"
    );
    assert!(reasons[2].contains("first byte is 0x7b"), "{reasons:?}");
    assert!(reasons[3].contains("too short"), "{reasons:?}");
    assert!(reasons[4].contains("no fitting Avro"), "{reasons:?}");
}

#[test]
fn tombstones_of_avro_values_are_null() {
    let driver = payments();
    driver.input(&PAYMENTS).send("a", payment(1, "EUR", None));
    let sent = driver.input(&PAYMENTS).send_raw(1, Some(b"a"), None);
    sent.expect("a tombstone");
    assert_eq!(driver.raw_topic("paid")[1].value, None);
}

#[test]
fn protobuf_is_written_with_the_place_of_its_message() {
    registry();
    let builder = Builder::new("app");
    let totals = builder.stream(&READINGS).map_values(|reading| {
        Proto(Total {
            value: reading.value * 2,
        })
    });
    totals.to(&TOTALS);
    let driver = builder
        .build()
        .expect("a topology")
        .test()
        .expect("a driver");
    let reading = Reading {
        sensor: "s".to_owned(),
        value: 21,
    };
    driver.input(&READINGS).send("a", reading);
    let written = driver.raw_topic("readings");
    // One index, which is 1, both as zigzag numbers; then the fields.
    assert_eq!(value(&written[0]), b"\0\0\0\0\x07\x02\x02\x0a\x01s\x10\x15");
    // The first message of a file is a single 0.
    assert_eq!(
        value(&driver.raw_topic("totals")[0]),
        b"\0\0\0\0\x08\0\x08\x2a"
    );
    let other = driver
        .input(&READINGS)
        .send_raw(0, Some(b"a"), Some(b"\0\0\0\0\x08\0\x08\x2a"));
    let error = other.expect_err("another message").to_string();
    assert!(
        error.contains("it is message [0] of schema 8, not [1]"),
        "{error}"
    );
    let cut = driver
        .input(&READINGS)
        .send_raw(0, Some(b"a"), Some(b"\0\0\0\0\x07\x7e\x02"));
    assert!(cut.is_err());
}

#[test]
fn a_schema_that_no_registry_knows_is_not_written() {
    #[derive(Clone, PartialEq, Message)]
    struct Unknown {
        #[prost(int64, tag = "1")]
        value: i64,
    }
    impl ProtoMessage for Unknown {
        const SCHEMA: &'static str = "message Unknown {}";
    }
    registry();
    let builder = Builder::new("app");
    let unknown = builder
        .stream(&READINGS)
        .map_values(|_| Proto(Unknown { value: 1 }));
    unknown.to(&Topic::<Str, Proto<Unknown>>::new("unknown"));
    let driver = builder
        .build()
        .expect("a topology")
        .test()
        .expect("a driver");
    let sent = driver
        .input(&READINGS)
        .try_send_at(0, "a", Reading::default());
    let error = sent.expect_err("an unknown schema").to_string();
    assert!(error.contains("subject \"unknown-value\""), "{error}");
}

#[test]
fn a_process_has_one_registry() {
    registry();
    assert!(use_schema_registry(FixedSchemas::new()).is_err());
}
