//! A client of a schema registry over HTTP.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::{Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::SerdeError;
use super::registry::{SchemaRegistry, SchemaText};

/// A schema registry that speaks Confluent's REST interface over HTTP or HTTPS.
///
/// Schemas are registered when they are written first (`auto.register.schemas`). Certificates are checked against
/// those that the operating system trusts; client certificates are not supported.
#[derive(Clone)]
pub struct HttpSchemaRegistry {
    agent: Agent,
    /// What stands before each path, without a slash at its end.
    base: String,
    /// The same without user and password.
    shown: String,
}

impl HttpSchemaRegistry {
    /// The registry at `http://host:port` or `https://host:port`, with or without a path. A user and password, as
    /// in `https://user:password@host`, are sent as basic authentication.
    ///
    /// # Errors
    /// The address is not of that form.
    pub fn new(url: &str) -> Result<Self, SerdeError> {
        let refused = |why: &str| {
            SerdeError::new(format!(
                "schema registry \"{}\": {why}\n  hint: give `http://host:port`",
                without_user(url)
            ))
        };
        let uri: Uri = url.parse().map_err(|_| refused("it is no address"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(refused("it is neither http nor https"));
        }
        if uri.host().unwrap_or_default().is_empty() || uri.query().is_some() {
            return Err(refused("it is no address"));
        }
        let base = url.trim_end_matches('/').to_owned();
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .tls_config(tls.build());
        Ok(Self {
            agent: config.build().new_agent(),
            shown: without_user(&base),
            base,
        })
    }

    /// Sends a request, with a body or to read, and reads the answer.
    fn ask(&self, path: &str, body: Option<&str>) -> Result<Value, SerdeError> {
        let error = |why: &str| {
            let (method, shown) = (if body.is_some() { "POST" } else { "GET" }, &self.shown);
            SerdeError::new(format!("schema registry: {method} {shown}{path}: {why}"))
        };
        let answer = self.exchange(path, body);
        let mut answer = answer.map_err(|why| error(&why.to_string()))?;
        let text = answer.body_mut().with_config().limit(MAX_ANSWER);
        let text = text.read_to_string();
        let text = text.map_err(|why| error(&why.to_string()))?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            return Err(error(&format!("status {status}: {}", text.trim())));
        }
        serde_json::from_str(&text).map_err(|why| error(&format!("the answer is no JSON: {why}")))
    }

    fn exchange(&self, path: &str, body: Option<&str>) -> Result<Response<Body>, ureq::Error> {
        let url = format!("{}{path}", self.base);
        match body {
            None => self.agent.get(url).header("accept", TYPE).call(),
            Some(body) => {
                let request = self.agent.post(url).header("accept", TYPE);
                request.content_type(TYPE).send(body)
            }
        }
    }
}

impl fmt::Debug for HttpSchemaRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("HttpSchemaRegistry")
            .field(&self.shown)
            .finish()
    }
}

impl SchemaRegistry for HttpSchemaRegistry {
    fn id_of(&self, subject: &str, schema: &SchemaText<'_>) -> Result<i32, SerdeError> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let body = json!({ "schema": schema.text, "schemaType": schema.kind }).to_string();
        let answer = self.ask(&path, Some(&body))?;
        let id = answer.get("id").and_then(Value::as_i64);
        id.and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| SerdeError::new(format!("schema registry: no id in {answer}")))
    }

    fn schema(&self, id: i32) -> Result<String, SerdeError> {
        let answer = self.ask(&format!("/schemas/ids/{id}"), None)?;
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

/// An address without its user and password.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// How long a request may take until its answer is read.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;
/// What is sent and wanted.
const TYPE: &str = "application/vnd.schemaregistry.v1+json";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Gives one answer, and what was asked.
    fn registry(status: &str, body: &str) -> (HttpSchemaRegistry, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
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
                let length = head.split_once("content-length: ");
                let length = length.and_then(|(_, text)| text.lines().next()?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    stream.write_all(answer.as_bytes()).expect("an answer");
                    return text;
                }
            }
        });
        let url = format!("http://user:word@{address}/api/");
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
        assert!(asked.starts_with("POST /api/subjects/a%20b-value/versions HTTP/1.1\r\n"));
        assert!(
            asked.contains("authorization: Basic dXNlcjp3b3Jk\r\n"),
            "{asked}"
        );
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
            asked.starts_with("GET /api/schemas/ids/17 HTTP/1.1\r\n"),
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
            "host:1",
            "ftp://host:1",
            "http://",
            "http://a b",
            "http://host/?query",
        ] {
            assert!(HttpSchemaRegistry::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_message_shows_the_password() {
        let registry =
            HttpSchemaRegistry::new("https://user:secret@host:1/api").expect("a registry");
        assert_eq!(
            format!("{registry:?}"),
            r#"HttpSchemaRegistry("https://host:1/api")"#
        );
        let error = HttpSchemaRegistry::new("ftp://user:secret@host").expect_err("no registry");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
