//! What a commit's metadata holds: the partition's time and the operators' own figures, so that
//! both survive a restart.
//!
//! Kafka Streams' format, in base64: magic byte 2, partition time (8 bytes, big-endian), and
//! unless it is empty a map of text to integer: count (4), then for each entry the length of its
//! name (4), the name in UTF-8 and the value (8).

use std::collections::BTreeMap;

/// What operators keep with the committed offsets, by name.
pub(crate) type ProcessorMetadata = BTreeMap<String, i64>;

/// Writes the metadata of a committed offset.
pub(crate) fn encode(partition_time: i64, processors: &ProcessorMetadata) -> String {
    let mut bytes = vec![MAGIC];
    bytes.extend(partition_time.to_be_bytes());
    if !processors.is_empty() {
        bytes.extend(length(processors.len()));
        for (name, value) in processors {
            bytes.extend(length(name.len()));
            bytes.extend(name.as_bytes());
            bytes.extend(value.to_be_bytes());
        }
    }
    encode_base64(&bytes)
}

/// Reads partition time and processor metadata; `None` for metadata of another program.
pub(crate) fn decode(metadata: &str) -> Option<(i64, ProcessorMetadata)> {
    let bytes = decode_base64(metadata)?;
    let (magic, rest) = bytes.split_first()?;
    // Magic 1 has the partition time alone, 2 has the processors' metadata behind it.
    if !(1..=MAGIC).contains(magic) {
        return None;
    }
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let processors = if *magic == MAGIC && !rest.is_empty() {
        decode_processors(rest)?
    } else {
        ProcessorMetadata::new()
    };
    Some((i64::from_be_bytes(*time), processors))
}

fn decode_processors(bytes: &[u8]) -> Option<ProcessorMetadata> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut processors = ProcessorMetadata::new();
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        let (value, after) = after.split_first_chunk::<8>()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        processors.insert(name, i64::from_be_bytes(*value));
        rest = after;
    }
    Some(processors)
}

fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            if position <= chunk.len() {
                let index = (bits >> (18 - 6 * position)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let index = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 6 | u32::try_from(index).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

const MAGIC: u8 = 2;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_time_is_written_and_read_as_kafka_streams_does() {
        let none = ProcessorMetadata::new();
        assert_eq!(encode(1_234_567_890_123, &none), "AgAAAR9x+wTL");
        assert_eq!(
            decode("AgAAAR9x+wTL"),
            Some((1_234_567_890_123, none.clone()))
        );
        assert_eq!(encode(-1, &none), "Av//////////");
        assert_eq!(decode("Av//////////"), Some((-1, none)));
    }

    #[test]
    fn processor_metadata_lies_behind_the_partition_time() {
        let processors = ProcessorMetadata::from([("a".to_owned(), 7), ("bc".to_owned(), -1)]);
        let text = encode(5, &processors);
        assert_eq!(
            text,
            "AgAAAAAAAAAFAAAAAgAAAAFhAAAAAAAAAAcAAAACYmP//////////w=="
        );
        assert_eq!(decode(&text), Some((5, processors)));
    }

    #[test]
    fn foreign_metadata_is_ignored() {
        for text in ["", "hello world", "AgAA", "CAAAAAAAAAAA"] {
            assert_eq!(decode(text), None, "{text}");
        }
        let cut = encode(5, &ProcessorMetadata::from([("name".to_owned(), 7)]));
        assert_eq!(decode(&cut[..20]), None);
    }
}
