//! Writes response pieces to a socket: slices by one vectored write, file ranges by `sendfile`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Buf;
use moldau_protocol::RecordsPiece;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::sendfile::send_some;

/// The pieces of the responses that leave next.
///
/// Bound: the responses of one turn of the connection's loop, so at most one per request in flight.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pieces: VecDeque<RecordsPiece>,
    length: usize,
}

impl Outbound {
    pub(super) fn push(&mut self, piece: RecordsPiece) {
        self.length += piece.len();
        self.pieces.push_back(piece);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Writes everything; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// When the socket fails, or the peer takes nothing for longer than `limit`: what is to be written would else
    /// stay in memory for as long as the peer likes.
    pub(super) async fn flush(
        &mut self,
        stream: &mut TcpStream,
        limit: Duration,
    ) -> io::Result<usize> {
        while let Some(piece) = self.pieces.front_mut() {
            match piece {
                RecordsPiece::Bytes(_) => {
                    timeout(limit, self.write_slices(stream)).await??;
                }
                RecordsPiece::File(range) => {
                    timeout(limit, send_some(stream, range)).await??;
                    if range.length == 0 {
                        self.pieces.pop_front();
                    }
                }
            }
        }
        Ok(std::mem::take(&mut self.length))
    }

    /// Writes the slices up to the next file range, as many at once as the system takes.
    async fn write_slices(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let written = {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
                let RecordsPiece::Bytes(bytes) = piece else {
                    break;
                };
                *slot = IoSlice::new(bytes);
                count += 1;
            }
            stream
                .write_vectored(slices.get(..count).unwrap_or_default())
                .await?
        };
        self.advance(written)
    }

    fn advance(&mut self, mut written: usize) -> io::Result<()> {
        if written == 0 && !self.front_is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(RecordsPiece::Bytes(bytes)) = self.pieces.front_mut() {
            if bytes.len() > written {
                bytes.advance(written);
                break;
            }
            written -= bytes.len();
            self.pieces.pop_front();
        }
        Ok(())
    }

    fn front_is_empty(&self) -> bool {
        matches!(self.pieces.front(), Some(RecordsPiece::Bytes(bytes)) if bytes.is_empty())
    }
}

/// Slices of one vectored write; Linux takes up to 1,024.
const MAX_SLICES: usize = 128;
