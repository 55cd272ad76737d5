//! Who sent a request, and how the broker is reached from there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use moldau_protocol::KString;

use crate::config::BrokerConfig;

/// What is the same for all requests of a connection.
#[derive(Debug)]
pub(crate) struct ClientInfo {
    /// The client's address as Kafka shows it: `/127.0.0.1`.
    pub(crate) host: KString,
    /// Where this client reaches this broker.
    pub(crate) broker_host: KString,
    pub(crate) broker_port: i32,
}

/// One request's circumstances.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) version: i16,
    pub(crate) client_id: KString,
    pub(crate) client: Arc<ClientInfo>,
    /// Bytes of the request's frame, which its slices keep in memory; 0 when there is none.
    pub(crate) frame_size: usize,
    /// Grows with each fetch of a connection, so that another partition comes first each time.
    pub(crate) rotation: u32,
}

impl ClientInfo {
    /// The client behind a socket. It reaches the broker at `local`, unless another address is configured.
    pub(crate) fn of_socket(config: &BrokerConfig, peer: SocketAddr, local: SocketAddr) -> Self {
        let host = KString::from(format!("/{}", peer.ip().to_canonical()));
        let local_host = local.ip().to_canonical();
        Self::new(config, host, local_host, local.port())
    }

    /// A client in the same process; `listener` is where a client outside would connect.
    pub(crate) fn in_process(config: &BrokerConfig, host: KString, listener: SocketAddr) -> Self {
        let ip = match listener.ip() {
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        Self::new(config, host, ip, listener.port())
    }

    fn new(config: &BrokerConfig, host: KString, local_host: IpAddr, local_port: u16) -> Self {
        let advertised = config
            .advertised_by_port
            .get(&local_port)
            .or(config.advertised.as_ref());
        let (broker_host, port) = match advertised {
            Some(advertised) if advertised.port == 0 => (advertised.host.clone(), local_port),
            Some(advertised) => (advertised.host.clone(), advertised.port),
            None => (local_host.to_string(), local_port),
        };
        Self {
            host,
            broker_host: KString::from(broker_host),
            broker_port: i32::from(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdvertisedAddress;

    fn of_socket(advertised: Option<(&str, u16)>, local: &str) -> (String, i32) {
        let advertised = advertised.map(|(host, port)| AdvertisedAddress {
            host: host.to_owned(),
            port,
        });
        let config = BrokerConfig {
            advertised,
            ..BrokerConfig::default()
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        let info = ClientInfo::of_socket(&config, peer, local.parse().expect("address"));
        (info.broker_host.to_string(), info.broker_port)
    }

    #[test]
    fn the_address_advertised_is_the_one_the_client_connected_to() {
        assert_eq!(
            of_socket(None, "[::ffff:192.168.1.5]:9092"),
            ("192.168.1.5".to_owned(), 9092)
        );
        assert_eq!(of_socket(None, "[::1]:40001"), ("::1".to_owned(), 40001));
    }

    #[test]
    fn each_listener_can_have_an_address_of_its_own() {
        let address = |host: &str| AdvertisedAddress {
            host: host.to_owned(),
            port: 7,
        };
        let config = BrokerConfig {
            advertised: Some(address("outside")),
            advertised_by_port: [(9093, address("inside"))].into(),
            ..BrokerConfig::default()
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        for (port, expected) in [(9093, "inside"), (9092, "outside")] {
            let local = SocketAddr::from(([127, 0, 0, 1], port));
            let info = ClientInfo::of_socket(&config, peer, local);
            assert_eq!(&*info.broker_host, expected);
        }
    }

    #[test]
    fn a_configured_address_wins() {
        assert_eq!(
            of_socket(Some(("kafka.example", 0)), "[::1]:40001"),
            ("kafka.example".to_owned(), 40001)
        );
        assert_eq!(
            of_socket(Some(("kafka.example", 9)), "[::1]:40001"),
            ("kafka.example".to_owned(), 9)
        );
    }
}
