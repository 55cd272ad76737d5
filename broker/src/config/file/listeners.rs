//! Listeners as Kafka names them: which are for clients, how they speak, and what clients are told.
//!
//! A combined node of Kafka has a listener for its controller beside those for clients; here both are one, so that the
//! controller's is left out with a note.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use super::{Entry, Remarks, Taken};
use crate::config::BrokerConfig;
use crate::config::bindings::{parse_advertised, parse_listener};

/// A listener that clients use.
struct Listener {
    name: String,
    address: SocketAddr,
}

/// Takes over `listeners` and `advertised.listeners`; returns the names of the settings that are dealt with.
pub(super) fn apply(
    config: &mut BrokerConfig,
    settings: &BTreeMap<String, Entry>,
    remarks: &mut Remarks,
) -> Taken {
    let protocols = protocols(settings);
    let controllers = controllers(settings);
    let mut open = Vec::new();
    if let Some(entry) = settings.get(LISTENERS) {
        open = listeners(entry, &protocols, &controllers, remarks);
        config.listeners = open.iter().map(|listener| listener.address).collect();
    }
    if let Some(entry) = settings.get(ADVERTISED) {
        if open.is_empty() {
            let of_default = |address: &SocketAddr| Listener {
                name: PLAINTEXT.to_owned(),
                address: *address,
            };
            open = config.listeners.iter().map(of_default).collect();
        }
        advertise(config, entry, &open, &controllers, remarks);
    }
    Taken::from([LISTENERS, ADVERTISED])
}

fn listeners(
    entry: &Entry,
    protocols: &BTreeMap<String, String>,
    controllers: &[String],
    remarks: &mut Remarks,
) -> Vec<Listener> {
    let mistakes = remarks.mistakes.len();
    let mut open = Vec::new();
    for (name, address) in named(&entry.value) {
        if controllers.contains(&name) {
            remarks.note(
                entry.line,
                format_args!("listener {name} is not opened: controllers are reached on the listeners of the broker"),
            );
            continue;
        }
        match protocols.get(&name).map(String::as_str) {
            Some(PLAINTEXT) => {}
            Some(protocol) => {
                remarks.mistake(
                    entry.line,
                    format_args!("listener {name}: listeners that speak {protocol} are not supported; use PLAINTEXT"),
                );
                continue;
            }
            None => {
                remarks.mistake(
                    entry.line,
                    format_args!("listener {name} has no protocol; add {name}:PLAINTEXT to listener.security.protocol.map"),
                );
                continue;
            }
        }
        match resolve(&address) {
            Ok(address) => open.push(Listener { name, address }),
            Err(problem) => remarks.mistake(entry.line, format_args!("listener {name}: {problem}")),
        }
    }
    if open.is_empty() && remarks.mistakes.len() == mistakes {
        remarks.mistake(
            entry.line,
            "no listener is left for clients; add one, for example PLAINTEXT://:9092",
        );
    }
    open
}

fn advertise(
    config: &mut BrokerConfig,
    entry: &Entry,
    open: &[Listener],
    controllers: &[String],
    remarks: &mut Remarks,
) {
    for (name, address) in named(&entry.value) {
        if controllers.contains(&name) {
            continue;
        }
        let Some(listener) = open.iter().find(|listener| listener.name == name) else {
            remarks.mistake(
                entry.line,
                format_args!("advertised listener {name} is not one of `listeners`"),
            );
            continue;
        };
        match parse_advertised(&address) {
            Ok(advertised) if open.len() == 1 => config.advertised = Some(advertised),
            Ok(advertised) => {
                config
                    .advertised_by_port
                    .insert(listener.address.port(), advertised);
            }
            Err(problem) => remarks.mistake(entry.line, problem),
        }
    }
}

/// `NAME://host:port` of a list; an address without a name is plaintext.
fn named(list: &str) -> impl Iterator<Item = (String, String)> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once("://") {
            Some((name, address)) => (name.to_uppercase(), address.to_owned()),
            None => (PLAINTEXT.to_owned(), item.to_owned()),
        })
}

/// The protocol of each name; those of Kafka's protocols stand for themselves.
fn protocols(settings: &BTreeMap<String, Entry>) -> BTreeMap<String, String> {
    let mut protocols: BTreeMap<String, String> = PROTOCOLS
        .into_iter()
        .map(|name| (name.to_owned(), name.to_owned()))
        .collect();
    let pairs = settings
        .get("listener.security.protocol.map")
        .map_or("", |entry| &entry.value);
    for pair in pairs.split(',') {
        if let Some((name, protocol)) = pair.split_once(':') {
            protocols.insert(name.trim().to_uppercase(), protocol.trim().to_uppercase());
        }
    }
    protocols
}

fn controllers(settings: &BTreeMap<String, Entry>) -> Vec<String> {
    let names = settings
        .get("controller.listener.names")
        .map_or("", |entry| &entry.value);
    names
        .split(',')
        .map(|name| name.trim().to_uppercase())
        .collect()
}

/// An address, or the first one that a host's name stands for.
fn resolve(address: &str) -> Result<SocketAddr, String> {
    parse_listener(address).or_else(|problem| {
        let found = address
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next());
        found.ok_or(problem)
    })
}

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PLAINTEXT: &str = "PLAINTEXT";
const PROTOCOLS: [&str; 4] = [PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
