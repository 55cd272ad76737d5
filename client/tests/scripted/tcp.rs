//! The same broker behind a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use moldau_client::{
    Client, ClientConfig, ClientError, ConsumerConfig, OffsetReset, ProducerConfig, ProducerRecord,
    TopicPartition,
};
use moldau_protocol::ApiKey;
use moldau_protocol::dispatch::{ClientContext, Dispatcher};
use moldau_protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::broker::Broker;
use crate::consumer::{numbers, read};

/// Serves `broker` on a free port. Every connection breaks after `requests` requests, if that is not 0.
async fn serve(broker: &Arc<Broker>, requests: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    broker.lock().port = i32::from(address.port());
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        let connections = AtomicUsize::new(0);
        while let Ok((stream, _)) = listener.accept().await {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            let limit = if requests == 0 {
                usize::MAX
            } else {
                requests + number % 3
            };
            tokio::spawn(answer(Arc::clone(&broker), stream, limit));
        }
    });
    address.to_string()
}

async fn answer(broker: Arc<Broker>, mut stream: TcpStream, limit: usize) -> Option<()> {
    let context = ClientContext::default();
    for _ in 0..limit {
        let length = stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.ok()?;
        let (header, request) = frame::parse_request(Bytes::from(frame)).unwrap();
        let key = request.api_key();
        let version = header.api_version;
        let response = broker.dispatch(&context, version, request).await.ok()?;
        let frame = frame::encode_response(key, version, header.correlation_id, &response).unwrap();
        stream.write_all(&frame.to_bytes().unwrap()).await.ok()?;
    }
    None
}

fn record(value: u32) -> ProducerRecord {
    let mut record = ProducerRecord::new("orders", None, Some(Bytes::from(value.to_string())));
    record.partition = Some(0);
    record
}

#[tokio::test]
async fn records_go_over_the_wire_and_back() {
    let broker = Broker::with_topic("orders", 1);
    let address = serve(&broker, 0).await;
    let client = Client::connect(ClientConfig::new(&address)).await.unwrap();
    let producer = client.producer(ProducerConfig::default());
    for number in 0..1_000 {
        producer.send(record(number)).await.unwrap();
    }
    producer.flush().await.unwrap();
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    consumer.assign(vec![TopicPartition::new("orders", 0)]);
    assert_eq!(read(&mut consumer, 1_000).await, numbers(0..1_000));
}

#[tokio::test]
async fn connections_that_break_again_and_again_lose_and_repeat_nothing() {
    let broker = Broker::with_topic("orders", 1);
    let address = serve(&broker, 4).await;
    let config = ClientConfig {
        reconnect_backoff_ms: 1,
        reconnect_backoff_max_ms: 2,
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 2,
        ..ClientConfig::new(&address)
    };
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig {
        batch_size: 100,
        linger_ms: 0,
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 2,
        ..ProducerConfig::default()
    });
    for number in 0..500 {
        producer.send(record(number)).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 0), numbers(0..500));
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        max_partition_bytes: 300,
        ..ConsumerConfig::default()
    });
    consumer.assign(vec![TopicPartition::new("orders", 0)]);
    assert_eq!(read(&mut consumer, 500).await, numbers(0..500));
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Client::connect(ClientConfig::new(&address))
        .await
        .unwrap_err();
    assert!(matches!(&error, ClientError::Connect { address: named, .. } if *named == address));
    assert!(error.to_string().contains("hint:"), "{error}");
}

#[tokio::test]
async fn something_that_is_no_broker_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = Client::connect(ClientConfig::new(&address))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    assert!(
        error.to_string().contains("is this a Kafka port?"),
        "{error}"
    );
}

#[tokio::test]
async fn no_servers_at_all_is_a_mistake_in_the_settings() {
    let error = Client::connect(ClientConfig::new("")).await.unwrap_err();
    assert!(
        error.to_string().starts_with("bootstrap_servers:"),
        "{error}"
    );
}

#[tokio::test]
async fn more_requests_than_a_connection_takes_at_once_wait_their_turn() {
    let broker = Broker::with_topic("orders", 3);
    let address = serve(&broker, 0).await;
    let client = Client::connect(ClientConfig::new(&address)).await.unwrap();
    let asking: Vec<_> = (0..500)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.partition_count("orders").await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(Some(3)));
    }
}

#[tokio::test]
async fn acks_0_is_not_answered() {
    let broker = Broker::with_topic("orders", 1);
    let address = serve_without_produce_answers(&broker).await;
    let client = Client::connect(ClientConfig::new(&address)).await.unwrap();
    let producer = client.producer(ProducerConfig {
        acks: moldau_client::Acks::None,
        ..ProducerConfig::default()
    });
    for number in 0..10 {
        let delivery = producer.send(record(number)).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset, -1);
    }
    while broker.values("orders", 0).len() < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.values("orders", 0), numbers(0..10));
}

async fn serve_without_produce_answers(broker: &Arc<Broker>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    broker.lock().port = i32::from(address.port());
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                let mut stream = stream;
                let context = ClientContext::default();
                while let Ok(length) = stream.read_u32().await {
                    let mut frame = vec![0; length as usize];
                    stream.read_exact(&mut frame).await.unwrap();
                    let (header, request) = frame::parse_request(Bytes::from(frame)).unwrap();
                    let key = request.api_key();
                    let version = header.api_version;
                    let response = broker.dispatch(&context, version, request).await.unwrap();
                    if key == ApiKey::Produce {
                        continue;
                    }
                    let id = header.correlation_id;
                    let frame = frame::encode_response(key, version, id, &response).unwrap();
                    stream.write_all(&frame.to_bytes().unwrap()).await.unwrap();
                }
            });
        }
    });
    address.to_string()
}
