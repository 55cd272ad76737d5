//! Reads frames from a socket: a 4-byte length, then that many bytes.
//!
//! Memory grows with the bytes that arrived, never with the length that a client merely announced.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
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
    /// A connection that has nothing to read keeps no buffer meanwhile.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub(super) async fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        loop {
            match self.try_read(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            stream.readable().await?;
        }
    }

    fn try_read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let missing = self.missing();
        let room = missing
            .min(self.buffer.len().max(MAX_UNSEEN))
            .max(self.chunk);
        if self.buffer.capacity() - self.buffer.len() < missing.clamp(1, room) {
            self.buffer.reserve(room);
        }
        let free = self.buffer.capacity() - self.buffer.len();
        // Bytes behind a large frame would have to be moved before the next one can be read.
        let limit = if missing >= LARGE { missing } else { free };
        let read = stream.try_read_buf(&mut (&mut self.buffer).limit(limit))?;
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
        if size >= LARGE {
            self.chunk = MIN_CHUNK;
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

/// A frame of this size is read into a buffer of its own.
const LARGE: usize = MAX_CHUNK;

/// Room that is made for a large frame before any of its bytes arrived; after that it doubles. Kafka's producers send
/// at most so much, and then nothing is moved. The system gives the memory only as it is written to.
const MAX_UNSEEN: usize = 1024 * 1024 + 1024;

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
        let (mut client, server) = pair().await;
        let mut inbound = Inbound::new(1000);
        let mut sent = Vec::new();
        for size in [0_u8, 1, 7, 200] {
            sent.extend_from_slice(&u32::from(size).to_be_bytes());
            sent.extend(std::iter::repeat_n(size, usize::from(size)));
        }
        let mut sizes = Vec::new();
        for byte in sent {
            client.write_all(&[byte]).await.expect("write");
            inbound.read(&server).await.expect("read");
            while let Some(frame) = inbound.next_frame().expect("allowed") {
                assert!(frame.iter().all(|byte| usize::from(*byte) == frame.len()));
                sizes.push(frame.len());
            }
        }
        assert_eq!(sizes, [0, 1, 7, 200]);
    }

    #[tokio::test]
    async fn an_announced_length_alone_takes_little_memory() {
        let (mut client, server) = pair().await;
        let mut inbound = Inbound::new(usize::MAX);
        client
            .write_all(&i32::MAX.to_be_bytes())
            .await
            .expect("write");
        inbound.read(&server).await.expect("read");
        client.write_all(b"x").await.expect("write");
        inbound.read(&server).await.expect("read");
        assert!(inbound.buffer.capacity() <= 2 * MAX_UNSEEN);
    }

    #[tokio::test]
    async fn a_large_frame_is_read_into_a_buffer_of_its_own() {
        let (mut client, server) = pair().await;
        let mut inbound = Inbound::new(usize::MAX);
        let body = vec![7; 3 * LARGE];
        let length = u32::try_from(body.len()).expect("small").to_be_bytes();
        let sent = [&length[..], &body, &[0, 0, 0, 1, 9]].concat();
        let written = tokio::spawn(async move {
            client.write_all(&sent).await.expect("write");
            client
        });
        let mut frames = Vec::new();
        while frames.len() < 2 {
            inbound.read(&server).await.expect("read");
            if frames.is_empty() {
                assert!(inbound.buffer.len() <= LENGTH_BYTES + body.len());
            }
            while let Some(frame) = inbound.next_frame().expect("allowed") {
                frames.push(frame);
            }
        }
        assert_eq!((&frames[0][..], &frames[1][..]), (&body[..], &[9][..]));
        written.await.expect("written");
    }

    #[tokio::test]
    async fn a_connection_that_waits_keeps_no_buffer() {
        let (mut client, server) = pair().await;
        let mut inbound = Inbound::new(1000);
        client.write_all(&[0, 0, 0, 1, 9]).await.expect("write");
        inbound.read(&server).await.expect("read");
        inbound.next_frame().expect("allowed").expect("complete");
        let mut reading = Box::pin(inbound.read(&server));
        assert!(poll_once(reading.as_mut()).is_pending());
        drop(reading);
        assert_eq!(inbound.buffer.capacity(), 0);
    }

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_or_below_zero_is_refused() {
        for length in [1001, -1] {
            let (mut client, server) = pair().await;
            let mut inbound = Inbound::new(1000);
            client
                .write_all(&i32::to_be_bytes(length))
                .await
                .expect("write");
            inbound.read(&server).await.expect("read");
            inbound.next_frame().expect_err("too large");
        }
    }
}
