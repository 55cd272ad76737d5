//! The hash that tells a foreign-key join whether a response is still about the current value:
//! murmur3 for x64 with 128 bits, as Kafka Streams computes it.

/// The hash of these bytes, its two halves big-endian as they are written.
pub(crate) fn hash128(data: &[u8]) -> [u8; 16] {
    let (mut one, mut two) = (SEED, SEED);
    let mut blocks = data.chunks_exact(16);
    for block in &mut blocks {
        let (first, second) = block.split_at(8);
        one ^= mixed_one(little_endian(first));
        one = one
            .rotate_left(27)
            .wrapping_add(two)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        two ^= mixed_two(little_endian(second));
        two = two
            .rotate_left(31)
            .wrapping_add(one)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    let rest = blocks.remainder();
    let (first, second) = rest.split_at(rest.len().min(8));
    if !second.is_empty() {
        two ^= mixed_two(little_endian(second));
    }
    if !first.is_empty() {
        one ^= mixed_one(little_endian(first));
    }
    let length = data.len() as u64;
    one ^= length;
    two ^= length;
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    one = finished(one);
    two = finished(two);
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&one.to_be_bytes());
    hash[8..].copy_from_slice(&two.to_be_bytes());
    hash
}

/// Up to eight bytes as a number; those that are missing are zero.
fn little_endian(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    for (place, byte) in padded.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u64::from_le_bytes(padded)
}

fn mixed_one(block: u64) -> u64 {
    block.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mixed_two(block: u64) -> u64 {
    block.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finished(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Kafka Streams' seed.
const SEED: u64 = 104_729;
const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;
