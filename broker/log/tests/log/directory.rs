//! The data directory.

use std::collections::BTreeMap;
use std::path::Path;

use moldau_log::{
    FileStorage, LogDirectory, LogError, LogStart, SimStorage, Storage, TopicPartition,
};

use crate::batches::{DIRECTORY, new_log};

fn open(storage: &SimStorage) -> LogDirectory<SimStorage> {
    LogDirectory::open(storage.clone(), "/data").unwrap()
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = LogDirectory::open(FileStorage, directory.path()).unwrap();
    let error = LogDirectory::open(FileStorage, directory.path()).unwrap_err();
    assert!(matches!(error, LogError::Locked { .. }));
    assert!(
        error
            .to_string()
            .ends_with("is in use by another process; stop it, or choose another directory")
    );
    drop(first);
    LogDirectory::open(FileStorage, directory.path()).unwrap();
}

#[test]
fn partitions_are_the_directories_with_their_names() {
    let storage = SimStorage::new();
    for name in [
        "orders-1",
        "orders-0",
        "__consumer_offsets-12",
        "lost+found",
        "old-0.00ff-delete",
    ] {
        storage
            .create_directory(&Path::new("/data").join(name))
            .unwrap();
    }
    let directory = open(&storage);
    let expected = [("__consumer_offsets", 12), ("orders", 0), ("orders", 1)];
    assert_eq!(
        directory.partitions().unwrap(),
        expected.map(|(topic, partition)| TopicPartition::new(topic, partition))
    );
    assert!(
        storage.list(Path::new("/data/old-0.00ff-delete")).is_err(),
        "the rest of a deleted log is removed"
    );
}

#[test]
fn a_clean_shutdown_counts_once() {
    let storage = SimStorage::new();
    let directory = open(&storage);
    assert!(!directory.was_clean_shutdown());
    directory.mark_clean_shutdown().unwrap();
    drop(directory);
    let directory = open(&storage);
    assert!(directory.was_clean_shutdown());
    drop(directory);
    assert!(!open(&storage).was_clean_shutdown());
}

#[test]
fn a_clean_shutdown_that_a_crash_followed_does_not_come_back() {
    for seed in 0..20 {
        let storage = SimStorage::new();
        open(&storage).mark_clean_shutdown().unwrap();
        storage.sync_directory(Path::new("/")).unwrap();
        drop(open(&storage));
        storage.crash(seed);
        assert!(!open(&storage).was_clean_shutdown());
    }
}

#[test]
fn checkpoints_tell_where_a_log_starts() {
    let storage = SimStorage::new();
    let orders = TopicPartition::new("orders", 0);
    let directory = open(&storage);
    assert_eq!(directory.log_start(&orders), LogStart::default());
    assert_eq!(directory.high_watermark(&orders), None);
    directory
        .write_recovery_points(&BTreeMap::from([(orders.clone(), 30)]))
        .unwrap();
    directory
        .write_log_start_offsets(&BTreeMap::from([(orders.clone(), 10)]))
        .unwrap();
    directory
        .write_high_watermarks(&BTreeMap::from([(orders.clone(), 29)]))
        .unwrap();
    directory.mark_clean_shutdown().unwrap();
    drop(directory);
    let directory = open(&storage);
    let expected = LogStart {
        clean_shutdown: true,
        recovery_point: 30,
        log_start_offset: 10,
        ..LogStart::default()
    };
    assert_eq!(directory.log_start(&orders), expected);
    assert_eq!(directory.high_watermark(&orders), Some(29));
}

#[test]
fn properties_are_read_as_they_were_written() {
    let storage = SimStorage::new();
    let directory = open(&storage);
    assert_eq!(directory.read_properties().unwrap(), None);
    let properties = BTreeMap::from([
        ("cluster.id".to_owned(), "a=b".to_owned()),
        ("node.id".to_owned(), "1".to_owned()),
    ]);
    directory.write_properties(&properties).unwrap();
    assert_eq!(directory.read_properties().unwrap(), Some(properties));
    storage
        .replace(
            Path::new("/data/meta.properties"),
            b"#Mon\nversion=1\n node.id = 3\n",
        )
        .unwrap();
    let read = directory.read_properties().unwrap().unwrap();
    assert_eq!(
        (read["version"].as_str(), read["node.id"].as_str()),
        ("1", "3")
    );
}

#[test]
fn a_destroyed_log_leaves_nothing() {
    let storage = SimStorage::new();
    let directory = open(&storage);
    new_log(&storage).destroy().unwrap();
    assert_eq!(directory.partitions().unwrap(), []);
    assert!(storage.list(Path::new(DIRECTORY)).is_err());
    assert_eq!(storage.list(Path::new("/data")).unwrap(), []);
}

#[test]
fn a_damaged_checkpoint_counts_as_none() {
    let storage = SimStorage::new();
    let orders = TopicPartition::new("orders", 0);
    drop(open(&storage));
    let path = Path::new("/data/recovery-point-offset-checkpoint");
    storage.replace(path, b"0\n1\nrubbish\n").unwrap();
    assert_eq!(open(&storage).log_start(&orders), LogStart::default());
}
