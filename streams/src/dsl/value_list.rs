//! Several values in one, as Kafka Streams' `ListValueStore` writes them: `1 | count (4 bytes)`,
//! then for each value its length (4 bytes) and its bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// The list with one value more; `None` is an empty list.
pub(crate) fn append(list: Option<&Bytes>, value: &[u8]) -> Bytes {
    let before = list.map_or(0, Bytes::len);
    let mut out = BytesMut::with_capacity(before.max(HEADER) + size_of::<i32>() + value.len());
    let (count, values) = list.and_then(|list| header(list)).unwrap_or((0, &[]));
    out.put_u8(VARIABLE_SIZE);
    out.put_i32(count.saturating_add(1));
    out.put_slice(values);
    out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.put_slice(value);
    out.freeze()
}

/// How many values a list has; `None` if the bytes are no list.
pub(crate) fn count(list: &[u8]) -> Option<i32> {
    header(list).map(|(count, _)| count)
}

/// The values of a list; `None` if the bytes are no list.
pub(crate) fn split(list: &Bytes) -> Option<Vec<Bytes>> {
    let (count, mut rest) = header(list)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (value, after) = after.split_at_checked(length)?;
        values.push(list.slice_ref(value));
        rest = after;
    }
    Some(values)
}

fn header(list: &[u8]) -> Option<(i32, &[u8])> {
    let (kind, rest) = list.split_first()?;
    let (count, values) = rest.split_first_chunk()?;
    (*kind == VARIABLE_SIZE).then(|| (i32::from_be_bytes(*count), values))
}

/// The values have lengths of their own before them.
const VARIABLE_SIZE: u8 = 1;
/// Kind and count.
const HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_kind_count_and_values_with_their_lengths() {
        let one = append(None, b"ab");
        assert_eq!(one.as_ref(), b"\x01\0\0\0\x01\0\0\0\x02ab");
        let two = append(Some(&one), b"c");
        assert_eq!(two.as_ref(), b"\x01\0\0\0\x02\0\0\0\x02ab\0\0\0\x01c");
        assert_eq!(split(&two), Some(vec![Bytes::from("ab"), Bytes::from("c")]));
    }

    #[test]
    fn what_is_no_list_is_told() {
        assert_eq!(split(&Bytes::from_static(b"")), None);
        assert_eq!(
            split(&Bytes::from_static(b"\x01\0\0\0\x01\0\0\0\x09ab")),
            None
        );
    }
}
