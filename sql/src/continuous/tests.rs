//! Continuous queries on the in-memory driver, with DataFusion over the same rows as the judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::collect;
use expect_test::{Expect, expect};
use moldau_streams::runtime::{
    CommitMode, LocalConfig, LocalDriver, LocalRecord, LocalTopicRecord, StartAt,
};

use super::*;
use crate::catalog::Catalog;
use crate::catalog::source::Source;
use crate::engine::create::{declared_source, sink_source};
use crate::engine::properties::Properties;
use crate::error::SqlError;
use crate::parser::{Statement, parse};
use crate::plan::tables::TableResolver;
use crate::plan::{Planner, continuous};
use crate::render::cell;
use crate::rows::{RecordView, RowReader};

type TestRecord = (Option<&'static str>, Option<String>, i64);

/// A planner with streams, tables and what their topics hold.
struct World {
    planner: Planner,
    catalog: Catalog,
    topics: BTreeMap<String, Vec<TestRecord>>,
    partitions: i32,
}

impl World {
    fn new(statements: &str) -> Self {
        let mut catalog = Catalog::default();
        for parsed in parse(statements).expect("statements") {
            let Statement::CreateSource(create) = parsed.statement else {
                panic!("only CREATE declares");
            };
            let properties = Properties::read(&create.properties).expect("properties");
            let source = declared_source(&create, &properties, parsed.text).expect("a source");
            catalog
                .sources
                .insert(source.name.clone(), Arc::new(source));
        }
        Self {
            planner: Planner::new(),
            catalog,
            topics: BTreeMap::new(),
            partitions: 1,
        }
    }

    fn orders() -> Self {
        let mut world = Self::new(
            "CREATE STREAM orders (id INT KEY, item VARCHAR, price DOUBLE, quantity INT) \
             WITH (KAFKA_TOPIC = 'orders', VALUE_FORMAT = 'JSON')",
        );
        let items = ["pen", "book", "pen", "lamp", "book", "pen", "ink"];
        let records = (0..70_usize).map(|n| {
            let price = if n % 11 == 5 {
                "null".to_owned()
            } else {
                format!("{}.25", n % 9)
            };
            let value = format!(
                r#"{{"item":"{}","price":{price},"quantity":{}}}"#,
                items[n % items.len()],
                n % 5
            );
            (None, Some(value), 1_000 * n as i64)
        });
        world.topics.insert("orders".to_owned(), records.collect());
        world
    }

    async fn plan(&self, sql: &str) -> Result<(continuous::ContinuousPlan, Source), SqlError> {
        let parsed = parse(sql)?.remove(0);
        let Statement::CreateAs(create) = parsed.statement else {
            panic!("not CREATE .. AS");
        };
        let catalog = Arc::new(self.catalog.clone());
        let plan = continuous::plan(&self.planner, &create.select, &catalog).await?;
        let properties = Properties::read(&create.properties)?;
        let sink = sink_source(&create, &properties, &plan, parsed.text, "q")?;
        Ok((plan, sink))
    }

    /// Runs a query with runs of at most `max_run` records; gives what it wrote.
    async fn run(&self, sql: &str, max_run: usize) -> (Source, Vec<LocalTopicRecord>) {
        let (plan, sink) = self.plan(sql).await.expect("a plan");
        let topic = plan.source.topic.clone();
        let spec = QuerySpec {
            query_id: "q".to_owned(),
            application_id: "app".to_owned(),
            plan,
            sink: Arc::new(sink.clone()),
            sink_partitions: self.partitions,
            start_at: StartAt::Earliest,
        };
        let application = application(&spec, &Arc::default()).expect("an application");
        let mut config = LocalConfig::default()
            .topic(&topic, self.partitions)
            .topic(&sink.topic, self.partitions)
            .commit(CommitMode::Manual);
        config.max_run = max_run;
        let mut driver = LocalDriver::new(application, config).expect("a driver");
        for (key, value, timestamp) in self.topics.get(&topic).into_iter().flatten() {
            let record = LocalRecord::new(
                key.map(|key| Bytes::from(key.as_bytes())),
                value.clone().map(Bytes::from),
                *timestamp,
            );
            driver.append(&topic, record).expect("appended");
        }
        driver.run().expect("run");
        driver.commit().expect("committed");
        let written = driver.topic(&sink.topic).to_vec();
        (sink, written)
    }

    /// The rows that a bounded query gives over the same records.
    async fn batch(&self, sql: &str) -> Vec<String> {
        let select = match parse(sql).expect("a query").remove(0).statement {
            Statement::Query(select) => select,
            Statement::CreateAs(create) => create.select,
            other => panic!("{other:?} is no query"),
        };
        let resolver = MemoryTables {
            topics: self.topics.clone(),
            window_ms: select.window.map(|window| window.size_ms),
        };
        let catalog = Arc::new(self.catalog.clone());
        let planned = self
            .planner
            .plan_select(&select, &catalog, Arc::new(resolver), None)
            .await
            .expect("planned");
        let physical = planned
            .state
            .create_physical_plan(&planned.plan)
            .await
            .expect("physical");
        let batches = collect(physical, planned.state.task_ctx())
            .await
            .expect("collected");
        lines(&batches)
    }
}

#[derive(Debug)]
struct MemoryTables {
    topics: BTreeMap<String, Vec<TestRecord>>,
    window_ms: Option<i64>,
}

#[async_trait]
impl TableResolver for MemoryTables {
    async fn source(&self, source: Arc<Source>) -> Result<Arc<dyn TableProvider>, SqlError> {
        let records: Vec<_> = self
            .topics
            .get(&source.topic)
            .into_iter()
            .flatten()
            .collect();
        let batch = read(
            &source,
            self.window_ms,
            records.iter().map(|r| {
                (
                    r.0.map(|key| Bytes::from(key.as_bytes())),
                    r.1.clone().map(Bytes::from),
                    r.2,
                )
            }),
        );
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(Arc::new(table))
    }

    async fn topic(&self, _topic: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        Ok(None)
    }
}

type KeyValueTime = (Option<Bytes>, Option<Bytes>, i64);

fn read(
    source: &Source,
    window_ms: Option<i64>,
    records: impl Iterator<Item = KeyValueTime>,
) -> RecordBatch {
    let records: Vec<KeyValueTime> = records.collect();
    let wanted: Vec<usize> = (0..source.table_columns(window_ms.is_some()).len()).collect();
    let views = records
        .iter()
        .enumerate()
        .map(|(offset, record)| RecordView {
            partition: 0,
            offset: offset as i64,
            timestamp: record.2,
            key: record.0.as_ref(),
            value: record.1.as_ref(),
        });
    RowReader::new(source, window_ms, &wanted)
        .read(views)
        .expect("read")
        .0
        .batch
}

/// What a sink's topic adds up to: its records as a stream, the latest of each key as a table.
fn content(sink: &Source, written: &[LocalTopicRecord]) -> Vec<String> {
    let records: Vec<KeyValueTime> = match sink.kind {
        crate::parser::SourceKind::Stream => written
            .iter()
            .map(|record| (record.key.clone(), record.value.clone(), record.timestamp))
            .collect(),
        crate::parser::SourceKind::Table => {
            let mut latest = BTreeMap::new();
            for record in written {
                match &record.value {
                    Some(value) => {
                        latest.insert(record.key.clone(), (value.clone(), record.timestamp));
                    }
                    None => {
                        latest.remove(&record.key);
                    }
                }
            }
            let row = |(key, (value, timestamp))| (key, Some(value), timestamp);
            latest.into_iter().map(row).collect()
        }
    };
    let batch = read(sink, None, records.into_iter());
    let visible: Vec<usize> = sink
        .table_columns(false)
        .iter()
        .enumerate()
        .filter(|(_, column)| !column.hidden)
        .map(|(index, _)| index)
        .collect();
    lines(&[batch.project(&visible).expect("projected")])
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .map(|array| cell(array.as_ref(), row).unwrap_or_else(|| "NULL".to_owned()))
                .collect();
            lines.push(cells.join(" | "));
        }
    }
    lines.sort();
    lines
}

fn text(records: &[LocalTopicRecord]) -> String {
    let mut out = String::new();
    for record in records {
        let show = |bytes: &Option<Bytes>| match bytes {
            Some(bytes) => bytes.escape_ascii().to_string().replace("\\\"", "\""),
            None => "null".to_owned(),
        };
        let (key, value) = (show(&record.key), show(&record.value));
        out.push_str(&format!("{} {key} {value}\n", record.timestamp));
    }
    out
}

/// All batch sizes and partition counts give what DataFusion gives over the same rows.
async fn agrees(query: &str) {
    agrees_with(query, query).await;
}

async fn agrees_with(query: &str, batch: &str) {
    let mut world = World::orders();
    let expected = world.batch(batch).await;
    assert!(!expected.is_empty(), "the query gives no rows");
    for (max_run, partitions) in [(1, 1), (7, 1), (8_192, 1), (7, 4)] {
        world.partitions = partitions;
        let (sink, written) = world.run(query, max_run).await;
        let actual = content(&sink, &written);
        assert_eq!(
            actual, expected,
            "runs of {max_run}, {partitions} partitions"
        );
    }
}

#[tokio::test]
async fn filter_and_project_agree_with_batch() {
    agrees(
        "CREATE STREAM s AS SELECT id, upper(item) AS item, price * quantity AS total, quantity + 1 AS q \
         FROM orders WHERE price > 2 AND item <> 'ink' EMIT CHANGES",
    )
    .await;
    agrees("CREATE STREAM s AS SELECT * FROM orders WHERE _partition >= 0 AND quantity BETWEEN 1 AND 3").await;
    agrees("CREATE STREAM s AS SELECT o.item AS i, rowtime AS t FROM (SELECT *, rowtime FROM orders WHERE quantity = 2) o WHERE o.price IS NOT NULL").await;
}

#[tokio::test]
async fn group_by_agrees_with_batch() {
    agrees(
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n, COUNT(price) AS prices, SUM(quantity) AS q, \
         MIN(price) AS low, MAX(price) AS high, AVG(price) AS mean, MIN(item) AS word \
         FROM orders GROUP BY item EMIT CHANGES",
    )
    .await;
    agrees("CREATE TABLE t AS SELECT item, quantity, COUNT(*) AS n FROM orders GROUP BY item, quantity").await;
    agrees(
        "CREATE TABLE t AS SELECT upper(item) AS word, SUM(price * quantity) FILTER (WHERE quantity > 1) AS total, \
         ROUND(STDDEV(price), 6) AS spread FROM orders WHERE price > 0 GROUP BY upper(item)",
    )
    .await;
}

#[tokio::test]
async fn windows_agree_with_batch() {
    // The bounds of the window lie in the key, and `*` of the table shows them behind it.
    agrees_with(
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n, SUM(quantity) AS q \
         FROM orders WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY item EMIT CHANGES",
        "SELECT item, WINDOWSTART, WINDOWEND, COUNT(*) AS n, SUM(quantity) AS q \
         FROM orders WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY item",
    )
    .await;
}

#[tokio::test]
async fn having_agrees_with_batch() {
    agrees("CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item HAVING COUNT(*) > 10").await;
    // A group that passes at first and then no longer does leaves the table again.
    agrees("CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item HAVING COUNT(*) < 12").await;
}

async fn writes(world: &World, query: &str, expected: Expect) {
    let (_, written) = world.run(query, 1).await;
    expected.assert_eq(&text(&written));
}

#[tokio::test]
async fn keys_and_values_of_a_table() {
    let mut world = World::orders();
    world.topics.get_mut("orders").expect("orders").truncate(5);
    writes(
        &world,
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item",
        expect![[r#"
            0 pen {"n":1}
            1000 book {"n":1}
            2000 pen {"n":2}
            3000 lamp {"n":1}
            4000 book {"n":2}
        "#]],
    )
    .await;
    writes(
        &world,
        "CREATE TABLE t WITH (KEY_FORMAT='JSON', VALUE_FORMAT='DELIMITED') AS SELECT quantity AS q, item, COUNT(*) AS n FROM orders \
         GROUP BY item, quantity",
        expect![[r#"
            0 {"item":"pen","q":0} 1
            1000 {"item":"book","q":1} 1
            2000 {"item":"pen","q":2} 1
            3000 {"item":"lamp","q":3} 1
            4000 {"item":"book","q":4} 1
        "#]],
    )
    .await;
    writes(
        &world,
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders WINDOW TUMBLING (SIZE 2 SECONDS) GROUP BY item",
        expect![[r#"
            0 pen\x00\x00\x00\x00\x00\x00\x00\x00 {"n":1}
            1000 book\x00\x00\x00\x00\x00\x00\x00\x00 {"n":1}
            2000 pen\x00\x00\x00\x00\x00\x00\x07\xd0 {"n":1}
            3000 lamp\x00\x00\x00\x00\x00\x00\x07\xd0 {"n":1}
            4000 book\x00\x00\x00\x00\x00\x00\x0f\xa0 {"n":1}
        "#]],
    )
    .await;
    writes(
        &world,
        "CREATE STREAM s AS SELECT item, quantity FROM orders WHERE quantity > 2 PARTITION BY item",
        expect![[r#"
            3000 lamp {"quantity":3}
            4000 book {"quantity":4}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_window_takes_late_rows_until_its_grace_has_passed() {
    let mut world = World::orders();
    let row = |item: &str, timestamp| (None, Some(format!(r#"{{"item":"{item}"}}"#)), timestamp);
    let rows = vec![
        row("a", 0),
        row("b", 11_000),
        row("a", 9_000),
        row("b", 12_000),
        row("a", 9_500),
    ];
    world.topics.insert("orders".to_owned(), rows);
    writes(
        &world,
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders \
         WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 2 SECONDS) GROUP BY item",
        expect![[r#"
            0 a\x00\x00\x00\x00\x00\x00\x00\x00 {"n":1}
            11000 b\x00\x00\x00\x00\x00\x00\'\x10 {"n":1}
            9000 a\x00\x00\x00\x00\x00\x00\x00\x00 {"n":2}
            12000 b\x00\x00\x00\x00\x00\x00\'\x10 {"n":2}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_table_passes_deletions_on() {
    let mut world = World::new(
        "CREATE TABLE users (name VARCHAR PRIMARY KEY, age INT) WITH (KAFKA_TOPIC = 'users')",
    );
    world.topics.insert(
        "users".to_owned(),
        vec![
            (Some("ann"), Some(r#"{"age":30}"#.to_owned()), 1),
            (Some("bob"), Some(r#"{"age":10}"#.to_owned()), 2),
            (Some("ann"), Some(r#"{"age":12}"#.to_owned()), 3),
            (Some("bob"), None, 4),
            (None, Some(r#"{"age":50}"#.to_owned()), 5),
        ],
    );
    writes(
        &world,
        "CREATE TABLE grown AS SELECT name, age * 2 AS twice FROM users WHERE age >= 18",
        expect![[r#"
            1 ann {"twice":60}
            2 bob null
            3 ann null
            4 bob null
        "#]],
    )
    .await;
}

#[tokio::test]
async fn bad_records_and_rows_are_left_out_and_counted() {
    let mut world = World::orders();
    let value = |text: &str| (None, Some(text.to_owned()), 1);
    world.topics.insert(
        "orders".to_owned(),
        vec![
            value(r#"{"quantity":4}"#),
            value("nonsense"),
            value(r#"{"quantity":0}"#),
            value(r#"{"quantity":"x"}"#),
            value(r#"{"quantity":2}"#),
        ],
    );
    let (_, written) = world
        .run(
            "CREATE STREAM s AS SELECT 8 / quantity AS part FROM orders",
            100,
        )
        .await;
    let values: Vec<_> = written.iter().map(|record| record.value.clone()).collect();
    assert_eq!(
        values,
        [
            Some(Bytes::from(r#"{"part":2}"#)),
            Some(Bytes::from(r#"{"part":4}"#))
        ]
    );
}

#[tokio::test]
async fn state_survives_a_crash() {
    let world = World::orders();
    let (plan, sink) = world
        .plan("CREATE TABLE t AS SELECT item, COUNT(*) AS n, AVG(quantity) AS a FROM orders GROUP BY item")
        .await
        .expect("a plan");
    let spec = QuerySpec {
        query_id: "q".to_owned(),
        application_id: "app".to_owned(),
        plan,
        sink: Arc::new(sink.clone()),
        sink_partitions: 1,
        start_at: StartAt::Earliest,
    };
    let application = application(&spec, &Arc::default()).expect("an application");
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let mut driver = LocalDriver::new(application, config).expect("a driver");
    for (index, (_, value, timestamp)) in world.topics["orders"].iter().enumerate() {
        let record = LocalRecord::new(None, value.clone().map(Bytes::from), *timestamp);
        driver.send("orders", record).expect("sent");
        if index % 10 == 3 {
            driver.commit().expect("committed");
        }
        // Right after a commit: what was not committed is done again, and counts twice.
        if index % 20 == 13 {
            driver.crash_and_restore().expect("restored");
            driver.run().expect("run");
        }
    }
    driver.commit().expect("committed");
    let expected = world
        .batch("SELECT item, COUNT(*) AS n, AVG(quantity) AS a FROM orders GROUP BY item")
        .await;
    assert_eq!(content(&sink, driver.topic("t")), expected);
}

const REFUSED: [&str; 19] = [
    "CREATE STREAM s AS SELECT * FROM order",
    "CREATE STREAM s AS SELECT prise FROM orders",
    "CREATE STREAM s AS SELECT item + 1 AS x FROM orders WHERE price",
    "CREATE STREAM s AS SELECT o.id, u.name FROM orders o JOIN users u ON o.id = u.id",
    "CREATE STREAM s AS SELECT id, item FROM orders ORDER BY item",
    "CREATE STREAM s AS SELECT DISTINCT item FROM orders",
    "CREATE STREAM s AS SELECT id FROM orders WHERE id IN (SELECT id FROM users)",
    "CREATE TABLE t AS SELECT COUNT(*) AS n FROM orders",
    "CREATE TABLE t AS SELECT COUNT(*) AS n FROM orders GROUP BY item",
    "CREATE TABLE t AS SELECT item, COUNT(DISTINCT id) AS n FROM orders GROUP BY item",
    "CREATE TABLE t AS SELECT item, array_agg(id) AS n FROM orders GROUP BY item",
    "CREATE TABLE t AS SELECT name, COUNT(*) AS n FROM users GROUP BY name",
    "CREATE TABLE t AS SELECT name FROM users",
    "CREATE STREAM s AS SELECT id FROM orders",
    "CREATE STREAM s AS SELECT item, item FROM orders",
    "CREATE STREAM s AS SELECT item FROM orders WINDOW TUMBLING (SIZE 1 DAY)",
    "CREATE STREAM s AS SELECT 1 AS one",
    "CREATE STREAM s WITH (VALUE_FORMAT='DELIMITED') AS SELECT tags FROM orders",
    "CREATE TABLE t WITH (KEY_FORMAT='KAFKA') AS SELECT item, id, COUNT(*) AS n FROM orders GROUP BY item, id",
];

async fn refusals(world: &World) -> String {
    let mut out = String::new();
    for sql in REFUSED {
        let error = match world.plan(sql).await {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        };
        out.push_str(&format!("{sql}\n  {error}\n"));
    }
    out
}

#[tokio::test]
async fn what_cannot_run_continuously_is_refused() {
    let world = World::new(
        "CREATE STREAM orders (id INT KEY, item VARCHAR, price DOUBLE, tags ARRAY<INT>) WITH (KAFKA_TOPIC='o'); \
         CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR) WITH (KAFKA_TOPIC='u')",
    );
    expect![[r#"
        CREATE STREAM s AS SELECT * FROM order
          stream or table `order` does not exist
        hint: did you mean `orders`?
        CREATE STREAM s AS SELECT prise FROM orders
          line 1:27: no field named prise. Did you mean 'orders.price'?
        CREATE STREAM s AS SELECT item + 1 AS x FROM orders WHERE price
          cannot create filter with non-boolean predicate 'orders.price' returning Float64
        CREATE STREAM s AS SELECT o.id, u.name FROM orders o JOIN users u ON o.id = u.id
          not supported yet: joins in a continuous query
        hint: without EMIT CHANGES the query runs over what is in the topics now
        CREATE STREAM s AS SELECT id, item FROM orders ORDER BY item
          not supported yet: ORDER BY in a continuous query
        hint: without EMIT CHANGES the query runs over what is in the topics now
        CREATE STREAM s AS SELECT DISTINCT item FROM orders
          not supported yet: DISTINCT in a continuous query
        hint: without EMIT CHANGES the query runs over what is in the topics now
        CREATE STREAM s AS SELECT id FROM orders WHERE id IN (SELECT id FROM users)
          not supported yet: subqueries in a continuous query
        CREATE TABLE t AS SELECT COUNT(*) AS n FROM orders
          not supported yet: aggregates without GROUP BY in a continuous query
        hint: group by a constant column, or run the query without EMIT CHANGES
        CREATE TABLE t AS SELECT COUNT(*) AS n FROM orders GROUP BY item
          the GROUP BY expression `orders.item` is not in the select list
        hint: it becomes the key of the result, so select it too
        CREATE TABLE t AS SELECT item, COUNT(DISTINCT id) AS n FROM orders GROUP BY item
          not supported yet: count(DISTINCT ..) in a continuous query
        CREATE TABLE t AS SELECT item, array_agg(id) AS n FROM orders GROUP BY item
          not supported yet: the aggregate array_agg in a continuous query
        hint: COUNT, SUM, MIN, MAX and AVG run continuously
        CREATE TABLE t AS SELECT name, COUNT(*) AS n FROM users GROUP BY name
          not supported yet: GROUP BY over a table
        hint: GROUP BY works over streams
        CREATE TABLE t AS SELECT name FROM users
          the key of the table `users` is not in the select list
        hint: select its PRIMARY KEY columns too
        CREATE STREAM s AS SELECT id FROM orders
          all columns lie in the key, none in the value
        hint: select another column, for example COUNT(*) or the key once more: id + 0 AS id_copy
        CREATE STREAM s AS SELECT item, item FROM orders
          projections require unique expression names but the expression "orders.item" at position 0 and "orders.item" at position 1 have the same name. Consider aliasing ("AS") one of them.
        CREATE STREAM s AS SELECT item FROM orders WINDOW TUMBLING (SIZE 1 DAY)
          a WINDOW needs a plain GROUP BY
        hint: add GROUP BY with the columns that make a row of the result
        CREATE STREAM s AS SELECT 1 AS one
          a continuous query reads one stream or table
        hint: name it in FROM
        CREATE STREAM s WITH (VALUE_FORMAT='DELIMITED') AS SELECT tags FROM orders
          column `tags` of type ARRAY<INT> cannot be written as DELIMITED
        hint: use JSON
        CREATE TABLE t WITH (KEY_FORMAT='KAFKA') AS SELECT item, id, COUNT(*) AS n FROM orders GROUP BY item, id
          2 key columns do not fit into the format KAFKA, which holds one
        hint: add KEY_FORMAT = 'JSON'
    "#]]
    .assert_eq(&refusals(&world).await);
}
