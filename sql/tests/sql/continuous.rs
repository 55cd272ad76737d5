//! Persistent queries and push queries.

use crate::cluster::{Cluster, next, ok, stream, until};

const STREAM: &str = "
    CREATE STREAM orders (id INT KEY, item VARCHAR, price DOUBLE)
      WITH (KAFKA_TOPIC = '$orders', VALUE_FORMAT = 'JSON', PARTITIONS = 2);
";

#[tokio::test]
async fn a_stream_as_select_follows_its_source_and_goes_on_after_a_restart() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(STREAM)).await;
    ok(
        &mut session,
        "INSERT INTO orders VALUES (1, 'pen', 1.5), (2, 'book', 20)",
    )
    .await;
    ok(
        &mut session,
        &cluster.text(
            "CREATE STREAM dear WITH (KAFKA_TOPIC = '$dear') AS \
             SELECT id, upper(item) AS item, price * 2 AS twice FROM orders WHERE price > 10 EMIT CHANGES",
        ),
    )
    .await;
    ok(&mut session, "SET 'auto.offset.reset' = 'earliest'").await;
    let mut rows = stream(&mut session, "SELECT * FROM dear EMIT CHANGES").await;
    assert_eq!(next(&mut rows, 1).await, ["2 | BOOK | 40.0"]);
    ok(&mut session, "INSERT INTO orders VALUES (3, 'lamp', 30)").await;
    assert_eq!(next(&mut rows, 1).await, ["3 | LAMP | 60.0"]);
    engine.close().await;

    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, "SET 'auto.offset.reset' = 'earliest'").await;
    ok(&mut session, "INSERT INTO orders VALUES (4, 'desk', 50)").await;
    let mut rows = stream(&mut session, "SELECT * FROM dear EMIT CHANGES").await;
    until(
        &mut rows,
        &["2 | BOOK | 40.0", "3 | LAMP | 60.0", "4 | DESK | 100.0"],
    )
    .await;
    cluster.stop(engine).await;
}

#[tokio::test]
async fn a_table_as_select_counts_by_another_key_and_keeps_its_state() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(STREAM)).await;
    ok(
        &mut session,
        &cluster.text(
            "CREATE TABLE totals WITH (KAFKA_TOPIC = '$totals') AS \
             SELECT item, COUNT(*) AS n, SUM(price) AS total, AVG(price) AS mean FROM orders GROUP BY item EMIT CHANGES; \
             SET 'auto.offset.reset' = 'earliest'",
        ),
    )
    .await;
    ok(
        &mut session,
        "INSERT INTO orders VALUES (1, 'pen', 1), (2, 'pen', 3), (3, 'book', 10), (4, 'pen', 2)",
    )
    .await;
    let mut rows = stream(&mut session, "SELECT * FROM totals EMIT CHANGES").await;
    until(
        &mut rows,
        &["pen | 3 | 6.0 | 2.0", "book | 1 | 10.0 | 10.0"],
    )
    .await;
    engine.close().await;

    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, "SET 'auto.offset.reset' = 'earliest'").await;
    ok(&mut session, "INSERT INTO orders VALUES (5, 'pen', 6)").await;
    let mut rows = stream(&mut session, "SELECT * FROM totals EMIT CHANGES").await;
    until(&mut rows, &["pen | 4 | 12.0 | 3.0"]).await;
    assert_eq!(
        ok(&mut session, "SELECT item, n FROM totals ORDER BY item").await,
        "book | 1\npen | 4\n"
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn a_windowed_table_is_read_back_with_its_windows() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(STREAM)).await;
    ok(
        &mut session,
        &cluster.text(
            "CREATE TABLE per_minute WITH (KAFKA_TOPIC = '$per-minute') AS \
             SELECT item, COUNT(*) AS n FROM orders WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY item EMIT CHANGES; \
             SET 'auto.offset.reset' = 'earliest'",
        ),
    )
    .await;
    ok(
        &mut session,
        "INSERT INTO orders (id, item, rowtime) VALUES (1, 'pen', 1000), (2, 'pen', 2000), (3, 'pen', 61000)",
    )
    .await;
    let mut rows = stream(&mut session, "SELECT * FROM per_minute EMIT CHANGES").await;
    until(
        &mut rows,
        &["pen | 0 | 60000 | 2", "pen | 60000 | 120000 | 1"],
    )
    .await;
    assert_eq!(
        ok(
            &mut session,
            "SELECT item, WINDOWSTART AS ws, _window_end, n FROM per_minute ORDER BY ws"
        )
        .await,
        "pen | 0 | 1970-01-01T00:01:00 | 2\npen | 60000 | 1970-01-01T00:02:00 | 1\n"
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn push_queries_start_at_the_end_unless_told_otherwise_and_end_at_their_limit() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(STREAM)).await;
    ok(
        &mut session,
        "INSERT INTO orders VALUES (1, 'pen', 1), (2, 'book', 2)",
    )
    .await;
    let mut rows = stream(&mut session, "SELECT id FROM orders EMIT CHANGES LIMIT 1").await;
    ok(&mut session, "INSERT INTO orders VALUES (3, 'pen', 3)").await;
    assert_eq!(next(&mut rows, 1).await, ["3"]);
    assert!(
        futures::StreamExt::next(&mut rows).await.is_none(),
        "the limit ends it"
    );
    ok(&mut session, "SET 'auto.offset.reset' = 'earliest'").await;
    let mut rows = stream(
        &mut session,
        "SELECT item, COUNT(*) AS n, SUM(price) AS s FROM orders GROUP BY item HAVING COUNT(*) > 1 EMIT CHANGES",
    )
    .await;
    until(&mut rows, &["pen | 2 | 4.0"]).await;
    ok(&mut session, "INSERT INTO orders VALUES (4, 'book', 5)").await;
    until(&mut rows, &["book | 2 | 7.0"]).await;
    cluster.stop(engine).await;
}

#[tokio::test]
async fn bad_records_are_counted_and_a_script_can_be_applied_again() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    let script = cluster.text(&format!(
        "{STREAM} CREATE STREAM raw (line VARCHAR) WITH (KAFKA_TOPIC = '$orders', VALUE_FORMAT = 'KAFKA');
         CREATE STREAM copied WITH (KAFKA_TOPIC = '$copied') AS SELECT id, item FROM orders EMIT CHANGES;"
    ));
    session.apply(&script).await.expect("applied");
    session.apply(&script).await.expect("applied again");
    let other = script.replace("SELECT id, item", "SELECT id, price");
    let refused = session
        .apply(&other)
        .await
        .expect_err("another text")
        .to_string();
    assert!(
        refused.contains("exists with another definition"),
        "{refused}"
    );
    ok(&mut session, "INSERT INTO raw VALUES ('nonsense')").await;
    ok(&mut session, "INSERT INTO orders VALUES (1, 'pen', 1)").await;
    ok(&mut session, "SET 'auto.offset.reset' = 'earliest'").await;
    let mut rows = stream(&mut session, "SELECT item FROM copied EMIT CHANGES").await;
    assert_eq!(next(&mut rows, 1).await, ["pen"]);
    let status = engine
        .queries()
        .into_iter()
        .find(|query| query.sink == "copied");
    let status = status.expect("the query runs");
    assert!(status.bad_records <= 1, "{status:?}");
    cluster.stop(engine).await;
}
