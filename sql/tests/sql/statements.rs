//! Statements about streams, tables, topics and queries.

use expect_test::expect;

use crate::cluster::{Cluster, error, next, ok, stream};

#[tokio::test]
async fn what_there_is_can_be_shown_described_and_dropped() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    let hide = |text: String| text.replace(&cluster.prefix, "");
    ok(
        &mut session,
        &cluster.text(
            "CREATE STREAM clicks (id VARCHAR KEY, page VARCHAR, at TIMESTAMP) \
               WITH (KAFKA_TOPIC = '$clicks', PARTITIONS = 1, TIMESTAMP = 'at'); \
             CREATE TABLE pages WITH (KAFKA_TOPIC = '$pages') AS \
               SELECT page, COUNT(*) AS n FROM clicks WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY page EMIT CHANGES",
        ),
    )
    .await;
    expect![[r#"
        clicks | -clicks | KAFKA | JSON | false
    "#]]
    .assert_eq(&hide(ok(&mut session, "SHOW STREAMS").await));
    expect![[r#"
        pages | -pages | KAFKA | JSON | true
    "#]]
    .assert_eq(&hide(ok(&mut session, "SHOW TABLES").await));
    expect![[r#"
        id | VARCHAR | key
        page | VARCHAR | NULL
        at | TIMESTAMP | NULL
    "#]]
    .assert_eq(&ok(&mut session, "DESCRIBE clicks").await);
    expect![[r#"
        page | VARCHAR | primary key
        windowstart | BIGINT | window
        windowend | BIGINT | window
        n | BIGINT | NULL
    "#]]
    .assert_eq(&ok(&mut session, "DESCRIBE pages").await);
    let topics = ok(&mut session, "SHOW TOPICS").await;
    assert!(topics.contains(&cluster.text("$clicks | 1")), "{topics}");
    let query = engine.queries().pop().expect("one query").id;
    assert!(query.starts_with("ctas_pages_"), "{query}");
    assert!(
        error(&mut session, "DROP STREAM clicks")
            .await
            .contains("is read by ctas_pages_")
    );
    assert!(
        error(&mut session, "DROP TABLE clicks")
            .await
            .contains("`clicks` is a stream")
    );
    assert!(
        ok(&mut session, &format!("EXPLAIN {query}"))
            .await
            .contains("tumbling window")
    );
    ok(&mut session, &format!("TERMINATE {query}")).await;
    assert!(engine.queries().is_empty());
    ok(
        &mut session,
        "DROP TABLE pages; DROP STREAM clicks DELETE TOPIC; DROP TABLE IF EXISTS pages",
    )
    .await;
    assert_eq!(ok(&mut session, "SHOW STREAMS; SHOW TABLES").await, "");
    let topics = ok(&mut session, "SHOW ALL TOPICS").await;
    assert!(!topics.contains(&cluster.text("$clicks")), "{topics}");
    cluster.stop(engine).await;
}

#[tokio::test]
async fn print_shows_the_records_as_they_are() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(
        &mut session,
        &cluster.text(
            "CREATE STREAM s (k INT KEY, v VARCHAR) WITH (KAFKA_TOPIC = '$s', PARTITIONS = 1); \
             INSERT INTO s (k, v, rowtime) VALUES (1, 'a', 1), (NULL, 'b', 2), (3, 'c', 3)",
        ),
    )
    .await;
    let print = cluster.text("PRINT '$s' FROM BEGINNING INTERVAL 2 LIMIT 2");
    let mut rows = stream(&mut session, &print).await;
    assert_eq!(
        next(&mut rows, 2).await,
        [
            "0 | 0 | 1970-01-01T00:00:00.001 | \\x00000001 | {\"v\":\"a\"}",
            "0 | 2 | 1970-01-01T00:00:00.003 | \\x00000003 | {\"v\":\"c\"}"
        ]
    );
    assert!(
        error(&mut session, "PRINT nowhere")
            .await
            .contains("does not exist")
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn the_catalog_outlives_the_engine() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(
        &mut session,
        &cluster.text(
            "CREATE STREAM a (x INT, `Weird Name` ARRAY<STRUCT<b DECIMAL(3,1)>>) WITH (KAFKA_TOPIC = '$a'); \
             CREATE STREAM b (x INT) WITH (KAFKA_TOPIC = '$b'); DROP STREAM b; \
             CREATE STREAM IF NOT EXISTS a (y INT) WITH (KAFKA_TOPIC = '$a'); \
             CREATE OR REPLACE STREAM c (x BIGINT) WITH (KAFKA_TOPIC = '$c'); \
             CREATE OR REPLACE STREAM c (x VARCHAR) WITH (KAFKA_TOPIC = '$c', VALUE_FORMAT = 'DELIMITED', VALUE_DELIMITER = '|')",
        ),
    )
    .await;
    let before = engine.catalog();
    engine.close().await;
    assert!(error(&mut session, "SHOW STREAMS").await.contains("closed"));
    let engine = cluster.engine().await;
    assert_eq!(engine.catalog().sources, before.sources);
    assert_eq!(before.sources.keys().collect::<Vec<_>>(), ["a", "c"]);
    cluster.stop(engine).await;
}
