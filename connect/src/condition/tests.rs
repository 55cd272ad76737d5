//! Conditions by example.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};
use serde_json::json;

use super::*;

fn record() -> ConnectRecord {
    let mut record = ConnectRecord::of(json!({
        "level": "ERROR", "code": 500, "ratio": 0.75, "ok": false, "nothing": null,
        "user": {"name": "Jan", "tags": ["a", "b"]}, "with space": 1
    }));
    record.key = Some(Bytes::from_static(br#"{"id": 9}"#));
    for value in ["first", "last"] {
        let value = Some(Bytes::from_static(value.as_bytes()));
        record.headers.push(RecordHeader {
            key: KString::from("origin"),
            value,
        });
    }
    record
}

#[track_caller]
fn holds(text: &str) {
    let condition = Condition::parse(text).expect("a condition");
    assert!(condition.holds(&record()), "should hold: {text}");
}

#[track_caller]
fn fails(text: &str) {
    let condition = Condition::parse(text).expect("a condition");
    assert!(!condition.holds(&record()), "should not hold: {text}");
}

#[track_caller]
fn wrong(text: &str, message: &str, column: usize) {
    let expected = ConditionError {
        message: message.to_owned(),
        column,
    };
    assert_eq!(Condition::parse(text), Err(expected));
}

#[test]
fn fields_compare_with_texts_and_numbers() {
    holds("value.level = 'ERROR'");
    holds("value.code >= 500 and value.code < 501");
    holds("value.ratio > 0.5");
    holds("value.code <> 404");
    holds("value.user.name != 'Eva'");
    holds("value.user.tags.1 = 'b'");
    holds("value.`with space` = 1");
    fails("value.level = 'error'");
    fails("value.code > 1e3");
    fails("value.code = -500");
}

#[test]
fn different_kinds_are_never_equal_and_have_no_order() {
    fails("value.code = '500'");
    holds("value.code <> '500'");
    fails("value.code < 'a'");
    fails("NOT value.code < 'a'");
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    holds("value.code = 1 AND value.code = 2 OR value.level = 'ERROR'");
    fails("value.code = 1 AND (value.code = 2 OR value.level = 'ERROR')");
    holds("NOT value.code = 1 AND NOT (value.code = 2)");
}

#[test]
fn what_is_missing_is_unknown_and_an_unknown_record_does_not_pass() {
    fails("value.missing = 1");
    fails("value.missing <> 1");
    fails("NOT value.missing = 1");
    holds("value.missing IS NULL AND value.nothing IS NULL");
    holds("value.code IS NOT NULL");
    holds("value.missing = 1 OR value.code = 500");
    fails("value.nothing = NULL");
}

#[test]
fn lists_and_patterns() {
    holds("value.code IN (404, 500)");
    fails("value.code NOT IN (404, 500)");
    fails("value.code NOT IN (404, NULL)");
    holds("value.level LIKE 'ERR%'");
    holds("value.level LIKE '%R_R%'");
    holds("value.level NOT LIKE '%warn%'");
    fails("value.level LIKE 'ERR'");
    holds("value.level LIKE '%%%'");
}

#[test]
fn key_headers_and_the_place_of_the_record() {
    holds("key = '{\"id\": 9}' AND key.id = 9");
    holds("headers.origin = 'last'");
    holds("headers.missing IS NULL");
    holds("topic = 'topic' AND partition = 2 AND offset = 7 AND timestamp >= 1000");
    fails("value.ok");
    holds("NOT value.ok");
}

#[test]
fn mistakes_say_what_is_expected_and_where() {
    wrong(
        "level = 1",
        "unknown name `level`, did you mean `value.level`?",
        0,
    );
    wrong("value.a = ", "expected a field, a text or a number", 10);
    wrong("value.a == 1 value.b", "expected AND, OR or the end", 13);
    wrong(
        "value.a = \"x\"",
        "texts stand in single quotes: 'text'",
        10,
    );
    wrong("value.a = 'x", "the closing ' is missing", 10);
    wrong("value.a IS 5", "expected NULL or NOT NULL", 11);
    wrong("value.a IN (value.b)", "expected a text or a number", 12);
    wrong("(value.a = 1", "expected `)`", 12);
    wrong("value.a ~ 1", "`~` has no meaning here", 8);
    wrong("value.a = 1.2.3", "`1.2.3` is no number", 10);
    wrong("", "expected a field, a text or a number", 0);
}

#[test]
fn endless_nesting_is_refused() {
    let text = format!("{}value.a = 1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(Condition::parse(&text).is_err_and(|e| e.message.contains("64 levels")));
}
