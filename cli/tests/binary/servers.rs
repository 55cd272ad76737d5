//! `start` and `broker`: ports, verbs against them, stopping, starting again.

use serde_json::Value;

use crate::moldau::Server;

#[test]
fn the_http_port_gives_health_metrics_and_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("start", None, folder.path());
    server.client(&["produce", "measured"], "a\nb\n");
    assert_eq!(
        server.get("/healthz"),
        ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned())
    );
    let (_, metrics) = server.get("/metrics");
    assert!(
        metrics.contains("moldau_topic_messages_in_total{topic=\"measured\"} 2"),
        "{metrics}"
    );
    assert!(
        metrics.contains("moldau_request_latency_seconds_bucket{request=\"Produce\""),
        "{metrics}"
    );
    let (_, page) = server.get("/");
    assert!(page.contains("<title>Moldau</title>"));
    let (_, topics) = server.get("/api/topics");
    let topics: Value = serde_json::from_str(&topics).unwrap();
    assert!(
        topics
            .as_array()
            .unwrap()
            .iter()
            .any(|topic| topic["name"] == "measured"),
        "{topics}"
    );
    assert_eq!(server.get("/nowhere").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn topics_are_created_described_grown_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("broker", None, folder.path());
    server.client(
        &[
            "topic",
            "create",
            "orders",
            "-p",
            "3",
            "-c",
            "retention.ms=60000",
        ],
        "",
    );
    let described = server.client(&["topic", "describe", "orders", "--json"], "");
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert!(
        described["configs"].to_string().contains("60000"),
        "{described}"
    );
    server.client(&["topic", "add-partitions", "orders", "--to", "5"], "");
    let listed = server.client(&["topic", "list"], "");
    assert!(
        listed
            .lines()
            .any(|line| line.split_whitespace().eq(["orders", "5", "1"])),
        "{listed}"
    );
    server.client(&["topic", "delete", "orders"], "");
    assert!(!server.client(&["topic", "list"], "").contains("orders"));
}

#[test]
fn a_group_goes_on_where_it_stopped_and_shows_its_lag() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("broker", None, folder.path());
    server.client(&["produce", "events"], "1\n2\n3\n");
    let first = server.client(&["consume", "events", "--group", "readers", "-n", "2"], "");
    assert_eq!(first, "1\n2\n");
    let described = server.client(&["group", "describe", "readers", "--json"], "");
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["offsets"][0]["lag"], 1, "{described}");
    assert_eq!(
        server.client(&["consume", "events", "--group", "readers", "-n", "1"], ""),
        "3\n"
    );
}

#[test]
fn an_interrupt_stops_cleanly_and_the_data_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("start", None, folder.path());
    let cluster_id = server.cluster_id.clone();
    server.client(&["produce", "kept", "-K", ":"], "k:v\n");
    assert!(
        server.printed().contains(&server.kafka),
        "{}",
        server.printed()
    );
    assert_eq!(server.interrupt(), Some(0));
    assert!(
        !folder.path().join("ready.json").exists(),
        "the ready file outlives the server"
    );

    let server = Server::start("start", None, folder.path());
    assert_eq!(server.cluster_id, cluster_id);
    assert_eq!(
        server.client(&["consume", "kept", "--exit-at-end", "-K", "="], ""),
        "k=v\n"
    );
}

#[test]
fn two_servers_cannot_share_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::start("broker", None, folder.path());
    let data = folder.path().join("data");
    let output = crate::moldau::run(&[
        "broker",
        "--kafka",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(data.to_str().unwrap()), "{errors}");
}
