//! A list of words that one thread appends to while others read, without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A list of words that grows by chunks of doubling size, so that it is never moved.
///
/// One writer pushes; readers see all words below the length that they load. An empty list
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Words {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    len: AtomicUsize,
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The word at `index`, which must be below a length that was loaded before.
    pub(super) fn at(&self, index: usize) -> u64 {
        let (chunk, place) = locate(index);
        let chunk = self.chunks[chunk]
            .get()
            .expect("words below the length are there");
        chunk[place].load(Ordering::Relaxed)
    }

    /// Appends words that readers see together. Only one thread may push at a time.
    pub(super) fn push<const N: usize>(&self, words: [u64; N]) {
        let len = self.len.load(Ordering::Relaxed);
        for (index, word) in (len..).zip(words) {
            let (chunk, place) = locate(index);
            let words = self.chunks[chunk]
                .get_or_init(|| (0..chunk_size(chunk)).map(|_| AtomicU64::new(0)).collect());
            words[place].store(word, Ordering::Relaxed);
        }
        // Publishes the words: whoever loads this length sees them.
        self.len.store(len + N, Ordering::Release);
    }
}

/// The chunk of a word and its place there: chunks have 16, 32, 64 … words.
const fn locate(index: usize) -> (usize, usize) {
    let shifted = index + FIRST_CHUNK;
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, shifted - (FIRST_CHUNK << chunk))
}

const fn chunk_size(chunk: usize) -> usize {
    FIRST_CHUNK << chunk
}

const FIRST_CHUNK: usize = 16;
/// Enough for 2^28 words, while a segment's time index can have 2^31 bytes at most.
const CHUNKS: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_in_order() {
        let words = Words::default();
        for index in 0..5000 {
            words.push([index, index * 3]);
        }
        assert_eq!(words.len(), 10_000);
        for index in 0..5000 {
            assert_eq!(words.at(2 * index), index as u64);
            assert_eq!(words.at(2 * index + 1), index as u64 * 3);
        }
    }

    #[test]
    fn readers_see_whole_entries_while_the_writer_pushes() {
        let words = Words::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|index| words.push([index, !index])));
            scope.spawn(|| {
                loop {
                    let len = words.len();
                    assert_eq!(len % 2, 0);
                    if let Some(last) = len.checked_sub(2) {
                        assert_eq!(words.at(last), last as u64 / 2);
                        assert_eq!(words.at(last + 1), !(last as u64 / 2));
                    }
                    if len == 40_000 {
                        break;
                    }
                    std::thread::yield_now();
                }
            });
        });
    }
}
