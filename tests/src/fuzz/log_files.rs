//! The recovery of a log from any files.
//!
//! ```text
//! flags              1 clean shutdown, 2 cut at corruption, 4 repair the checksum of each .log
//! recovery point     one byte
//! then files         number of the name, length u16, content
//! ```

use std::path::Path;

use moldau_log::{
    AppendBatch, Log, LogConfig, LogDirectory, LogStart, OnCorruption, ReadRequest, SimStorage,
    Storage, StorageFile,
};
use moldau_protocol::batch::{Compression, RecordBatch};

use super::records::{example_batch, repair_checksum};

/// Opens whatever lies there. If it opens, it can be read, written, closed and opened again.
pub(super) fn recover(bytes: &[u8]) {
    let [flags, recovery_point, files @ ..] = bytes else {
        return;
    };
    let storage = SimStorage::new();
    let written = write_files(&storage, files, flags & 4 != 0);
    written.expect("the simulated disk takes all");
    let Ok(directory) = LogDirectory::open(storage.clone(), ROOT) else {
        return;
    };
    let _properties = directory.read_properties();
    let _partitions = directory.partitions();
    let start = LogStart {
        clean_shutdown: flags & 1 != 0,
        recovery_point: i64::from(*recovery_point),
        on_corruption: match flags & 2 {
            0 => OnCorruption::Refuse,
            _ => OnCorruption::Cut,
        },
        ..directory.log_start(&moldau_log::TopicPartition::new("t", 0))
    };
    let config = LogConfig {
        segment_bytes: 4_096,
        ..LogConfig::default()
    };
    let Ok((mut log, _)) = Log::open(storage.clone(), LOG, config.clone(), &start, &mut ()) else {
        return;
    };
    read_all(&log);
    let end = log.log_end_offset();
    let batch = RecordBatch::parse(example_batch(Compression::None, false, 0));
    let batch = batch.expect("a batch just built").relocated(end, 1);
    if log.append(&[AppendBatch::new(&batch)]).is_err() || log.close().is_err() {
        return;
    }
    let start = LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    };
    let Ok((log, _)) = Log::open(storage, LOG, config, &start, &mut ()) else {
        return;
    };
    assert!(
        log.log_end_offset() > end,
        "what was appended at {end} is gone"
    );
}

fn write_files(storage: &SimStorage, mut files: &[u8], repair: bool) -> std::io::Result<()> {
    storage.create_directory(Path::new(LOG))?;
    while let [name, high, low, rest @ ..] = files {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (content, after) = rest.split_at(length);
        files = after;
        let name = NAMES[usize::from(*name) % NAMES.len()];
        let mut content = content.to_vec();
        if repair && name.ends_with(".log") {
            repair_checksum(&mut content);
        }
        let file = storage.create(&Path::new(ROOT).join(name))?;
        file.write_vectored(&[std::io::IoSlice::new(&content)])?;
    }
    Ok(())
}

fn read_all(log: &Log<SimStorage>) {
    let snapshot = log.snapshot();
    let mut offset = snapshot.log_start_offset();
    for timestamp in [0, 1_000, 1_002, i64::MAX] {
        let _found = snapshot.offset_for_timestamp(timestamp, i64::MAX);
    }
    let _largest = snapshot.offset_of_max_timestamp();
    while offset < snapshot.log_end_offset() {
        let request = ReadRequest {
            offset,
            up_to_offset: i64::MAX,
            max_bytes: 1_000,
            at_least_one: true,
        };
        let Ok(Some(slice)) = snapshot.read(&request) else {
            return;
        };
        assert!(slice.next_offset > offset, "reading gets on");
        offset = slice.next_offset;
        let _bytes = slice.read_bytes();
    }
}

/// A log of two segments with everything beside it, as a broker leaves it.
pub(super) fn examples() -> Vec<Vec<u8>> {
    let storage = SimStorage::new();
    let config = LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 0,
        ..LogConfig::default()
    };
    let opened = Log::open(storage.clone(), LOG, config, &LogStart::default(), &mut ());
    let (mut log, _) = opened.expect("an empty disk");
    for index in 0..4 {
        let bytes = example_batch(Compression::None, index % 2 == 1, 4 * index);
        let batch = RecordBatch::parse(bytes).expect("a batch just built");
        let appended = log.append(&[AppendBatch::new(&batch)]);
        appended.expect("an empty disk");
    }
    log.close().expect("an empty disk");
    let mut files = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        let Ok(content) = storage.read(&Path::new(ROOT).join(name)) else {
            continue;
        };
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
        files.push(u8::try_from(index).unwrap_or(0));
        files.extend(length.to_be_bytes());
        files.extend(content);
    }
    let checkpoint = b"0\n1\nt 0 8\n";
    files.extend([9, 0, u8::try_from(checkpoint.len()).unwrap_or(0)]);
    files.extend(checkpoint);
    (0..8_u8)
        .map(|flags| [&[flags, 8], &files[..]].concat())
        .collect()
}

const ROOT: &str = "/data";
const LOG: &str = "/data/t-0";

/// Files that may lie there, below the data directory.
const NAMES: [&str; 16] = [
    "t-0/00000000000000000000.log",
    "t-0/00000000000000000000.index",
    "t-0/00000000000000000000.timeindex",
    "t-0/00000000000000000000.txnindex",
    "t-0/00000000000000000008.log",
    "t-0/00000000000000000008.index",
    "t-0/00000000000000000008.timeindex",
    "t-0/00000000000000000008.snapshot",
    "t-0/leader-epoch-checkpoint",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "t-0/partition.metadata",
    "meta.properties",
    "t-0/00000000000000000008.log.cleaned",
    "t-0/00000000000000000008.log.swap",
    "t-0/00000000000000000016.snapshot",
];
