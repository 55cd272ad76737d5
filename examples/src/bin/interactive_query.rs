//! Counts page views and answers for them over HTTP: `GET /views/<page>` asks the store of
//! whichever instance owns the page.
//!
//! Run it with `cargo run -p moldau-examples --bin interactive_query [BOOTSTRAP]`.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use moldau_client::{Client, ClientConfig};
use moldau_streams::runtime::StoreQuery;
use moldau_streams::{Builder, Raw, StreamsConfig, StreamsError, StreamsHandle, Topic, Topology};
use tokio::net::TcpListener;

const PAGE_VIEWS: Topic<String, String> = Topic::new("viewed-pages");

fn topology() -> Result<Topology, StreamsError> {
    let builder = Builder::new("page-view-service");
    let views = builder.stream(&PAGE_VIEWS);
    let pages = views.group_by(|_user, page: &String| page.clone());
    drop(pages.count_as("views"));
    builder.build()
}

/// The views of a page as JSON, 0 for one that nobody has seen.
async fn views(
    State(job): State<Arc<StreamsHandle>>,
    Path(page): Path<String>,
) -> Result<Json<i64>, (StatusCode, String)> {
    let query = StoreQuery::get("views", Raw::from(page));
    // While tasks move, nobody may have the page for a moment; the caller tries again.
    let answer = job.query(&query).await;
    let answer = answer.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let count = answer.entries.first().map(|entry| entry.value.as_ref());
    let count = count.and_then(|bytes| bytes.try_into().ok());
    Ok(Json(count.map_or(0, i64::from_be_bytes)))
}

fn service(job: Arc<StreamsHandle>) -> Router {
    Router::new()
        .route("/views/{page}", routing::get(views))
        .with_state(job)
}

async fn start(client: Client) -> Result<Arc<StreamsHandle>> {
    let config = StreamsConfig {
        commit_interval_ms: Some(100),
        // Where other instances of this job ask for the pages that this one owns.
        application_server: Some("127.0.0.1:0".to_owned()),
        ..StreamsConfig::default()
    };
    Ok(Arc::new(topology()?.start(client, config).await?))
}

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    let job = start(Client::connect(ClientConfig::new(&bootstrap)).await?).await?;
    let listener = TcpListener::bind("127.0.0.1:8088").await?;
    axum::serve(listener, service(job)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::{Duration, Instant};

    use moldau_broker::{Broker, BrokerConfig};
    use moldau_client::admin::NewTopic;
    use moldau_client::{KString, ProducerConfig, ProducerRecord};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn views_of_all_users_are_counted_by_page() -> Result<()> {
        let test = topology()?.test()?;
        let views = test.input(&PAGE_VIEWS);
        views.send("ann", "/cart");
        views.send("bob", "/cart");
        assert_eq!(test.store::<String, i64>("views").get("/cart"), Some(2));
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_is_asked_for_over_http() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut config = BrokerConfig::new(directory.path());
        config.listeners = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let broker = Broker::start(config).await?;
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        let topic = NewTopic::new(PAGE_VIEWS.name(), 2);
        client.admin().ensure_topic(topic).await?;
        let producer = client.producer(ProducerConfig::default());
        for user in ["ann", "bob"] {
            let (key, page) = (Raw::from(user), Raw::from("cart"));
            let topic = KString::from(PAGE_VIEWS.name().to_owned());
            producer
                .send(ProducerRecord::new(topic, Some(key), Some(page)))
                .await?;
        }
        producer.flush().await?;

        let job = start(client).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(axum::serve(listener, service(job)).into_future());
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let answer = get(address, "/views/cart").await?;
            if answer.ends_with("\r\n\r\n2") {
                break;
            }
            assert!(Instant::now() < deadline, "{answer}");
        }
        assert!(get(address, "/views/nowhere").await?.ends_with("\r\n\r\n0"));
        server.abort();
        Ok(())
    }

    async fn get(address: SocketAddr, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
