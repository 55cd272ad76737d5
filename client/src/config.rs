//! Settings shared by everything that one [`Client`](crate::Client) does.

/// Settings of a [`Client`](crate::Client). Names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Brokers to ask for the cluster's metadata first, as `host:port`; one that answers is enough.
    pub bootstrap_servers: Vec<String>,
    /// Name of this program in the broker's logs, metrics and quotas.
    pub client_id: String,
    /// How long one request may stay unanswered (30,000 ms). The connection is closed after that.
    pub request_timeout_ms: u64,
    /// How long connecting to one broker may take (10,000 ms).
    pub connect_timeout_ms: u64,
    /// Limit of a whole call that may take several requests and retries (60,000 ms).
    pub default_api_timeout_ms: u64,
    /// First wait before a failed request is made again (100 ms); doubles up to `retry_backoff_max_ms`.
    pub retry_backoff_ms: u64,
    /// Longest wait between two attempts (1,000 ms).
    pub retry_backoff_max_ms: u64,
    /// First wait before a broker that could not be reached is tried again (50 ms).
    pub reconnect_backoff_ms: u64,
    /// Longest wait before a broker that could not be reached is tried again (1,000 ms).
    pub reconnect_backoff_max_ms: u64,
    /// Age at which metadata is asked for again even if nothing went wrong (300,000 ms).
    pub metadata_max_age_ms: u64,
    /// Largest response accepted, in bytes (100 MiB): a bound on memory, whatever a peer sends.
    pub max_response_size: usize,
}

impl ClientConfig {
    /// Settings for the brokers in `bootstrap_servers`, separated by commas: `a:9092,b:9092`.
    ///
    /// A server without a port gets 9092.
    #[must_use]
    pub fn new(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers
                .split(',')
                .map(str::trim)
                .filter(|server| !server.is_empty())
                .map(with_default_port)
                .collect(),
            ..Self::default()
        }
    }

    /// The same settings with another `client_id`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            client_id: "moldau-client".to_owned(),
            request_timeout_ms: 30_000,
            connect_timeout_ms: 10_000,
            default_api_timeout_ms: 60_000,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 1_000,
            metadata_max_age_ms: 300_000,
            max_response_size: 100 * 1024 * 1024,
        }
    }
}

fn with_default_port(server: &str) -> String {
    let after_brackets = server.rsplit(']').next().unwrap_or(server);
    if after_brackets.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:9092")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_split_at_commas_and_get_the_default_port() {
        let config = ClientConfig::new("a:1, b ,[::1], [::1]:7,");
        assert_eq!(
            config.bootstrap_servers,
            ["a:1", "b:9092", "[::1]:9092", "[::1]:7"]
        );
    }
}
