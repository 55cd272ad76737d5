//! Stateless operators.

use moldau_streams::{RecordHeader, Topic};

use crate::{Nullable, O, S, U, driver, header, send, text, texts};

#[test]
fn nulls_pass_stateless_operators_and_merges() {
    let driver = driver(|builder| {
        let merged = builder.stream(&S).merge(&builder.stream(&U));
        merged.filter(|_, _| true).peek(|_, _| ()).to(&O);
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 5)]);
    send(&driver, &U, &[(Some("a"), Some("2"), 3)]);
    send(&driver, &S, &[(None, None, 4)]);
    assert_eq!(texts(&driver, "o"), ["a=1@5", "a=2@3", "null=null@4"]);
}

#[test]
fn children_get_each_record_in_the_order_they_were_added() {
    let driver = driver(|builder| {
        let stream = builder.stream(&S);
        stream.map_values(|_| text(Some("first"))).to(&O);
        stream.filter_not(|_, _| false).to(&O);
        stream
            .flat_map(|key, value, out: &mut Vec<(Nullable, Nullable)>| {
                out.push((value.clone(), key.clone()));
                out.push((key.clone(), value.clone()));
            })
            .to(&O);
    });
    send(&driver, &S, &[(Some("k"), Some("v"), 1)]);
    assert_eq!(
        texts(&driver, "o"),
        ["k=first@1", "k=v@1", "v=k@1", "k=v@1"]
    );
}

#[test]
fn headers_and_timestamps_stay_with_a_record_through_key_and_value_changes() {
    let driver = driver(|builder| {
        let mapped = builder.stream(&S).map(|_, _| (1_i32, 2_i64));
        mapped
            .map_values(|value| value * 2)
            .select_key(|key, _| i64::from(*key))
            .to(&NUMBERS);
    });
    let headers: Vec<RecordHeader> = vec![header("h", b"1"), header("h", b"2")];
    driver
        .input(&S)
        .send_with_headers(7, text(Some("k")), text(None), headers.clone());
    let output = driver.output(&NUMBERS);
    let records = output.read_records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].headers, headers);
    assert_eq!(records[0].timestamp, 7);
    assert_eq!(
        records[0].key.as_deref(),
        Some([0, 0, 0, 0, 0, 0, 0, 1].as_slice())
    );
}

const NUMBERS: Topic<i64, i64> = Topic::new("numbers");

#[test]
fn an_unchanged_key_and_value_are_written_with_the_very_bytes_they_came_with() {
    let driver = driver(|builder| {
        let json: Topic<Nullable, moldau_streams::Json<serde_json::Value>> = Topic::new("s");
        builder
            .stream(&json)
            .filter(|_, json| json["n"] == 1)
            .to(&Topic::<Nullable, moldau_streams::Json<serde_json::Value>>::new("o"));
    });
    let spaced = "{ \"n\" :  1 }";
    driver
        .input(&S)
        .send_raw(0, Some(b"k"), Some(spaced.as_bytes()))
        .expect("sent");
    let output = driver.raw_topic("o");
    assert_eq!(output[0].value.as_deref(), Some(spaced.as_bytes()));
}

#[test]
fn a_merge_below_a_merge_gets_every_record_once() {
    let driver = driver(|builder| {
        let (s, u) = (builder.stream(&S), builder.stream(&U));
        let one = s.merge(&u);
        one.merge(&s.map_values(Clone::clone)).to(&O);
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 1)]);
    send(&driver, &U, &[(Some("b"), Some("2"), 2)]);
    assert_eq!(texts(&driver, "o"), ["a=1@1", "a=1@1", "b=2@2"]);
}

#[test]
fn a_stream_merged_with_itself_is_itself() {
    let test = driver(|builder| {
        let stream = builder.stream(&S);
        stream.merge(&stream).to(&O);
    });
    send(&test, &S, &[(Some("k"), Some("v"), 1)]);
    assert_eq!(texts(&test, "o"), ["k=v@1"]);
}
