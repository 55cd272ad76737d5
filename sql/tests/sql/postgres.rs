//! PostgreSQL's protocol, as a stock client speaks it.

use std::net::SocketAddr;

use futures::{StreamExt as _, TryStreamExt as _};
use moldau_sql::Engine;
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cluster::{Cluster, within};

const SETUP: &str = "
    CREATE STREAM orders (id INT KEY, item VARCHAR, price DOUBLE, paid BOOLEAN, at TIMESTAMP, raw BYTES)
      WITH (KAFKA_TOPIC = '$orders', PARTITIONS = 1);
    INSERT INTO orders VALUES (1, 'pen', 1.5, true, TIMESTAMP '2024-01-02T03:04:05', X'0102'),
      (2, 'book', 20, false, NULL, NULL)";

/// id, item, price, paid, raw, n.
type Row = (i32, String, f64, bool, Option<Vec<u8>>, i64);

async fn serve(engine: &Engine) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(engine.clone().serve_postgres(listener));
    address
}

async fn connect(address: SocketAddr) -> Client {
    let config = format!(
        "host=127.0.0.1 port={} user=test dbname=moldau",
        address.port()
    );
    let (client, connection) = tokio_postgres::connect(&config, NoTls)
        .await
        .expect("connected");
    tokio::spawn(connection);
    client
}

fn rows(messages: &[SimpleQueryMessage]) -> Vec<Vec<Option<&str>>> {
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|n| row.get(n)).collect()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn simple_queries_with_several_statements() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let client = connect(serve(&engine).await).await;
    within(client.batch_execute(&cluster.text(SETUP)))
        .await
        .expect("done");
    let messages = within(client.simple_query(
        "SELECT id, item, price, paid, at, raw FROM orders ORDER BY id; SHOW STREAMS; BEGIN; SELECT version(); COMMIT",
    ))
    .await
    .expect("answers");
    let rows = rows(&messages);
    assert_eq!(
        rows[0],
        [
            Some("1"),
            Some("pen"),
            Some("1.5"),
            Some("t"),
            Some("2024-01-02 03:04:05"),
            Some("\\x0102")
        ]
    );
    assert_eq!(
        rows[1],
        [Some("2"), Some("book"), Some("20"), Some("f"), None, None]
    );
    assert_eq!(rows[2][0], Some("orders"));
    assert!(rows[3][0].expect("a version").starts_with("PostgreSQL 15"));
    cluster.stop(engine).await;
}

#[tokio::test]
async fn prepared_statements_with_parameters_and_binary_results() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let client = connect(serve(&engine).await).await;
    within(client.batch_execute(&cluster.text(SETUP)))
        .await
        .expect("done");
    let written = within(client.execute(
        "INSERT INTO orders (id, item, price, paid) VALUES ($1, $2, $3, $4)",
        &[&3_i32, &"ink's", &0.25_f64, &true],
    ))
    .await
    .expect("inserted");
    assert_eq!(written, 1);
    let rows = within(client.query(
        "SELECT id, item, price, paid, raw, COUNT(*) OVER () AS n, CAST(price AS DECIMAL(6, 2)) AS d \
         FROM orders WHERE price < $1 AND item <> $2 ORDER BY id",
        &[&15.0_f64, &"book"],
    ))
    .await
    .expect("rows");
    let seen: Vec<Row> = rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                row.get(1),
                row.get(2),
                row.get(3),
                row.get(4),
                row.get(5),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, "pen".to_owned(), 1.5, true, Some(vec![1, 2]), 2),
            (3, "ink's".to_owned(), 0.25, true, None, 2)
        ]
    );
    cluster.stop(engine).await;
}

#[tokio::test]
async fn errors_carry_sqlstate_hint_and_place_and_the_connection_goes_on() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let client = connect(serve(&engine).await).await;
    let error = within(client.simple_query("SELECT 1;\nSELEC 2"))
        .await
        .expect_err("a mistake");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code().code(), "42601");
    assert_eq!(
        error.position(),
        Some(&tokio_postgres::error::ErrorPosition::Original(11)),
        "{error:?}"
    );
    let error = within(client.query("SELECT * FROM nowhere", &[]))
        .await
        .expect_err("no table");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code().code(), "42P01");
    assert!(error.hint().is_some());
    let one = within(client.query_one("SELECT 1 AS one", &[]))
        .await
        .expect("one row");
    assert_eq!(one.get::<_, i64>(0), 1);
    cluster.stop(engine).await;
}

#[tokio::test]
async fn a_push_query_gives_rows_as_they_come_until_it_is_cancelled() {
    let cluster = Cluster::start().await;
    let engine = cluster.engine().await;
    let address = serve(&engine).await;
    let client = connect(address).await;
    let writer = connect(address).await;
    within(client.batch_execute(&cluster.text(SETUP)))
        .await
        .expect("done");
    within(client.batch_execute("SET auto.offset.reset = earliest"))
        .await
        .expect("set");
    let cancel = client.cancel_token();
    let no_parameters: [&str; 0] = [];
    let rows = within(client.query_raw("SELECT id, item FROM orders EMIT CHANGES", no_parameters))
        .await
        .expect("started");
    let mut rows = Box::pin(rows);
    for expected in [1, 2] {
        let row = within(rows.try_next())
            .await
            .expect("no error")
            .expect("a row");
        assert_eq!(row.get::<_, i32>(0), expected);
    }
    within(writer.batch_execute("INSERT INTO orders (id, item) VALUES (3, 'ink')"))
        .await
        .expect("done");
    let row = within(rows.next()).await.expect("a row").expect("no error");
    assert_eq!(row.get::<_, i32>(0), 3);
    within(cancel.cancel_query(NoTls))
        .await
        .expect("asked to cancel");
    let error = within(rows.next())
        .await
        .expect("an end")
        .expect_err("cancelled");
    assert_eq!(
        error.as_db_error().expect("from the server").code().code(),
        "57014"
    );
    drop(rows);
    within(client.simple_query("SELECT 1"))
        .await
        .expect("goes on");
    cluster.stop(engine).await;
}
