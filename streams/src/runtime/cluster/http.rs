//! The way of a query to another instance: one POST over HTTP/1.1 for each, JSON both ways.
//!
//! Only instances of one application talk to each other here, so no more of HTTP is understood
//! than they use. Sizes, time and the number of connections are bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Answers a request's body with a status and a body.
pub(super) trait Answer: Send + Sync + 'static {
    fn answer(&self, body: Vec<u8>) -> impl Future<Output = (u16, Vec<u8>)> + Send;
}

/// Serves requests until the task that runs it is dropped.
pub(super) async fn serve(listener: TcpListener, service: Arc<impl Answer>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for queries could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let _permit = permit;
            // A peer that breaks off or is too slow has no answer to wait for.
            let _ = tokio::time::timeout(LIMIT, respond(stream, &*service)).await;
        });
    }
}

async fn respond(mut stream: TcpStream, service: &impl Answer) -> Result<(), String> {
    let (head, body) = read_message(&mut stream).await?;
    let (status, body) = if head.starts_with("POST /query ") {
        service.answer(body).await
    } else {
        (404, b"only POST /query is known here".to_vec())
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        if status == 200 { "OK" } else { "Error" },
        body.len()
    );
    write(&mut stream, &head, &body).await
}

/// Sends a request's body to `host:port`; gives status and body of the answer.
pub(super) async fn post(host: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let exchange = async {
        let connected = TcpStream::connect(host).await;
        let mut stream = connected.map_err(|error| error.to_string())?;
        let head = format!(
            "POST /query HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        write(&mut stream, &head, body).await?;
        let (head, body) = read_message(&mut stream).await?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or("the answer has no status")?, body))
    };
    let exchanged = tokio::time::timeout(LIMIT, exchange).await;
    exchanged.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

async fn write(stream: &mut TcpStream, head: &str, body: &[u8]) -> Result<(), String> {
    let written = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await
    };
    written.await.map_err(|error| error.to_string())
}

/// Reads the head of a message as text, and its body, whose length the head gives.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<(String, Vec<u8>), String> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD {
            return Err(format!("the head is larger than {MAX_HEAD} bytes"));
        }
        read_some(stream, &mut bytes).await?;
    };
    let mut body = bytes.split_off(head_end + 4);
    let head = String::from_utf8(bytes).map_err(|_| "the head is not text".to_owned())?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("the message has no content-length")?;
    if length > MAX_BODY {
        return Err(format!("the body is larger than {MAX_BODY} bytes"));
    }
    while body.len() < length {
        read_some(stream, &mut body).await?;
    }
    body.truncate(length);
    Ok((head, body))
}

async fn read_some(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk).await {
        Ok(0) => Err("the connection ended within a message".to_owned()),
        Ok(count) => {
            bytes.extend_from_slice(&chunk[..count]);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

const LIMIT: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 8 * 1024;
const MAX_BODY: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    struct Upper;

    impl Answer for Upper {
        async fn answer(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
            (200, body.to_ascii_uppercase())
        }
    }

    #[tokio::test]
    async fn a_question_goes_over_http_and_its_answer_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let server = tokio::spawn(serve(listener, Arc::new(Upper)));
        let body = vec![b'a'; 100_000];
        let answer = post(&host, &body).await.expect("an answer");
        assert_eq!(answer, (200, vec![b'A'; 100_000]));
        server.abort();
    }

    #[tokio::test]
    async fn a_message_without_an_end_or_a_length_is_refused() {
        let mut endless = &vec![b'x'; 20_000][..];
        let error = read_message(&mut endless).await.expect_err("endless");
        assert!(error.contains("larger than 8192"), "{error}");
        let mut unknown = &b"POST /query HTTP/1.1\r\n\r\n"[..];
        let error = read_message(&mut unknown).await.expect_err("no length");
        assert!(error.contains("content-length"), "{error}");
    }
}
