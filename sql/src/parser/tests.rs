//! Tables of statements: what is read, and what is refused with which words.

use expect_test::{Expect, expect};

use super::*;

fn check(text: &str, expected: Expect) {
    let mut out = String::new();
    for result in parse_each(text) {
        let line = match result {
            Ok(parsed) => summary(&parsed.statement),
            Err(error) => format!("error: {error}"),
        };
        out.push_str(&line);
        out.push('\n');
    }
    expected.assert_eq(&out);
}

fn summary(statement: &Statement) -> String {
    match statement {
        Statement::CreateSource(create) => {
            let columns: Vec<String> = create
                .columns
                .iter()
                .map(|c| match c.key {
                    ColumnKey::None => format!("{} {}", c.name, c.sql_type),
                    _ => format!("{} {} {:?}", c.name, c.sql_type, c.key),
                })
                .collect();
            format!(
                "create {} {}{} ({}) {}",
                create.kind,
                create.name,
                flags(create.or_replace, create.if_not_exists),
                columns.join(", "),
                properties(&create.properties)
            )
        }
        Statement::CreateAs(create) => format!(
            "create {} {}{} {} as {}",
            create.kind,
            create.name,
            flags(create.or_replace, create.if_not_exists),
            properties(&create.properties),
            select(&create.select)
        ),
        Statement::PushQuery(query) => format!("push {}", select(query)),
        Statement::Query(query) => format!("query {}", select(query)),
        Statement::DataFusion(inner) => format!("datafusion {inner}"),
        Statement::Insert(insert) => {
            let rows: Vec<String> = insert
                .rows
                .iter()
                .map(|row| {
                    let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
                    format!("[{}]", cells.join(", "))
                })
                .collect();
            format!(
                "insert {} {:?} {}",
                insert.name,
                insert.columns,
                rows.join(" ")
            )
        }
        other => format!("{other:?}"),
    }
}

fn flags(or_replace: bool, if_not_exists: bool) -> &'static str {
    match (or_replace, if_not_exists) {
        (true, _) => " or replace",
        (_, true) => " if not exists",
        _ => "",
    }
}

fn properties(list: &[Property]) -> String {
    let list: Vec<String> = list
        .iter()
        .map(|p| format!("{}={}", p.name, p.value))
        .collect();
    format!("{{{}}}", list.join(", "))
}

fn select(select: &StreamSelect) -> String {
    let mut out = select.query.to_string();
    if let Some(window) = select.window {
        out.push_str(&format!(
            " | tumbling {} ms, grace {:?}",
            window.size_ms, window.grace_ms
        ));
    }
    if let Some(keys) = &select.partition_by {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        out.push_str(&format!(" | partition by {}", keys.join(", ")));
    }
    if select.emit_changes {
        out.push_str(" | emit changes");
    }
    if let Some(limit) = select.limit {
        out.push_str(&format!(" | limit {limit}"));
    }
    out
}

#[test]
fn create_stream_and_table() {
    check(
        "CREATE STREAM Orders (id BIGINT KEY, Item VARCHAR, `Kept` DECIMAL(10, 2), \
           tags ARRAY<STRUCT<name STRING, m MAP<VARCHAR, ARRAY<INT>>>>) \
           WITH (kafka_topic = 'orders', VALUE_FORMAT='json', PARTITIONS=3);\
         create or replace table users (id int primary key, name string(20)) with ('kafka_topic'='u');\
         CREATE STREAM IF NOT EXISTS s (a INTEGER) WITH (KAFKA_TOPIC='t', TIMESTAMP='a')",
        expect![[r#"
            create stream orders (id BIGINT Key, item VARCHAR, Kept DECIMAL(10, 2), tags ARRAY<STRUCT<name VARCHAR, m MAP<VARCHAR, ARRAY<INT>>>>) {KAFKA_TOPIC=orders, VALUE_FORMAT=json, PARTITIONS=3}
            error: line 1:263: expected `)`, found `(`
            create stream s if not exists (a INT) {KAFKA_TOPIC=t, TIMESTAMP=a}
        "#]],
    );
}

#[test]
fn create_as_select() {
    check(
        "CREATE STREAM big AS SELECT id, price * 2 AS double_price FROM orders WHERE price > 100 \
           PARTITION BY id, upper(item) EMIT CHANGES;\
         CREATE TABLE counts WITH (VALUE_FORMAT='DELIMITED') AS SELECT item, COUNT(*) AS n FROM orders \
           WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 1 MINUTE) WHERE price > 0 GROUP BY item \
           HAVING COUNT(*) > 3 EMIT CHANGES;\
         CREATE TABLE plain AS SELECT item, row_number() OVER (PARTITION BY a ORDER BY b) r FROM orders",
        expect![[r#"
            create stream big {} as SELECT id, price * 2 AS double_price FROM orders WHERE price > 100 | partition by id, upper(item) | emit changes
            create table counts {VALUE_FORMAT=DELIMITED} as SELECT item, COUNT(*) AS n FROM orders WHERE price > 0 GROUP BY item HAVING COUNT(*) > 3 | tumbling 10000 ms, grace Some(60000) | emit changes
            create table plain {} as SELECT item, row_number() OVER (PARTITION BY a ORDER BY b) AS r FROM orders
        "#]],
    );
}

#[test]
fn queries() {
    check(
        "SELECT * FROM orders EMIT CHANGES LIMIT 3;\
         select * from orders limit 5 emit changes;\
         WITH t AS (SELECT 1 AS a) SELECT a FROM t ORDER BY a LIMIT 2;\
         SELECT o.id FROM orders AS o JOIN users u ON o.user_id = u.id;\
         EXPLAIN SELECT 1;\
         EXPLAIN csas_big_3;\
         SELECT emit FROM t",
        expect![[r#"
            push SELECT * FROM orders | emit changes | limit 3
            push SELECT * FROM orders | emit changes | limit 5
            query WITH t AS (SELECT 1 AS a) SELECT a FROM t ORDER BY a LIMIT 2
            query SELECT o.id FROM orders AS o JOIN users u ON o.user_id = u.id
            datafusion EXPLAIN SELECT 1
            Explain(Query("csas_big_3"))
            query SELECT emit FROM t
        "#]],
    );
}

#[test]
fn small_statements() {
    check(
        "INSERT INTO orders (id, item) VALUES (1, 'a'), (2, 'b' || 'c');\
         SHOW TOPICS; LIST ALL TOPICS; show streams; SHOW TABLES; SHOW QUERIES; SHOW server_version;\
         DESCRIBE orders; DESCRIBE EXTENDED orders; DESCRIBE orders EXTENDED;\
         PRINT 'my-topic' FROM BEGINNING INTERVAL 2 LIMIT 10; PRINT Plain; PRINT a.b-c;\
         DROP STREAM IF EXISTS s DELETE TOPIC; DROP TABLE t;\
         TERMINATE ALL; TERMINATE CSAS_BIG_3;\
         SET 'auto.offset.reset' = 'earliest'; SET a.b TO 3; UNSET 'auto.offset.reset'; BEGIN; -- end",
        expect![[r#"
            insert orders ["id", "item"] [1, 'a'] [2, 'b' || 'c']
            Show(Topics { all: false })
            Show(Topics { all: true })
            Show(Streams)
            Show(Tables)
            Show(Queries)
            ShowVariable("server_version")
            Describe(Describe { name: "orders", extended: false })
            Describe(Describe { name: "orders", extended: true })
            Describe(Describe { name: "orders", extended: true })
            Print(Print { topic: "my-topic", from_beginning: true, interval: Some(2), limit: Some(10) })
            Print(Print { topic: "Plain", from_beginning: false, interval: None, limit: None })
            Print(Print { topic: "a.b-c", from_beginning: false, interval: None, limit: None })
            Drop(DropSource { kind: Stream, if_exists: true, name: "s", delete_topic: true })
            Drop(DropSource { kind: Table, if_exists: false, name: "t", delete_topic: false })
            Terminate(All)
            Terminate(Query("csas_big_3"))
            Set(SetVariable { name: "auto.offset.reset", value: "earliest" })
            Set(SetVariable { name: "a.b", value: "3" })
            Unset("auto.offset.reset")
            Transaction("BEGIN")
        "#]],
    );
}

#[test]
fn mistakes_have_a_place_and_a_hint() {
    check(
        "CREATE STREAM s (id NUMBER);\n\
         CREATE STREAM s (id INT PRIMARY KEY);\n\
         CREATE TABLE t (id INT KEY);\n\
         CREATE STREAM s (id INT, id INT);\n\
         CREATE STREAM s;\n\
         CREATE STREAM s (id INT) WITH (KAFKA_TOPIC);\n\
         CREATE STREAM s (id MAP<INT, INT>);\n\
         CREATE STREAM s (id DECIMAL(50, 2));\n\
         SELECT FROM WHERE;\n\
         SELECT * FROM a EMIT CHANGES WHERE x;\n\
         SELEC 1;\n\
         SELECT * FROM (SELECT * FROM a EMIT CHANGES) b;\n\
         LIST users;\n\
         SELECT 'open",
        expect![[r#"
            error: line 14:8: unterminated string literal
        "#]],
    );
    check(
        "CREATE STREAM s (id NUMBER);\n\
         CREATE STREAM s (id INT PRIMARY KEY);\n\
         CREATE TABLE t (id INT KEY);\n\
         CREATE STREAM s (id INT, id INT);\n\
         CREATE STREAM s;\n\
         CREATE STREAM s (id INT) WITH (KAFKA_TOPIC);\n\
         CREATE STREAM s (id MAP<INT, INT>);\n\
         CREATE STREAM s (id DECIMAL(50, 2));\n\
         SELECT FROM WHERE;\n\
         SELECT * FROM a EMIT CHANGES WHERE x;\n\
         SELEC 1;\n\
         SELECT * FROM (SELECT * FROM a EMIT CHANGES) b;\n\
         LIST users",
        expect![[r#"
            error: line 1:21: unknown type `NUMBER`
            hint: types are BOOLEAN, INT, BIGINT, DOUBLE, DECIMAL(p, s), VARCHAR, BYTES, TIMESTAMP, DATE, TIME, ARRAY<..>, MAP<VARCHAR, ..>, STRUCT<name type, ..>
            error: line 2:25: column `id` of a stream cannot be PRIMARY KEY
            hint: write KEY: rows of a stream do not replace each other
            error: line 3:24: column `id` of a table cannot be KEY
            hint: write PRIMARY KEY
            error: line 4:26: column `id` is named twice
            error: line 5:16: expected a list of columns or AS SELECT, found the end of the statement
            hint: for example CREATE STREAM s (id BIGINT KEY, text VARCHAR) WITH (KAFKA_TOPIC = 's', VALUE_FORMAT = 'JSON')
            error: line 6:43: expected `=`, found `)`
            error: line 7:25: keys of a MAP are VARCHAR, not INT
            error: line 8:28: DECIMAL(50, 2) is out of range
            hint: precision is 1 to 38, and scale is at most the precision
            query SELECT FROM WHERE
            error: line 10:30: expected the end of the statement, found `WHERE`
            error: line 11:1: expected an SQL statement, found SELEC
            error: line 12:32: EMIT CHANGES inside of parentheses
            hint: EMIT CHANGES ends the whole statement
            error: line 13:6: cannot list `users`
            hint: LIST TOPICS | STREAMS | TABLES | QUERIES | PROPERTIES | FUNCTIONS
        "#]],
    );
}

#[test]
fn what_is_not_there_yet_says_so() {
    check(
        "SELECT a, COUNT(*) FROM s WINDOW HOPPING (SIZE 1 MINUTE, ADVANCE BY 10 SECONDS) GROUP BY a EMIT CHANGES;\
         SELECT a, COUNT(*) FROM s WINDOW SESSION (1 MINUTE) GROUP BY a EMIT CHANGES;\
         SELECT * FROM a JOIN b WITHIN 1 HOUR ON a.x = b.x EMIT CHANGES;\
         SELECT a, COUNT(*) FROM s GROUP BY a EMIT FINAL;\
         INSERT INTO a SELECT * FROM b;\
         CREATE SOURCE CONNECTOR c WITH (a = 'b');\
         PAUSE ALL; DELETE FROM t; CREATE MATERIALIZED VIEW v AS SELECT 1",
        expect![[r#"
            error: line 1:27: not supported yet: HOPPING windows
            hint: tumbling windows are there: WINDOW TUMBLING (SIZE 1 MINUTE)
            error: line 1:131: not supported yet: SESSION windows
            hint: tumbling windows are there: WINDOW TUMBLING (SIZE 1 MINUTE)
            error: line 1:204: not supported yet: joins of streams within a time (WITHIN)
            error: line 1:281: not supported yet: EMIT FINAL
            hint: EMIT CHANGES gives every new result of a window
            error: line 1:292: not supported yet: INSERT INTO .. SELECT
            hint: INSERT INTO .. VALUES writes single rows; CREATE STREAM .. AS SELECT feeds a topic
            error: line 1:329: not supported yet: CREATE SOURCE
            hint: connectors are written in moldau.yaml
            error: line 1:363: not supported yet: PAUSE of a query
            hint: TERMINATE the query and create it again
            error: line 1:374: not supported yet: the statement DELETE FROM
            hint: records of a topic are changed by INSERT INTO .. VALUES only
            error: line 1:396: not supported yet: CREATE MATERIALIZED
            hint: write CREATE TABLE .. AS SELECT: it is kept up to date
        "#]],
    );
}

#[test]
fn hostile_texts_are_refused_and_do_no_harm() {
    let long = format!("SELECT {}", vec!["1"; 100_000].join(" + "));
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let types = format!("CREATE STREAM s (a {}INT", "ARRAY<".repeat(100_000));
    for text in [long, deep, types] {
        assert!(parse(&text).is_err());
    }
    let many = format!(
        "INSERT INTO s VALUES {}",
        vec!["(1, 'a')"; 20_000].join(", ")
    );
    assert!(parse(&many).is_ok());
}

mod any_text {
    use proptest::prelude::*;

    use super::parse_each;

    proptest! {
        #[test]
        fn never_makes_the_parser_panic(text in "\\PC{0,80}") {
            parse_each(&text);
        }

        #[test]
        fn made_of_words_never_makes_the_parser_panic(words in proptest::collection::vec(
            prop_oneof![
                Just("CREATE"), Just("STREAM"), Just("TABLE"), Just("AS"), Just("SELECT"), Just("FROM"), Just("EMIT"),
                Just("CHANGES"), Just("WINDOW"), Just("TUMBLING"), Just("("), Just(")"), Just("SIZE"), Just("1"), Just("SECONDS"),
                Just(","), Just("PARTITION"), Just("BY"), Just("GROUP"), Just("x"), Just("*"), Just("WITH"), Just("="), Just("'a'"),
                Just("INSERT"), Just("INTO"), Just("VALUES"), Just("PRINT"), Just("LIMIT"), Just("SHOW"), Just("DESCRIBE"), Just("EXPLAIN"),
                Just("ARRAY"), Just("<"), Just(">>"), Just(";"), Just("SET"), Just("DROP"), Just("-"), Just("."), Just("é\n"),
            ], 0..16)
        ) {
            parse_each(&words.join(" "));
        }
    }
}
