//! Reads frames from a socket: a 4-byte length, then that many bytes.
//!
//! Memory grows with the bytes that arrived, never with the length that a client merely announced.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The bytes of a connection that are read and not yet taken as frames.
#[derive(Debug)]
pub(super) struct Inbound {
    buffer: BytesMut,
    /// `socket.request.max.bytes`.
    limit: usize,
    /// How much is asked of the system when no large frame is under way.
    chunk: usize,
}

/// A frame announces more bytes than `socket.request.max.bytes`, or a negative number.
#[derive(Debug, thiserror::Error)]
#[error("request of {size} bytes: socket.request.max.bytes is {limit}")]
pub(super) struct FrameTooLarge {
    size: i32,
    limit: usize,
}

impl Inbound {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
            chunk: MIN_CHUNK,
        }
    }

    /// Reads what has arrived; 0 bytes mean that the peer has closed.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub(super) async fn read(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let missing = self.missing();
        let room = missing
            .min(self.buffer.len().max(MAX_UNSEEN))
            .max(self.chunk);
        if self.buffer.capacity() - self.buffer.len() < missing.clamp(1, room) {
            self.buffer.reserve(room);
        }
        let free = self.buffer.capacity() - self.buffer.len();
        let read = stream.read_buf(&mut self.buffer).await?;
        if read == free {
            self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        }
        Ok(read)
    }

    /// Takes the next complete frame, without its length.
    ///
    /// # Errors
    ///
    /// When the announced length is not allowed; nothing after it can be understood.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameTooLarge> {
        let Some(length) = self.announced() else {
            return Ok(None);
        };
        let size = usize::try_from(length)
            .ok()
            .filter(|size| *size <= self.limit)
            .ok_or(FrameTooLarge {
                size: length,
                limit: self.limit,
            })?;
        if self.buffer.len() < LENGTH_BYTES + size {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }

    /// Bytes that the frame under way still lacks; 0 when its length is not known yet.
    fn missing(&self) -> usize {
        let length = self
            .announced()
            .and_then(|length| usize::try_from(length).ok());
        length.map_or(0, |length| {
            (LENGTH_BYTES + length).saturating_sub(self.buffer.len())
        })
    }

    fn announced(&self) -> Option<i32> {
        let bytes = self.buffer.first_chunk::<LENGTH_BYTES>()?;
        Some(i32::from_be_bytes(*bytes))
    }
}

const LENGTH_BYTES: usize = 4;

/// Room of a new connection: most clients never need more.
const MIN_CHUNK: usize = 4 * 1024;

/// Room for pipelined requests of a busy connection.
const MAX_CHUNK: usize = 64 * 1024;

/// Room that is made for a large frame before any of its bytes arrived; after that it doubles.
const MAX_UNSEEN: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connect"), server.expect("accept").0)
    }

    #[tokio::test]
    async fn frames_are_found_wherever_the_reads_cut_them() {
        let (mut client, mut server) = pair().await;
        let mut inbound = Inbound::new(1000);
        let mut sent = Vec::new();
        for size in [0_u8, 1, 7, 200] {
            sent.extend_from_slice(&u32::from(size).to_be_bytes());
            sent.extend(std::iter::repeat_n(size, usize::from(size)));
        }
        let mut sizes = Vec::new();
        for byte in sent {
            client.write_all(&[byte]).await.expect("write");
            inbound.read(&mut server).await.expect("read");
            while let Some(frame) = inbound.next_frame().expect("allowed") {
                assert!(frame.iter().all(|byte| usize::from(*byte) == frame.len()));
                sizes.push(frame.len());
            }
        }
        assert_eq!(sizes, [0, 1, 7, 200]);
    }

    #[tokio::test]
    async fn an_announced_length_alone_takes_little_memory() {
        let (mut client, mut server) = pair().await;
        let mut inbound = Inbound::new(usize::MAX);
        client
            .write_all(&i32::MAX.to_be_bytes())
            .await
            .expect("write");
        inbound.read(&mut server).await.expect("read");
        client.write_all(b"x").await.expect("write");
        inbound.read(&mut server).await.expect("read");
        assert!(inbound.buffer.capacity() <= 2 * MAX_UNSEEN);
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_or_below_zero_is_refused() {
        for length in [1001, -1] {
            let (mut client, mut server) = pair().await;
            let mut inbound = Inbound::new(1000);
            client
                .write_all(&i32::to_be_bytes(length))
                .await
                .expect("write");
            inbound.read(&mut server).await.expect("read");
            inbound.next_frame().expect_err("too large");
        }
    }
}
