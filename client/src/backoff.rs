//! Waits between attempts: exponential, with jitter, within a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::error::ClientError;

/// The wait before the next attempt; doubles each time up to a maximum.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first_ms: u64,
    max_ms: u64,
    attempts: u32,
}

impl Backoff {
    pub(crate) const fn new(first_ms: u64, max_ms: u64) -> Self {
        Self {
            first_ms,
            max_ms,
            attempts: 0,
        }
    }

    pub(crate) const fn retries(config: &ClientConfig) -> Self {
        Self::new(config.retry_backoff_ms, config.retry_backoff_max_ms)
    }

    /// The next wait, between 80 and 120 per cent of the exponential value, so that clients spread.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = wait_ms(self.first_ms, self.max_ms, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        Duration::from_millis(wait)
    }
}

/// Wait after `attempts` failures (0 for the first), with jitter.
pub(crate) fn wait_ms(first_ms: u64, max_ms: u64, attempts: u32) -> u64 {
    let exponential = first_ms
        .saturating_mul(1_u64 << attempts.min(20))
        .min(max_ms);
    exponential * rand::random_range(80..=120) / 100
}

/// Attempts of one operation until it succeeds, fails for good or its time is up.
#[derive(Debug)]
pub(crate) struct Retry {
    deadline: Instant,
    backoff: Backoff,
}

impl Retry {
    pub(crate) fn new(config: &ClientConfig, limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            backoff: Backoff::retries(config),
        }
    }

    /// Within the client's `default_api_timeout_ms`.
    pub(crate) fn api(config: &ClientConfig) -> Self {
        Self::new(config, Duration::from_millis(config.default_api_timeout_ms))
    }

    /// Waits before the next attempt, or gives `error` back: it is final, or there is no time left.
    pub(crate) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.wait(error).await
    }

    /// Waits before the next attempt whatever the error is, or gives it back if there is no time left.
    pub(crate) async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        let wait = self.backoff.next_wait();
        if Instant::now() + wait >= self.deadline {
            return Err(error);
        }
        tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "attempt failed, trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_never_overflow() {
        for (attempts, expected) in [(0, 100), (1, 200), (3, 800), (4, 1_000), (4_000, 1_000)] {
            let wait = wait_ms(100, 1_000, attempts);
            assert!(
                (expected * 8 / 10..=expected * 12 / 10).contains(&wait),
                "{attempts}: {wait}"
            );
        }
    }
}
