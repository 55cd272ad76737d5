//! What each format reads and writes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::parser::parse_type_text;
use crate::render::cell;

fn columns(text: &str) -> Vec<Column> {
    let split = |part: &str| {
        let (name, sql_type) = part.trim().split_once(' ').expect("a name and a type");
        Column::new(name, parse_type_text(sql_type).expect("a type"))
    };
    text.split(';').map(split).collect()
}

fn decode(format: &Format, columns: &[Column], records: &[&[u8]]) -> (Vec<ArrayRef>, Vec<String>) {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = format.decoder(columns, Place::Value, &wanted);
    let mut builders: Vec<ColumnBuilder> = columns
        .iter()
        .map(|column| ColumnBuilder::new(&column.sql_type, 0))
        .collect();
    let mut errors = Vec::new();
    for record in records {
        let mut slots = vec![Datum::Null; columns.len()];
        match decoder.decode(record, &mut slots) {
            Ok(()) => {
                for (builder, slot) in builders.iter_mut().zip(slots) {
                    builder.append(slot);
                }
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    (
        builders.iter_mut().map(ColumnBuilder::finish).collect(),
        errors,
    )
}

fn encode(format: &Format, columns: &[Column], arrays: &[ArrayRef]) -> Vec<Vec<u8>> {
    let encoder = format.encoder(columns, Place::Value);
    let bound = encoder.bind(arrays).expect("column types");
    let rows = arrays.first().map_or(0, |array| array.len());
    (0..rows)
        .map(|row| {
            let mut out = Vec::new();
            bound.write(row, &mut out);
            out
        })
        .collect()
}

fn check(format: &str, declared: &str, records: &[&str], expected: Expect) {
    let format: Format = format.parse().expect("a format");
    let columns = columns(declared);
    let bytes: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
    let (arrays, errors) = decode(&format, &columns, &bytes);
    let mut out = String::new();
    for row in 0..arrays[0].len() {
        let cells: Vec<String> = arrays
            .iter()
            .map(|array| cell(array.as_ref(), row).unwrap_or_else(|| "NULL".to_owned()))
            .collect();
        out.push_str(&format!("{}\n", cells.join(" | ")));
    }
    for error in errors {
        out.push_str(&format!("error: {error}\n"));
    }
    out.push_str("-- written\n");
    for bytes in encode(&format, &columns, &arrays) {
        out.push_str(&format!("{}\n", String::from_utf8_lossy(&bytes)));
    }
    expected.assert_eq(&out);
}

#[test]
fn json_scalars() {
    check(
        "JSON",
        "b BOOLEAN; i INT; l BIGINT; d DOUBLE; m DECIMAL(6, 2); s VARCHAR; y BYTES; t TIMESTAMP; a DATE; c TIME",
        &[
            r#"{"b":true,"i":1,"l":9007199254740993,"d":1.5,"m":12.30,"s":"x","y":"AQI=","t":1000,"a":1,"c":1}"#,
            r#"{"I":"7","L":1e3,"D":3,"M":"1.5","S":5,"T":"2024-01-02T03:04:05Z","A":"2024-01-02","C":"01:02:03.004"}"#,
            r#" { "s" : {"a":[1, 2]}, "unknown": [{"x":"\""}], "d":"NaN" } "#,
            "{}",
            r#"{"s":"a\"\\\n\u00e9\ud83d\ude00"}"#,
            "null",
        ],
        expect![[r#"
            true | 1 | 9007199254740993 | 1.5 | 12.30 | x | 0102 | 1970-01-01T00:00:01 | 1970-01-02 | 00:00:00.001
            NULL | 7 | 1000 | 3.0 | 1.50 | 5 | NULL | 2024-01-02T03:04:05 | 2024-01-02 | 01:02:03.004
            NULL | NULL | NULL | NaN | NULL | {"a":[1, 2]} | NULL | NULL | NULL | NULL
            NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL
            NULL | NULL | NULL | NULL | NULL | a"\
            é😀 | NULL | NULL | NULL | NULL
            NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL
            -- written
            {"b":true,"i":1,"l":9007199254740993,"d":1.5,"m":12.30,"s":"x","y":"AQI=","t":1000,"a":1,"c":1}
            {"b":null,"i":7,"l":1000,"d":3.0,"m":1.50,"s":"5","y":null,"t":1704164645000,"a":19724,"c":3723004}
            {"b":null,"i":null,"l":null,"d":"NaN","m":null,"s":"{\"a\":[1, 2]}","y":null,"t":null,"a":null,"c":null}
            {"b":null,"i":null,"l":null,"d":null,"m":null,"s":null,"y":null,"t":null,"a":null,"c":null}
            {"b":null,"i":null,"l":null,"d":null,"m":null,"s":"a\"\\\né😀","y":null,"t":null,"a":null,"c":null}
            {"b":null,"i":null,"l":null,"d":null,"m":null,"s":null,"y":null,"t":null,"a":null,"c":null}
        "#]],
    );
}

#[test]
fn json_nested() {
    check(
        "JSON",
        "a ARRAY<INT>; m MAP<VARCHAR, DOUBLE>; s STRUCT<x INT, y ARRAY<VARCHAR>>",
        &[
            r#"{"a":[1,null,3],"m":{"k":1.5,"z":null},"s":{"X":1,"y":["p","q"],"more":true}}"#,
            r#"{"a":[],"m":{},"s":{}}"#,
            r#"{"a":null}"#,
        ],
        expect![[r#"
            [1, , 3] | {k: 1.5, z: } | {x: 1, y: [p, q]}
            [] | {} | {x: , y: }
            NULL | NULL | NULL
            -- written
            {"a":[1,null,3],"m":{"k":1.5,"z":null},"s":{"x":1,"y":["p","q"]}}
            {"a":[],"m":{},"s":{"x":null,"y":null}}
            {"a":null,"m":null,"s":null}
        "#]],
    );
}

#[test]
fn bad_json_is_left_out_and_explained() {
    check(
        "JSON",
        "i INT; b BOOLEAN; m DECIMAL(4, 2); a ARRAY<INT>",
        &[
            r#"{"i":1}"#,
            r#"{"i":1.5}"#,
            r#"{"i":3000000000}"#,
            r#"{"i":"x"}"#,
            r#"{"b":"true"}"#,
            r#"{"m":1.234}"#,
            r#"{"m":123.4}"#,
            r#"{"a":{}}"#,
            r#"{"i":1"#,
            r#"{"i":1}}"#,
            r#"[1]"#,
            "x",
            "",
            r#"{"i":2}"#,
        ],
        expect![[r#"
            1 | NULL | NULL | NULL
            2 | NULL | NULL | NULL
            error: column `i`: `1.5` is not of type INT
            error: column `i`: `3000000000` is not of type INT
            error: column `i`: `x` is not of type INT
            error: column `b`: `"true"` is not of type BOOLEAN
            error: column `m`: `1.234` is not of type DECIMAL(4, 2)
            error: column `m`: `123.4` is not of type DECIMAL(4, 2)
            error: column `a`: `{}` is not of type ARRAY<INT>
            error: not JSON at byte 6: expected `,`, found the end
            error: not JSON at byte 7: expected the end, found `}`
            error: not JSON at byte 0: expected `{`, found `[`
            error: not JSON at byte 0: expected `{`, found `x`
            error: not JSON at byte 0: expected `{`, found the end
            -- written
            {"i":1,"b":null,"m":null,"a":null}
            {"i":2,"b":null,"m":null,"a":null}
        "#]],
    );
}

#[test]
fn delimited() {
    check(
        "DELIMITED",
        "i INT; s VARCHAR; d DOUBLE",
        &[
            "1,abc,2.5",
            "2,\"a,\"\"b\"\"\",",
            ",\"\",\n",
            "1,2",
            "1,\"open,2",
            "x,y,1",
        ],
        expect![[r#"
            1 | abc | 2.5
            2 | a,"b" | NULL
            NULL |  | NULL
            error: 2 fields, but 3 columns
            error: a quoted field has no end
            error: column `i`: `x` is not of type INT
            -- written
            1,abc,2.5
            2,"a,""b""",
            ,"",
        "#]],
    );
}

#[test]
fn kafka_primitives() {
    for (sql_type, bytes, text) in [
        ("INT", vec![0xff, 0xff, 0xff, 0xfe], "-2"),
        ("BIGINT", vec![0, 0, 0, 0, 0, 0, 1, 0], "256"),
        ("DOUBLE", vec![0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5"),
        ("VARCHAR", b"hi".to_vec(), "hi"),
        ("BOOLEAN", vec![1], "true"),
    ] {
        let columns = columns(&format!("c {sql_type}"));
        let (arrays, errors) = decode(&Format::Kafka, &columns, &[&bytes, b"\xff\xfe\xfd"]);
        assert_eq!(cell(arrays[0].as_ref(), 0).as_deref(), Some(text));
        assert_eq!(errors.len(), 1, "{sql_type}");
        assert_eq!(encode(&Format::Kafka, &columns, &arrays), vec![bytes]);
    }
}

#[test]
fn a_lone_key_column_is_a_bare_json_value() {
    let columns = columns("id VARCHAR");
    let mut decoder = Format::Json.decoder(&columns, Place::Key, &[0]);
    let mut slots = vec![Datum::Null];
    decoder.decode(b"\"k\"", &mut slots).expect("a JSON string");
    assert_eq!(slots, [Datum::Text("k".into())]);
    let array: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["k"]));
    let encoder = Format::Json.encoder(&columns, Place::Key);
    let mut out = Vec::new();
    assert!(encoder.bind(&[array]).expect("bound").write(0, &mut out));
    assert_eq!(out, b"\"k\"");
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let columns = columns("i INT; s VARCHAR; a ARRAY<INT>; m DECIMAL(10, 3); t TIMESTAMP; y BYTES");
        decode(&Format::Json, &columns, &[&bytes]);
        let flat = &columns[..2];
        decode(&Format::Delimited { delimiter: ',' }, flat, &[&bytes]);
    }

    #[test]
    fn no_text_like_json_makes_the_decoder_panic(text in r#"[\[\]{}:,"\\0-9.eE+a-cu nt-]{0,48}"#) {
        let columns = columns("a INT; b VARCHAR; c ARRAY<DOUBLE>; e MAP<VARCHAR, INT>; t TIME");
        decode(&Format::Json, &columns, &[text.as_bytes(), format!("{{\"a\":{text}}}").as_bytes()]);
    }

    #[test]
    fn json_reads_what_it_wrote(
        rows in proptest::collection::vec((any::<Option<i64>>(), any::<Option<String>>(), any::<f64>(), any::<Option<bool>>()), 1..20)
    ) {
        let columns = columns("l BIGINT; s VARCHAR; d DOUBLE; b BOOLEAN");
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from_iter(rows.iter().map(|r| r.0))),
            Arc::new(arrow::array::StringArray::from_iter(rows.iter().map(|r| r.1.as_deref()))),
            Arc::new(arrow::array::Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
            Arc::new(arrow::array::BooleanArray::from_iter(rows.iter().map(|r| r.3))),
        ];
        let bytes = encode(&Format::Json, &columns, &arrays);
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let (back, errors) = decode(&Format::Json, &columns, &slices);
        prop_assert!(errors.is_empty(), "{errors:?}");
        let schema = Arc::new(Schema::new(columns.iter().map(Column::to_field).collect::<Vec<_>>()));
        let left = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
        let right = RecordBatch::try_new(schema, back).expect("a batch");
        // NaN is not equal to itself.
        prop_assert_eq!(format!("{left:?}"), format!("{right:?}"));
    }
}
