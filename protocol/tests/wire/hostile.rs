//! Bytes that are cut, changed or made up: errors, never a panic, never a large allocation.

use bytes::Bytes;
use moldau_protocol::batch::{
    BATCH_HEADER_SIZE, BatchError, BatchHeader, BatchIter, Compression, RecordBatch,
};
use moldau_protocol::compression::MAX_DECOMPRESSED_SIZE;
use moldau_protocol::messages::MetadataRequest;
use moldau_protocol::{DecodeError, Message};
use serde_json::Value;

use crate::allocation::allocated_by;
use crate::golden::{Golden, from_hex, lines};

/// Most that decoding a small frame may allocate: the largest structure is some hundred bytes, and
/// an element has at least one byte on the wire.
fn bound(length: usize) -> usize {
    4_096 + length * 256
}

#[test]
fn a_message_that_is_cut_anywhere_is_an_error() {
    for golden in Golden::all() {
        for length in 0..golden.bytes.len() {
            let cut = golden.bytes.slice(..length);
            let (decoded, allocated) = allocated_by(|| golden.decode(cut).map(|_| ()));
            assert!(decoded.is_err(), "{} cut to {length} bytes", golden.title());
            assert!(
                allocated <= bound(length),
                "{} cut to {length} bytes allocates {allocated}",
                golden.title()
            );
        }
    }
}

#[test]
fn a_message_with_a_changed_byte_is_an_error_or_another_message() {
    for golden in Golden::all() {
        for place in 0..golden.bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = golden.bytes.to_vec();
                bytes[place] ^= change;
                let length = bytes.len();
                let (decoded, allocated) = allocated_by(|| golden.decode(Bytes::from(bytes)));
                assert!(
                    allocated <= bound(length),
                    "{} allocates {allocated}",
                    golden.title()
                );
                let Ok((decoded, _)) = decoded else { continue };
                let canonical = decoded.encode(golden.version);
                let (again, left) = golden.decode(canonical.clone()).expect("our own bytes");
                assert_eq!(
                    (again.encode(golden.version), left),
                    (canonical, 0),
                    "{}",
                    golden.title()
                );
            }
        }
    }
}

#[test]
fn lengths_that_cannot_be_true_are_refused_at_every_place() {
    let lengths: [&[u8]; 4] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x7f, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0x80, 0x40],
    ];
    for golden in Golden::all() {
        for place in 0..golden.bytes.len() {
            for length in lengths {
                let bytes = [&golden.bytes[..place], length, &golden.bytes[place..]].concat();
                let size = bytes.len();
                let (_, allocated) = allocated_by(|| golden.decode(Bytes::from(bytes)).map(|_| ()));
                assert!(
                    allocated <= bound(size),
                    "{} allocates {allocated}",
                    golden.title()
                );
            }
        }
    }
}

#[test]
fn a_frame_full_of_tiny_elements_is_refused_before_it_fills_the_memory() {
    // Version 9 writes an empty topic name and no tags in two bytes.
    let count = 4 << 20;
    let mut bytes = vec![0x81, 0x80, 0x80, 0x02];
    bytes.extend([1, 0].repeat(count));
    bytes.extend([0, 0, 0, 0]);
    let length = bytes.len();
    let bytes = Bytes::from(bytes);
    let (decoded, allocated) = allocated_by(|| MetadataRequest::from_bytes(bytes, 9).map(|_| ()));
    assert_eq!(decoded, Err(DecodeError::TooManyElements { length }));
    assert!(allocated < length, "{allocated}");
}

fn batches() -> Vec<(Value, Bytes)> {
    lines("record-batches.jsonl")
        .into_iter()
        .map(|line| (line.clone(), from_hex(&line["hex"])))
        .collect()
}

fn read_all(bytes: Bytes) -> Result<usize, BatchError> {
    let mut count = 0;
    for batch in BatchIter::new(bytes) {
        for record in batch?.records()? {
            record?;
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn a_batch_that_is_cut_anywhere_is_an_error() {
    for (_, bytes) in batches()
        .into_iter()
        .filter(|(_, bytes)| bytes.len() < 1_000)
    {
        for length in 0..bytes.len() {
            assert!(RecordBatch::parse(bytes.slice(..length)).is_err());
            assert_eq!(read_all(bytes.slice(..length)), Ok(0));
        }
    }
}

#[test]
fn records_that_are_cut_anywhere_are_an_error() {
    for (line, bytes) in batches()
        .into_iter()
        .filter(|(_, bytes)| bytes.len() < 1_000)
    {
        for length in BATCH_HEADER_SIZE..bytes.len() {
            let header = BatchHeader {
                batch_length: (length - 12) as i32,
                ..BatchHeader::read(&bytes).expect("header")
            };
            let cut = [&header.write(), &bytes[BATCH_HEADER_SIZE..length]].concat();
            let read = read_all(Bytes::from(cut));
            // The last bytes of a gzip, lz4 or zstd stream hold only checksums or an end mark.
            let only_trailer = bytes.len() - length <= 8 && line["compression"] != "none";
            assert!(
                read.is_err() || only_trailer,
                "{} cut to {length} bytes: {read:?}",
                line["compression"]
            );
        }
    }
}

#[test]
fn a_batch_with_a_changed_byte_never_panics_or_allocates_much() {
    for (line, bytes) in batches()
        .into_iter()
        .filter(|(_, bytes)| bytes.len() < 1_000)
    {
        for place in 0..bytes.len() {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[place] ^= change;
                let (_, allocated) = allocated_by(|| read_all(Bytes::from(changed)));
                assert!(
                    allocated < 256 << 10,
                    "{} allocates {allocated}",
                    line["compression"]
                );
            }
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let bomb = codec.compress(&zeros, None);
        let limit = 1 << 20;
        let (read, allocated) = allocated_by(|| codec.decompress(bomb, limit));
        assert!(read.is_err(), "{codec}");
        assert!(allocated < 8 * limit, "{codec} allocates {allocated}");
    }
    const { assert!(MAX_DECOMPRESSED_SIZE >= 100 << 20) };
}

#[test]
fn snappy_that_claims_a_great_length_is_refused() {
    let (read, allocated) = allocated_by(|| {
        Compression::Snappy.decompress(Bytes::from_static(b"\xff\xff\xff\x0f\x00"), usize::MAX)
    });
    assert!(read.is_err());
    assert!(allocated < 1_024, "{allocated}");
}
