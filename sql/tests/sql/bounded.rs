//! Queries over what is in the topics.

use expect_test::expect;

use crate::cluster::{Cluster, error, ok};

const SETUP: &str = "
    CREATE STREAM orders (id INT KEY, user_id INT, item VARCHAR, price DECIMAL(8, 2))
      WITH (KAFKA_TOPIC = '$orders', VALUE_FORMAT = 'JSON', PARTITIONS = 3);
    CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR)
      WITH (KAFKA_TOPIC = '$users', VALUE_FORMAT = 'DELIMITED', PARTITIONS = 1);
    INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Eve'), (2, 'Bert');
    INSERT INTO orders (id, user_id, item, price, rowtime) VALUES
      (1, 1, 'pen', 1.10, 1000), (2, 2, 'book', 12.50, 2000), (3, 1, 'lamp', 40, 3000),
      (4, 2, 'pen', 1.10, 4000), (5, NULL, 'ink', 0.10 + 0.20, 5000);
";

#[tokio::test]
async fn a_join_with_group_and_order_over_stream_and_table() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(SETUP)).await;
    expect![[r#"
        Ann | 2 | 41.10
        Bert | 2 | 13.60
        Eve | 0 | NULL
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            "SELECT u.name, COUNT(o.id) AS orders, SUM(o.price) AS total FROM users u \
             LEFT JOIN orders o ON o.user_id = u.id GROUP BY u.name ORDER BY u.name",
        )
        .await,
    );
    expect![[r#"
        5 | NULL | ink | 0.30
        4 | 2 | pen | 1.10
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            "SELECT * FROM orders WHERE id >= 4 ORDER BY id DESC",
        )
        .await,
    );
    expect![[r#"
        Ann | 41.10
        Bert | 13.60
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            "WITH t AS (SELECT user_id, SUM(price) AS total FROM orders GROUP BY user_id) \
             SELECT name, total FROM t JOIN users USING (id) ORDER BY name"
                .replace("user_id, SUM", "user_id AS id, SUM")
                .as_str(),
        )
        .await,
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn pseudo_columns_are_there_when_they_are_named() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(SETUP)).await;
    expect![[r#"
        1 | 1970-01-01T00:00:01 | 1000
        2 | 1970-01-01T00:00:02 | 2000
        3 | 1970-01-01T00:00:03 | 3000
        4 | 1970-01-01T00:00:04 | 4000
        5 | 1970-01-01T00:00:05 | 5000
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            "SELECT id, _timestamp, rowtime FROM orders ORDER BY id",
        )
        .await,
    );
    expect![[r#"
        0 | 0 | {"user_id":1,"item":"pen","price":1.10}
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            &cluster.text("SELECT _partition * 0, _offset * 0, _value FROM topic.\"$orders\" WHERE _timestamp < TIMESTAMP '1970-01-01T00:00:02'"),
        )
        .await,
    );
    let all: i64 = {
        let count = ok(
            &mut session,
            "SELECT COUNT(*) FROM orders WHERE _partition IN (0, 1, 2)",
        )
        .await;
        count.trim().parse().expect("a count")
    };
    let mut parts = 0;
    for partition in 0..3 {
        let query = format!(
            "SELECT COUNT(*) FROM orders WHERE _partition = {partition} AND _offset >= 0 AND _offset < 100"
        );
        parts += ok(&mut session, &query)
            .await
            .trim()
            .parse::<i64>()
            .expect("a count");
    }
    assert_eq!((all, parts), (5, 5));
    let plan = ok(
        &mut session,
        "EXPLAIN SELECT item FROM orders WHERE _partition = 1 AND _offset BETWEEN 0 AND 9 AND rowtime >= 4000",
    )
    .await;
    assert!(plan.contains("columns=[item"), "{plan}");
    assert!(
        !plan.contains("_partition@"),
        "the condition on the partition is gone: {plan}"
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn a_window_without_emit_changes_is_a_plain_group_by() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(SETUP)).await;
    expect![[r#"
        0 | 1
        2000 | 2
        4000 | 2
    "#]]
    .assert_eq(
        &ok(
            &mut session,
            "SELECT windowstart, COUNT(*) FROM orders WINDOW TUMBLING (SIZE 2 SECONDS) \
             GROUP BY item = '' ORDER BY windowstart",
        )
        .await,
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn mistakes_name_what_is_wrong_and_the_session_goes_on() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let mut session = engine.session();
    ok(&mut session, &cluster.text(SETUP)).await;
    let mut out = String::new();
    for text in [
        "SELECT * FROM oders",
        "SELECT nothing FROM orders",
        "SELECT * FROM topic.nowhere",
        "SELECT 1 +",
        "INSERT INTO orders (id, prise) VALUES (1, 2)",
        "INSERT INTO orders (id) VALUES ('x')",
        "INSERT INTO orders (id) VALUES (1, 2)",
        "INSERT INTO users (name) VALUES ('x')",
        "CREATE TABLE made (a INT)",
        "CREATE VIEW v AS SELECT 1",
        "DELETE FROM orders",
    ] {
        out.push_str(&format!("{text}\n  {}\n", error(&mut session, text).await));
    }
    expect![[r#"
        SELECT * FROM oders
          stream or table `oders` does not exist
        hint: did you mean `orders`?
        SELECT nothing FROM orders
          line 1:8: no field named nothing.
        SELECT * FROM topic.nowhere
          topic `nowhere` does not exist
        hint: SHOW TOPICS lists the topics
        SELECT 1 +
          line 1:11: expected an expression, found the end of the statement
        INSERT INTO orders (id, prise) VALUES (1, 2)
          stream `orders` has no column `prise`
        hint: did you mean `price`?
        INSERT INTO orders (id) VALUES ('x')
          column `id`: Cast error: Cannot cast string 'x' to value of Int32 type
        INSERT INTO orders (id) VALUES (1, 2)
          2 values for 1 columns
        INSERT INTO users (name) VALUES ('x')
          row 1 for table `users` has no key
        hint: give a value for each PRIMARY KEY column
        CREATE TABLE made (a INT)
          table `made` has no key
        hint: mark its key columns with PRIMARY KEY
        CREATE VIEW v AS SELECT 1
          line 1:8: not supported yet: CREATE VIEW
        hint: write CREATE TABLE .. AS SELECT: it is kept up to date
        DELETE FROM orders
          line 1:1: not supported yet: the statement DELETE FROM
        hint: records of a topic are changed by INSERT INTO .. VALUES only
    "#]]
    .assert_eq(&out);
    assert_eq!(ok(&mut session, "SELECT COUNT(*) FROM orders").await, "5\n");
    cluster.stop(engine).await;
}
