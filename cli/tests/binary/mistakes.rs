//! What a mistake looks like: a clear error, the right exit code, and a server that goes on.

use std::io::Write;
use std::net::TcpStream;

use crate::moldau::{Server, run};

#[test]
fn a_mistake_in_the_yaml_is_shown_with_its_line_and_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moldau.yaml");
    std::fs::write(&file, "version: 1\nconectors: {}\n").unwrap();
    for verb in ["lint", "start"] {
        let output = run(&[verb, file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{verb}: {errors}");
        assert!(
            errors.contains("moldau.yaml:2:1") && errors.contains("connectors"),
            "{verb}: {errors}"
        );
    }
}

#[test]
fn a_mistake_in_the_sql_of_a_yaml_is_shown_with_the_line_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moldau.yaml");
    std::fs::write(
        &file,
        "version: 1\nsql: |\n  SHOW STREAMS;\n  CREATE STREM s;\n",
    )
    .unwrap();
    let output = run(&["lint", file.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("moldau.yaml:4"), "{errors}");
}

#[test]
fn a_taken_address_is_named_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = run(&[
        "broker",
        "--http",
        &address,
        "--kafka",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(&address) && errors.contains("--http 127.0.0.1:0"),
        "{errors}"
    );
}

#[test]
fn a_client_verb_without_a_server_says_which_address_does_not_answer() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for arguments in [
        ["topic", "--bootstrap", &address, "list"],
        ["topic", "list", "--bootstrap", &address],
    ] {
        let output = run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(&address), "{errors}");
    }
}

#[test]
fn bytes_that_are_no_request_close_their_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("broker", None, folder.path());
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 4, 0x7f, 0xff, 0, 0],
        &[0, 0, 0, 0],
    ] {
        let mut stream = TcpStream::connect(&server.kafka).unwrap();
        stream.set_read_timeout(Some(crate::moldau::LIMIT)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // Closed, whether by an end or by a reset; a time-out would be neither.
        match std::io::Read::read_to_end(&mut stream, &mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "{bytes:?}"
            ),
        }
        assert!(answer.is_empty(), "{bytes:?} was answered with {answer:?}");
    }
    server.client(&["produce", "alive"], "yes\n");
    assert_eq!(
        server.client(&["consume", "alive", "--exit-at-end"], ""),
        "yes\n"
    );
}

#[test]
fn a_bad_statement_is_an_error_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("start", None, folder.path());
    let output = crate::moldau::command()
        .args([
            "sql",
            "--postgres",
            server.postgres.as_deref().unwrap(),
            "SELECT nothing FROM nowhere",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("nowhere"), "{errors}");
    let answer = server.client(&["sql", "SELECT 1 + 1 AS two"], "");
    assert_eq!(answer, "two\n2\n");
}
