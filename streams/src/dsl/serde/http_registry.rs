//! A client of a schema registry over HTTP.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use super::SerdeError;
use super::registry::{SchemaRegistry, SchemaText};

/// A schema registry that speaks Confluent's REST interface over plain HTTP.
///
/// Schemas are registered when they are written first (`auto.register.schemas`). TLS and
/// passwords are not supported; implement [`SchemaRegistry`] for a registry that needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSchemaRegistry {
    /// `host:port`.
    address: String,
    /// What stands before each path, without a slash at its end.
    path: String,
}

impl HttpSchemaRegistry {
    /// The registry at `http://host:port`, with or without a path.
    ///
    /// # Errors
    /// The address is not of that form.
    pub fn new(url: &str) -> Result<Self, SerdeError> {
        let refused = |why: &str| {
            SerdeError::new(format!(
                "schema registry \"{url}\": {why}\n  hint: give `http://host:port`"
            ))
        };
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(refused("only plain http is supported"));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(refused("user and password are not supported"));
        }
        if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refused("it is no address"));
        }
        let port = if host.contains(':') { "" } else { ":80" };
        let path = path.trim_end_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Self {
            address: format!("{host}{port}"),
            path: format!("{slash}{path}"),
        })
    }

    /// Sends a request, reads the answer. Version 1.0 of HTTP ends each answer with the
    /// connection.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, SerdeError> {
        let error = |why: &str| {
            let address = &self.address;
            SerdeError::new(format!(
                "schema registry at {address}: {method} {path}: {why}"
            ))
        };
        let answer = self.exchange(method, path, body);
        let answer = answer.map_err(|why| error(&why.to_string()))?;
        let parts = answer.split_once("\r\n\r\n");
        let (head, body) = parts.ok_or_else(|| error("the answer is no HTTP"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(error(&format!("status {status}: {}", body.trim())));
        }
        serde_json::from_str(body).map_err(|why| error(&format!("the answer is no JSON: {why}")))
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let unknown = || std::io::Error::other("its name is not known");
        let address = self.address.to_socket_addrs()?.next().ok_or_else(unknown)?;
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let (host, base, length) = (&self.address, &self.path, body.len());
        let request = format!(
            "{method} {base}{path} HTTP/1.0\r\nhost: {host}\r\naccept: application/json\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl SchemaRegistry for HttpSchemaRegistry {
    fn id_of(&self, subject: &str, schema: &SchemaText<'_>) -> Result<i32, SerdeError> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let body = json!({ "schema": schema.text, "schemaType": schema.kind }).to_string();
        let answer = self.ask("POST", &path, &body)?;
        let id = answer.get("id").and_then(Value::as_i64);
        id.and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| SerdeError::new(format!("schema registry: no id in {answer}")))
    }

    fn schema(&self, id: i32) -> Result<String, SerdeError> {
        let answer = self.ask("GET", &format!("/schemas/ids/{id}"), "")?;
        let schema = answer.get("schema").and_then(Value::as_str);
        schema
            .map(str::to_owned)
            .ok_or_else(|| SerdeError::new(format!("schema registry: no schema in {answer}")))
    }
}

/// A subject as a part of a path.
fn escaped(subject: &str) -> String {
    let mut path = String::new();
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// How long connecting, writing and reading may each take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Gives one answer, and what was asked.
    fn registry(status: &str, body: &str) -> (HttpSchemaRegistry, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let length = body.len();
        let answer = format!("HTTP/1.0 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            loop {
                let read = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let (_, length) = head.split_once("content-length: ").expect("a length");
                let length = length.lines().next().and_then(|text| text.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    stream.write_all(answer.as_bytes()).expect("an answer");
                    return text;
                }
            }
        });
        let url = format!("http://{address}/api/");
        (HttpSchemaRegistry::new(&url).expect("a registry"), served)
    }

    #[test]
    fn a_schema_is_registered_under_its_subject() {
        let (registry, served) = registry("200 OK", r#"{"id":17}"#);
        let schema = SchemaText {
            kind: "AVRO",
            text: "\"long\"",
        };
        assert_eq!(registry.id_of("a b-value", &schema), Ok(17));
        let asked = served.join().expect("one request");
        assert!(asked.starts_with("POST /api/subjects/a%20b-value/versions HTTP/1.0\r\n"));
        assert!(
            asked.ends_with(r#"{"schema":"\"long\"","schemaType":"AVRO"}"#),
            "{asked}"
        );
    }

    #[test]
    fn a_schema_is_found_by_its_id() {
        let (registry, served) = registry("200 OK", r#"{"schema":"\"long\""}"#);
        assert_eq!(registry.schema(17).as_deref(), Ok("\"long\""));
        let asked = served.join().expect("one request");
        assert!(
            asked.starts_with("GET /api/schemas/ids/17 HTTP/1.0\r\n"),
            "{asked}"
        );
    }

    #[test]
    fn what_the_registry_refuses_is_told() {
        let (registry, served) = registry("409 Conflict", r#"{"message":"incompatible"}"#);
        let error = registry.schema(1).expect_err("a refusal").to_string();
        assert!(
            error.contains("status 409: {\"message\":\"incompatible\"}"),
            "{error}"
        );
        served.join().expect("one request");
    }

    #[test]
    fn addresses_that_are_not_supported_are_refused() {
        for url in [
            "https://host:1",
            "host:1",
            "http://user:word@host",
            "http://",
            "http://a b",
        ] {
            assert!(HttpSchemaRegistry::new(url).is_err(), "{url}");
        }
    }
}
