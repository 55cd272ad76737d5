//! Addresses to listen on, as people write them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on: `HOST:PORT`, `:PORT`, or `PORT`; port 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Ok(Self(SocketAddr::new(
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                port,
            )));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(address));
        }
        match text.strip_prefix("localhost:").map(str::parse::<u16>) {
            Some(Ok(port)) => Ok(Self(SocketAddr::from(([127, 0, 0, 1], port)))),
            _ => Err(format!(
                "{text:?} is not an address to listen on; write for example 127.0.0.1:9092 or [::]:9092"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_listens_on_every_address() {
        assert_eq!(
            "9092".parse(),
            Ok(ListenAddress("[::]:9092".parse().unwrap()))
        );
        assert_eq!(":0".parse(), Ok(ListenAddress("[::]:0".parse().unwrap())));
    }

    #[test]
    fn localhost_is_the_loopback_address() {
        assert_eq!(
            "localhost:8080".parse(),
            Ok(ListenAddress("127.0.0.1:8080".parse().unwrap()))
        );
    }

    #[test]
    fn a_name_that_is_no_address_is_refused_with_an_example() {
        let error = "example.org:9092".parse::<ListenAddress>().unwrap_err();
        assert!(error.contains("127.0.0.1:9092"), "{error}");
    }
}
