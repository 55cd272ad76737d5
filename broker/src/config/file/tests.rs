use super::*;

fn read(text: &str, format: FileFormat) -> (BrokerConfig, Result<Vec<String>, String>) {
    let mut config = BrokerConfig::default();
    let notes = config.apply_text(text, format, "f");
    (config, notes.map_err(|error| error.to_string()))
}

/// What Kafka 4 ships for one node that is broker and controller.
const OF_A_COMBINED_NODE: &str = "
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://kafka.example:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=24
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn the_file_of_a_combined_node_of_kafka_is_read_as_it_is() {
    let (config, notes) = read(OF_A_COMBINED_NODE, FileFormat::Properties);
    let notes = notes.expect("no mistake");
    assert_eq!(config.node_id, 7);
    assert_eq!(config.listeners, ["[::]:9092".parse().expect("address")]);
    assert_eq!(
        config
            .advertised
            .map(|address| address.to_string())
            .as_deref(),
        Some("PLAINTEXT://kafka.example:9092")
    );
    assert_eq!(config.data_dir, Path::new("/tmp/kraft-combined-logs"));
    assert_eq!(config.topic_defaults["log.retention.hours"], "24");
    assert!(notes.contains(
        &"f:5: listener CONTROLLER is not opened: controllers are reached on the listeners of the broker".to_owned()
    ), "{notes:#?}");
    assert!(notes.contains(
        &"f:11: \"num.io.threads\" has no effect: threads and their memory are chosen by the number of cores".to_owned()
    ), "{notes:#?}");
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = "node.id=x\n\nnum.partition=3\nssl.keystore.location=/k\nprocess.roles=controller\n\
                controller.quorum.voters=1@a:1,2@b:1\nlistener.name.ssl.x=1\n";
    let (_, notes) = read(text, FileFormat::Properties);
    assert_eq!(
        notes.expect_err("mistakes").lines().collect::<Vec<_>>(),
        [
            "f:1: broker setting \"node.id\": \"x\" is not a whole number of 32 bits",
            "f:3: unknown broker setting \"num.partition\"; did you mean \"num.partitions\"?",
            "f:4: broker setting \"ssl.keystore.location\": \"/k\" is not supported: this version has no authentication, authorization or encryption; leave it out",
            "f:5: broker setting \"process.roles\": \"controller\" is not supported; use one of broker,controller, controller,broker",
            "f:6: \"controller.quorum.voters\": a cluster of several nodes is not supported; name this node alone, or leave it out",
            "f:7: \"listener.name.ssl.x\": settings of single listeners are not supported; leave it out",
        ]
    );
}

#[test]
fn listeners_with_security_are_refused() {
    let text = "listeners=INSIDE://:9092,OUTSIDE://:9093,THIRD://:9094,SSL://:9095\n\
                listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:SASL_SSL\n\
                advertised.listeners=FOURTH://a:1\n";
    let (_, notes) = read(text, FileFormat::Properties);
    assert_eq!(
        notes.expect_err("mistakes").lines().collect::<Vec<_>>(),
        [
            "f:1: listener OUTSIDE: listeners that speak SASL_SSL are not supported; use PLAINTEXT",
            "f:1: listener SSL: listeners that speak SSL are not supported; use PLAINTEXT",
            "f:1: listener THIRD has no protocol; add THIRD:PLAINTEXT to listener.security.protocol.map",
            "f:3: advertised listener FOURTH is not one of `listeners`",
        ]
    );
}

#[test]
fn each_of_several_listeners_has_its_own_advertised_address() {
    let text = "listeners=INSIDE://:29092,OUTSIDE://127.0.0.1:9092\n\
                listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT\n\
                advertised.listeners=INSIDE://broker:29092,OUTSIDE://localhost:9092\n";
    let (config, notes) = read(text, FileFormat::Properties);
    assert_eq!(
        notes.expect("no mistake"),
        [
            "f:2: \"listener.security.protocol.map\" has no effect: all listeners speak the same plaintext protocol"
        ]
    );
    let advertised: Vec<_> = config
        .advertised_by_port
        .iter()
        .map(|(port, address)| (*port, address.to_string()))
        .collect();
    assert_eq!(
        advertised,
        [
            (9092, "PLAINTEXT://localhost:9092".to_owned()),
            (29092, "PLAINTEXT://broker:29092".to_owned()),
        ]
    );
}

#[test]
fn newer_names_and_later_lines_win() {
    let text =
        "log.dirs=/new\nlog.dir=/old\nnode.id=2\nbroker.id=2\nnum.partitions=1\nnum.partitions=5\n";
    let (config, notes) = read(text, FileFormat::Properties);
    assert_eq!(
        notes.expect("no mistake"),
        ["f:6: \"num.partitions\" in line 5 does not count; this one does"]
    );
    assert_eq!(config.data_dir, Path::new("/new"));
    assert_eq!((config.node_id, config.num_partitions), (2, 5));
}

#[test]
fn yaml_has_the_same_names_with_maps_for_dots() {
    let text = "node.id: 3\nlog:\n  retention:\n    ms: 5000\n  dirs: /data\n  cleanup.policy: [compact, delete]\n\
                auto.create.topics.enable: false\nbroker.rack:\n";
    let (config, notes) = read(text, FileFormat::Yaml);
    assert_eq!(notes, Ok(vec![]));
    assert_eq!((config.node_id, config.auto_create_topics), (3, false));
    assert_eq!(config.data_dir, Path::new("/data"));
    assert_eq!(config.topic_defaults["log.retention.ms"], "5000");
    assert_eq!(
        config.topic_defaults["log.cleanup.policy"],
        "compact,delete"
    );
}

#[test]
fn mistakes_in_yaml_have_their_lines() {
    let (_, notes) = read(
        "node.id: 1\nlog:\n  retension.ms: 1\nnode:\n  id: 2\n",
        FileFormat::Yaml,
    );
    assert_eq!(
        notes.expect_err("mistakes").lines().collect::<Vec<_>>(),
        [
            "f:3: unknown broker setting \"log.retension.ms\"; did you mean \"log.retention.ms\"?",
            "f:5: \"node.id\" stands in line 1 already",
        ]
    );
    let (_, notes) = read("node.id: 1\n  x: [\n", FileFormat::Yaml);
    assert!(notes.expect_err("no YAML").starts_with("f:2: "));
    let (_, notes) = read("- a\n", FileFormat::Yaml);
    assert!(
        notes
            .expect_err("a list")
            .starts_with("f:1: the file must be a map")
    );
}
