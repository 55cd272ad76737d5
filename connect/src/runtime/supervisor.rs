//! Keeps a connector going: starts it again after errors, with growing pauses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::TaskContext;
use super::client_cluster::ClientCluster;
use super::error::ConnectError;
use super::sink_task::run_sink;
use super::source_task::run_source;
use super::status::{ConnectorState, StatusBoard};
use crate::config::connector::{ConnectorSpec, Direction, RetryPolicy, SourceKind};
use crate::connectors::file::FileSource;
use crate::connectors::generator::GeneratorSource;
use crate::connectors::host_metrics::HostMetricsSource;

/// How a connector ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was asked to.
    Closed,
    /// There is nothing more to do.
    Finished,
}

/// Runs a connector until it is closed or finished.
pub(crate) async fn supervise(context: TaskContext<ClientCluster>, spec: Arc<ConnectorSpec>) {
    let mut backoff = Backoff::new(&spec.errors.retry);
    loop {
        let started = Instant::now();
        match run_once(&context, &spec).await {
            Ok(end) => {
                context.status.stopped();
                info!(connector = %spec.name, ?end, "connector stopped");
                return;
            }
            Err(error) => {
                if started.elapsed() > HEALTHY_AFTER {
                    backoff.reset();
                }
                report(&context.status, &spec.name, &error);
            }
        }
        if wait(&mut context.closing.clone(), backoff.next()).await {
            context.status.stopped();
            return;
        }
        context.status.restarted();
    }
}

async fn run_once(
    context: &TaskContext<ClientCluster>,
    spec: &ConnectorSpec,
) -> Result<End, ConnectError> {
    match &spec.direction {
        Direction::Source(source) => match &source.kind {
            SourceKind::File(file) => {
                let file = FileSource::new(file, &context.host);
                run_source(context, spec, source, file).await
            }
            SourceKind::HostMetrics(metrics) => {
                let metrics = HostMetricsSource::new(metrics, &context.host);
                run_source(context, spec, source, metrics).await
            }
            SourceKind::Generator(generator) => {
                run_source(context, spec, source, GeneratorSource::new(generator)).await
            }
        },
        Direction::Sink(sink) => run_sink(context, spec, sink).await,
    }
}

fn report(status: &StatusBoard, connector: &str, error: &ConnectError) {
    if error.is_temporary() {
        let text = status.trouble(ConnectorState::Retrying, &error.to_string());
        warn!(%connector, error = %text, "connector was interrupted, trying again");
    } else {
        let text = status.trouble(ConnectorState::Failed, &error.to_string());
        error!(%connector, error = %text, "connector failed, trying again later");
    }
}

/// Waits; `true` when the connector was closed in the meantime.
pub(crate) async fn wait(closing: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => false,
        () = closed(closing) => true,
    }
}

/// Waits until the connector is closed.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could want it to run.
    drop(closing.wait_for(|closing| *closing).await);
}

/// Pauses that double up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(policy: &RetryPolicy) -> Self {
        Self {
            first: policy.delay,
            limit: policy.max_delay,
            next: policy.delay,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.limit);
        pause
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A connector that ran this long begins again with the shortest pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_after_health() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(&RetryPolicy {
            delay: seconds(1),
            max_delay: seconds(5),
        });
        let pauses: Vec<_> = (0..5).map(|_| backoff.next()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5].map(seconds));
        backoff.reset();
        assert_eq!(backoff.next(), seconds(1));
    }
}
