//! Integers of variable length: seven bits a byte, lowest first; signed ones zigzag.

/// Reads an unsigned integer of at most five bytes at the front of `bytes`: value and size.
#[inline]
pub(crate) fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let (value, size) = read(bytes, 5)?;
    u32::try_from(value).ok().map(|value| (value, size))
}

/// Reads a zigzag integer of at most five bytes.
#[inline]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    let (value, size) = read_u32(bytes)?;
    Some(((value >> 1) as i32 ^ -((value & 1) as i32), size))
}

/// Reads a zigzag integer of at most ten bytes.
#[inline]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    let (value, size) = read(bytes, 10)?;
    Some(((value >> 1) as i64 ^ -((value & 1) as i64), size))
}

#[inline]
fn read(bytes: &[u8], limit: usize) -> Option<(u64, usize)> {
    match bytes {
        [first, ..] if *first < 0x80 => Some((u64::from(*first), 1)),
        [first, second, ..] if *second < 0x80 => {
            Some((u64::from(first & 0x7f) | u64::from(*second) << 7, 2))
        }
        _ => read_long(bytes, limit),
    }
}

fn read_long(bytes: &[u8], limit: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(limit) {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Whether `bytes` may be the beginning of an integer that needs more bytes.
pub(crate) fn is_cut(bytes: &[u8], limit: usize) -> bool {
    bytes.len() < limit && bytes.iter().all(|byte| byte & 0x80 != 0)
}

/// The unsigned form of a zigzag integer.
pub(crate) const fn zigzag_i64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// How many bytes an unsigned integer takes.
pub(crate) const fn size_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes an unsigned integer into `buffer` and tells how many bytes it took.
#[inline]
pub(crate) fn write_u64(mut value: u64, buffer: &mut [u8; 10]) -> usize {
    let mut size = 0;
    for slot in buffer.iter_mut() {
        size += 1;
        if value < 0x80 {
            *slot = value as u8;
            break;
        }
        *slot = value as u8 | 0x80;
        value >>= 7;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: u64) -> Vec<u8> {
        let mut buffer = [0; 10];
        let size = write_u64(value, &mut buffer);
        assert_eq!(size, size_u64(value));
        buffer[..size].to_vec()
    }

    #[test]
    fn extremes_are_read_back() {
        for value in [i64::MIN, i64::MIN + 1, -1, 0, 1, 63, 64, -64, -65, i64::MAX] {
            let bytes = written(zigzag_i64(value));
            assert_eq!(read_i64(&bytes), Some((value, bytes.len())));
        }
        for value in [i32::MIN, -1, 0, 1, i32::MAX] {
            let bytes = written(zigzag_i64(i64::from(value)));
            assert_eq!(read_i32(&bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn too_many_bits_are_refused() {
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_u32(&[0xff; 5]), None);
        assert_eq!(read_i64(&[0xff; 10]), None);
        assert_eq!(
            read_i64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03]),
            None
        );
        assert!(is_cut(&[0xff; 2], 5) && !is_cut(&[0xff; 5], 5));
    }
}
