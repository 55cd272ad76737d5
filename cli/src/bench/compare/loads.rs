//! Each load on one endpoint, and what is measured.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use moldau_client::{Acks, Compression, KString, ProducerConfig, ProducerRecord};
use moldau_protocol::frame::{self, RequestHeader};
use moldau_protocol::messages::api_versions::ApiVersionsRequest;
use moldau_protocol::{ApiKey, RequestKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::consume;
use super::super::latency::{self, LatencyLoad};
use super::super::produce::{self, ProduceLoad};
use super::super::report::Report;
use super::{Case, Endpoint, Figure, Scale};

/// Bytes that every endpoint is likely to have in its memory after they were written.
const CACHED_BYTES: u64 = 32_000_000;

/// Size of the values of loads that do not vary it.
const VALUE_BYTES: usize = 1024;

/// Partitions of topics of loads that do not vary it.
const PARTITIONS: i32 = 6;

/// Partitions of one topic of [`Case::Partitions`].
const PARTITIONS_PER_TOPIC: i32 = 1_000;

/// Connections that are opened at once; more than a server lets wait are refused.
const CONNECTING_AT_ONCE: usize = 16;

/// Runs one load.
///
/// # Errors
/// The endpoint cannot be reached or refuses the load.
pub(super) async fn run(
    case: &Case,
    endpoint: &mut Endpoint,
    scale: Scale,
) -> anyhow::Result<Vec<Figure>> {
    match *case {
        Case::Produce {
            size,
            acks,
            compression,
            partitions,
        } => {
            let load = ProduceLoad {
                records: (scale.bytes / size as u64).max(1),
                size,
                acks,
                compression,
                ..plain_load()
            };
            produce(endpoint, load, partitions).await
        }
        Case::ConsumeCache => {
            let written = scale.bytes.min(CACHED_BYTES);
            consume(endpoint, written, (scale.bytes / written).max(1), false).await
        }
        Case::ConsumeFiles => {
            let written = scale.bytes.max(8 * CACHED_BYTES);
            consume(endpoint, written, 1, scale.drop_page_cache).await
        }
        Case::Latency { rate } => latency(endpoint, rate, scale.seconds).await,
        Case::FanOut { consumers } => fan_out(endpoint, consumers, scale.bytes).await,
        Case::Idle { connections } => idle(endpoint, connections, scale.seconds).await,
        Case::Partitions { count } => partitions(endpoint, count).await,
    }
}

fn plain_load() -> ProduceLoad {
    ProduceLoad {
        topic: String::new(),
        records: 0,
        size: VALUE_BYTES,
        acks: Acks::All,
        compression: Compression::None,
        batch_size: 64 * 1024,
        linger_ms: 5,
    }
}

async fn produce(
    endpoint: &mut Endpoint,
    mut load: ProduceLoad,
    partitions: i32,
) -> anyhow::Result<Vec<Figure>> {
    load.topic = endpoint.create_topic(partitions).await?;
    let hidden = ProgressBar::hidden();
    let report = with_usage(endpoint, produce::measure(&endpoint.client, &load, &hidden)).await?;
    endpoint.delete_topics(&[load.topic]).await?;
    let mut figures = throughput(&report);
    figures.extend(latencies(&report));
    Ok(figures)
}

/// Reads `bytes` that were just written, `times` times.
async fn consume(
    endpoint: &mut Endpoint,
    bytes: u64,
    times: u64,
    drop_page_cache: bool,
) -> anyhow::Result<Vec<Figure>> {
    let (topic, records) = filled_topic(endpoint, bytes).await?;
    if drop_page_cache {
        std::fs::write("/proc/sys/vm/drop_caches", "1").context("empty the page cache")?;
    }
    let hidden = ProgressBar::hidden();
    let read = async {
        let began = Instant::now();
        let mut bytes = 0;
        for _ in 0..times {
            bytes += consume::measure(&endpoint.client, &topic, records, &hidden)
                .await?
                .record_bytes;
        }
        Ok(Report::new(
            "consume",
            records * times,
            bytes,
            began.elapsed(),
        ))
    };
    let report = with_usage(endpoint, read).await?;
    endpoint.delete_topics(&[topic]).await?;
    Ok(throughput(&report))
}

async fn fan_out(
    endpoint: &mut Endpoint,
    consumers: usize,
    bytes: u64,
) -> anyhow::Result<Vec<Figure>> {
    let (topic, records) =
        filled_topic(endpoint, (bytes / consumers as u64).max(1_000_000)).await?;
    let hidden = ProgressBar::hidden();
    let read = async {
        let began = Instant::now();
        let reads =
            (0..consumers).map(|_| consume::measure(&endpoint.client, &topic, records, &hidden));
        let bytes = try_join_all(reads)
            .await?
            .iter()
            .map(|report| report.record_bytes)
            .sum();
        Ok(Report::new(
            "fan-out",
            records * consumers as u64,
            bytes,
            began.elapsed(),
        ))
    };
    let report = with_usage(endpoint, read).await?;
    endpoint.delete_topics(&[topic]).await?;
    Ok(throughput(&report))
}

async fn latency(endpoint: &mut Endpoint, rate: u64, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let load = LatencyLoad {
        topic: endpoint.create_topic(PARTITIONS).await?,
        records: rate * seconds,
        rate,
        size: 100,
        acks: Acks::All,
    };
    let hidden = ProgressBar::hidden();
    // The first records pay for connections and caches.
    let warm = LatencyLoad {
        records: rate.max(100),
        ..load.clone()
    };
    latency::measure(&endpoint.client, &warm, &hidden).await?;
    let report = with_usage(endpoint, latency::measure(&endpoint.client, &load, &hidden)).await?;
    endpoint.delete_topics(&[load.topic]).await?;
    let mut figures = latencies(&report);
    figures.extend(
        report
            .server
            .iter()
            .map(|server| Figure::lower("CPU-ms/s", server.cpu_seconds * 1e3 / report.seconds)),
    );
    Ok(figures)
}

async fn idle(
    endpoint: &mut Endpoint,
    connections: usize,
    seconds: u64,
) -> anyhow::Result<Vec<Figure>> {
    let before = endpoint.usage()?;
    let request = api_versions_request()?;
    let mut open = Vec::with_capacity(connections);
    while open.len() < connections {
        let more = (connections - open.len()).min(CONNECTING_AT_ONCE);
        let opening = (0..more).map(|_| open_connection(&endpoint.bootstrap, &request));
        open.extend(try_join_all(opening).await?);
    }
    let opened = endpoint.usage()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = endpoint.usage()?;
    drop(open);
    let (Some(before), Some(opened), Some(after)) = (before, opened, after) else {
        return Ok(Vec::new());
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Figure::lower("memory MiB", mib(after.memory_bytes)),
        Figure::lower(
            "memory added MiB",
            mib(after.memory_bytes) - mib(before.memory_bytes),
        ),
        Figure::lower(
            "CPU-ms/s",
            (after.cpu_seconds - opened.cpu_seconds) * 1e3 / seconds as f64,
        ),
    ])
}

/// A connection that has asked for the API versions, as every client does first.
async fn open_connection(bootstrap: &str, request: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(bootstrap)
        .await
        .with_context(|| format!("connect to {bootstrap}"))?;
    stream.write_all(request).await?;
    let length = stream.read_u32().await?;
    let mut answer = vec![0; length.min(1 << 20) as usize];
    stream.read_exact(&mut answer).await?;
    Ok(stream)
}

fn api_versions_request() -> anyhow::Result<Bytes> {
    let header = RequestHeader {
        api_key: ApiKey::ApiVersions as i16,
        api_version: 0,
        correlation_id: 1,
        client_id: None,
    };
    let frame = frame::encode_request(&header, &RequestKind::from(ApiVersionsRequest::default()))?;
    frame.to_bytes().context("a request has no file ranges")
}

async fn partitions(endpoint: &mut Endpoint, count: i32) -> anyhow::Result<Vec<Figure>> {
    let before = endpoint.usage()?;
    let began = Instant::now();
    let mut topics = Vec::new();
    let mut missing = count;
    while missing > 0 {
        let partitions = missing.min(PARTITIONS_PER_TOPIC);
        missing -= partitions;
        topics.push(endpoint.create_topic(partitions).await?);
    }
    let mut figures = vec![Figure::lower("create s", began.elapsed().as_secs_f64())];
    let began = Instant::now();
    endpoint.client.admin().describe_topics(&topics).await?;
    figures.push(Figure::lower(
        "metadata ms",
        began.elapsed().as_secs_f64() * 1e3,
    ));
    let began = Instant::now();
    fill_partitions(endpoint, &topics, count).await?;
    figures.push(Figure::lower(
        "first write s",
        began.elapsed().as_secs_f64(),
    ));
    if let (Some(before), Some(after)) = (before, endpoint.usage()?) {
        figures.push(Figure::lower(
            "CPU-s",
            after.cpu_seconds - before.cpu_seconds,
        ));
        figures.push(Figure::lower(
            "memory MiB",
            after.memory_bytes as f64 / f64::from(1 << 20),
        ));
    }
    if endpoint.can_restart() {
        let first = topics
            .first()
            .context("at least one topic was created")?
            .clone();
        let took = endpoint.restart(&first).await?;
        figures.push(Figure::lower("start s", took.as_secs_f64()));
        if let Some(after) = endpoint.usage()? {
            figures.push(Figure::lower(
                "started MiB",
                after.memory_bytes as f64 / f64::from(1 << 20),
            ));
        }
    }
    endpoint.delete_topics(&topics).await?;
    Ok(figures)
}

/// Writes one record into every partition, so that none is empty.
async fn fill_partitions(endpoint: &Endpoint, topics: &[String], count: i32) -> anyhow::Result<()> {
    let producer = endpoint.client.producer(ProducerConfig::default());
    let places = topics.iter().flat_map(|topic| {
        (0..PARTITIONS_PER_TOPIC).map(move |partition| (KString::copy_from(topic), partition))
    });
    for (topic, partition) in places.take(usize::try_from(count).unwrap_or(0)) {
        let mut record = ProducerRecord::new(topic, None, Some(Bytes::from_static(b"filled")));
        record.partition = Some(partition);
        producer.send(record).await?;
    }
    producer.flush().await?;
    producer.close().await;
    Ok(())
}

/// A topic with about `bytes` in it, and the number of its records.
async fn filled_topic(endpoint: &mut Endpoint, bytes: u64) -> anyhow::Result<(String, u64)> {
    let load = ProduceLoad {
        topic: endpoint.create_topic(PARTITIONS).await?,
        records: (bytes / VALUE_BYTES as u64).max(1),
        ..plain_load()
    };
    produce::measure(&endpoint.client, &load, &ProgressBar::hidden()).await?;
    Ok((load.topic, load.records))
}

/// What the server used while `work` ran.
async fn with_usage(
    endpoint: &Endpoint,
    work: impl Future<Output = anyhow::Result<Report>>,
) -> anyhow::Result<Report> {
    endpoint.reset_peak_memory();
    let before = endpoint.usage()?;
    let report = work.await?;
    Ok(report.with_server(before, endpoint.usage()?))
}

fn throughput(report: &Report) -> Vec<Figure> {
    let mut figures = vec![Figure::higher("MiB/s", report.mib_per_second)];
    if let Some(server) = &report.server {
        figures.push(Figure::lower("CPU-s/GB", server.cpu_seconds_per_gb));
        figures.push(Figure::lower(
            "peak MiB",
            server.peak_memory_bytes as f64 / f64::from(1 << 20),
        ));
    }
    figures
}

fn latencies(report: &Report) -> Vec<Figure> {
    const SHOWN: [(f64, &str); 3] = [(50.0, "p50 ms"), (99.0, "p99 ms"), (99.9, "p99.9 ms")];
    SHOWN
        .iter()
        .filter_map(|(percentile, name)| {
            let found = report
                .latency_ms
                .iter()
                .find(|latency| latency.percentile == *percentile)?;
            Some(Figure::lower(name, found.milliseconds))
        })
        .collect()
}
