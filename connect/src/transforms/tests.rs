//! Transforms by example: steps as YAML, a value, and what becomes of it.

use serde_json::{Value, json};

use super::*;
use crate::config::diagnostics::Report;
use crate::config::placeholders::ParseContext;

fn read(yaml: &str, is_source: bool) -> Result<Transforms, String> {
    let node = Node::parse(yaml).map_err(|(message, _)| message)?;
    let mut report = Report::new(yaml, "test.yaml");
    let context = ParseContext::check_only();
    let transforms = Transforms::read(&mut Reader::new(&mut report, &context), &node, is_source);
    report
        .finish()
        .map(|()| transforms)
        .map_err(|diagnostics| diagnostics.to_string())
}

#[track_caller]
fn transform(yaml: &str, value: Value) -> Result<Option<Value>, TransformError> {
    let transforms = read(yaml, false).expect("valid steps");
    Ok(transforms
        .apply(ConnectRecord::of(value))?
        .map(|record| record.value))
}

#[track_caller]
fn check(yaml: &str, value: Value, expected: &Value) {
    let result = transform(yaml, value)
        .expect("the steps fit")
        .expect("the record stays");
    assert_eq!(result.to_string(), expected.to_string());
}

#[track_caller]
fn refused(yaml: &str, part: &str) {
    let error = read(yaml, true).expect_err("a mistake");
    assert!(error.contains(part), "{error}");
}

#[test]
fn filter_keeps_the_records_for_which_it_holds() {
    let steps = "- filter: \"value.level = 'ERROR'\"";
    assert!(transform(steps, json!({"level": "ERROR"})).is_ok_and(|value| value.is_some()));
    assert!(transform(steps, json!({"level": "INFO"})).is_ok_and(|value| value.is_none()));
    assert!(transform(steps, json!("no object")).is_ok_and(|value| value.is_none()));
}

#[test]
fn replace_field_leaves_out_keeps_and_renames() {
    let value = json!({"card": 1, "cust": 2, "amount": 3, "in": {"a": 1, "b": 2}});
    check(
        "- replace_field: { exclude: [card, in.a], rename: { cust: customer_id } }",
        value.clone(),
        &json!({"amount": 3, "in": {"b": 2}, "customer_id": 2}),
    );
    check(
        "- replace_field: { include: [amount, in.b, missing] }",
        value,
        &json!({"amount": 3, "in": {"b": 2}}),
    );
}

#[test]
fn mask_field_hides_by_text_or_by_the_empty_value() {
    let value = json!({"iban": "CH93", "pin": 1234, "on": true, "none": null});
    check(
        "- mask_field: { fields: [iban, pin, missing, none], with: '****' }",
        value.clone(),
        &json!({"iban": "****", "pin": "****", "on": true, "none": null}),
    );
    check(
        "- mask_field: { fields: [iban, pin, on] }",
        value,
        &json!({"iban": "", "pin": 0, "on": false, "none": null}),
    );
}

#[test]
fn insert_field_adds_fixed_values_and_what_is_known_about_the_record() {
    check(
        "- insert_field: { field: region, value: eu }",
        json!({}),
        &json!({"region": "eu"}),
    );
    check(
        "- insert_field: { field: a.b, value: 5 }",
        json!({}),
        &json!({"a": {"b": 5}}),
    );
    let steps = "- insert_field: { field: at, from: timestamp_rfc3339 }\n\
                 - insert_field: { field: ms, from: timestamp }\n\
                 - insert_field: { field: topic, from: topic }\n\
                 - insert_field: { field: offset, from: offset }\n\
                 - insert_field: { field: partition, from: partition }\n\
                 - insert_field: { field: key, from: key }\n";
    let expected = json!({"at": "1970-01-01T00:00:01.000Z", "ms": 1000, "topic": "topic",
        "offset": 7, "partition": 2, "key": "the key"});
    check(steps, json!({}), &expected);
}

#[test]
fn cast_changes_types_and_leaves_null() {
    check(
        "- cast: { fields: { a: integer, b: number, c: text, d: boolean, e: integer, f: text } }",
        json!({"a": "42", "b": "1.5", "c": 7, "d": "true", "e": 3.9, "f": null}),
        &json!({"a": 42, "b": 1.5, "c": "7", "d": true, "e": 3, "f": null}),
    );
    let error = transform("- cast: { fields: { a: integer } }", json!({"a": "many"}));
    let message = error.expect_err("no integer").to_string();
    assert_eq!(message, "transform cast: field `a`: \"many\" is no integer");
}

#[test]
fn when_limits_a_step_to_some_records() {
    let steps = "- mask_field: { fields: [name] }\n  when: value.secret";
    check(
        steps,
        json!({"secret": true, "name": "x"}),
        &json!({"secret": true, "name": ""}),
    );
    check(
        steps,
        json!({"secret": false, "name": "x"}),
        &json!({"secret": false, "name": "x"}),
    );
}

#[test]
fn steps_run_in_their_order() {
    let steps = "- insert_field: { field: level, value: ERROR }\n- filter: value.level = 'ERROR'";
    check(steps, json!({}), &json!({"level": "ERROR"}));
}

#[test]
fn a_field_transform_needs_an_object() {
    let error = transform("- mask_field: { fields: [a] }", json!([1])).expect_err("no object");
    let message = "transform mask_field: the value is a list, not an object with fields";
    assert_eq!(error.to_string(), message);
}

#[test]
fn mistakes_in_steps_are_shown_with_their_place() {
    refused("- fliter: x", "did you mean `filter`?");
    refused("- filter: 'level = 1'", "test.yaml:1:12");
    refused("- ReplaceField: {}", "did you mean `replace_field`?");
    refused("- timestamp_converter: {}", "not supported yet");
    refused(
        "- cast: { fields: { a: integr } }",
        "did you mean `integer`?",
    );
    refused("- insert_field: { field: a }", "`value` is missing");
    refused(
        "- insert_field: { field: a, from: offset }",
        "a source does not know",
    );
    refused("filter: x", "must be a list of steps");
    refused("- when: value.x", "needs a kind");
    refused(
        "- cast: { fields: { a: text } }\n  filter: value.b",
        "one kind",
    );
}
