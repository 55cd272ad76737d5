//! What a commit's metadata holds: the partition's time, so that stream time survives a restart.
//!
//! Kafka Streams' format, in base64: magic byte 2, partition time (8 bytes, big-endian), then a
//! map of processor metadata that is empty here and kept out when read.

/// Writes the metadata of a committed offset.
pub(crate) fn encode(partition_time: i64) -> String {
    let mut bytes = [0; 9];
    bytes[0] = MAGIC;
    bytes[1..].copy_from_slice(&partition_time.to_be_bytes());
    encode_base64(&bytes)
}

/// Reads the partition time; `None` for metadata of another program.
pub(crate) fn decode(metadata: &str) -> Option<i64> {
    let bytes = decode_base64(metadata)?;
    let (magic, rest) = bytes.split_first()?;
    // Magic 1 has the partition time alone, 2 has the processors' metadata behind it.
    if !(1..=MAGIC).contains(magic) {
        return None;
    }
    Some(i64::from_be_bytes(*rest.first_chunk::<8>()?))
}

fn encode_base64(bytes: &[u8]) -> String {
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

fn decode_base64(text: &str) -> Option<Vec<u8>> {
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
        assert_eq!(encode(1_234_567_890_123), "AgAAAR9x+wTL");
        assert_eq!(decode(&encode(1_234_567_890_123)), Some(1_234_567_890_123));
        assert_eq!(encode(-1), "Av//////////");
        assert_eq!(decode(&encode(-1)), Some(-1));
    }

    #[test]
    fn foreign_metadata_is_ignored() {
        assert_eq!(decode(""), None);
        assert_eq!(decode("hello world"), None);
        assert_eq!(decode("AgAA"), None);
        assert_eq!(decode("CAAAAAAAAAAA"), None);
    }
}
