//! A connection over TCP: one task that writes frames and reads frames.
//!
//! Requests are pipelined. The broker answers in order, so the oldest waiting request always
//! belongs to the next frame; its correlation id is checked all the same.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use moldau_protocol::frame::{self, RequestHeader};
use moldau_protocol::messages::ResponseKind;
use moldau_protocol::messages::produce::ProduceResponse;
use moldau_protocol::{ApiKey, ErrorCode, KString, RecordsPiece};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::ClientError;
use crate::transport::connection::{Connection, Outgoing, QUEUED_REQUESTS, disconnected};

/// Starts the task of a connected stream.
pub(crate) fn start(
    stream: TcpStream,
    address: Arc<str>,
    client_id: KString,
    max_response_size: usize,
) -> Connection {
    let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
    let close = Arc::new(Notify::new());
    let connection = Connection::new(Arc::clone(&address), requests, Arc::clone(&close));
    let task = TcpTask {
        address,
        client_id,
        max_response_size,
        waiting: Mutex::default(),
        answered: Notify::new(),
    };
    tokio::spawn(task.run(stream, queue, close));
    connection
}

struct TcpTask {
    address: Arc<str>,
    client_id: KString,
    max_response_size: usize,
    /// Requests that are written or about to be, oldest first.
    ///
    /// At most `MAX_IN_FLIGHT`.
    waiting: Mutex<VecDeque<Waiting>>,
    /// Tells the writing half that there are fewer.
    answered: Notify,
}

struct Waiting {
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    reply: oneshot::Sender<Result<ResponseKind, ClientError>>,
}

impl TcpTask {
    async fn run(self, stream: TcpStream, mut queue: mpsc::Receiver<Outgoing>, close: Arc<Notify>) {
        let (mut reader, mut writer) = stream.into_split();
        let reason = tokio::select! {
            reason = self.write_requests(&mut writer, &mut queue) => reason,
            reason = self.read_responses(&mut reader) => reason,
            () = close.notified() => "it was closed after a time-out".to_owned(),
        };
        tracing::debug!(address = %self.address, %reason, "connection ended");
        queue.close();
        while let Ok(outgoing) = queue.try_recv() {
            outgoing.disconnected(&self.address, &reason);
        }
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for request in waiting {
            let _ = request
                .reply
                .send(Err(disconnected(&self.address, &reason)));
        }
    }

    /// Writes what is queued until the connection breaks or nobody uses it any more.
    async fn write_requests(
        &self,
        writer: &mut OwnedWriteHalf,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> String {
        let mut correlation_id = 0_i32;
        let mut pieces = VecDeque::new();
        while let Some(first) = queue.recv().await {
            let mut sent_without_answer = Vec::new();
            let mut next = Some(first);
            self.wait_for_room().await;
            while let Some(outgoing) = next {
                correlation_id = correlation_id.wrapping_add(1);
                if let Some(reply) = self.encode(outgoing, correlation_id, &mut pieces) {
                    sent_without_answer.push(reply);
                }
                next = if self.has_room() {
                    queue.try_recv().ok()
                } else {
                    None
                };
            }
            if let Err(error) = write_all(writer, &mut pieces).await {
                return error.to_string();
            }
            for reply in sent_without_answer {
                let _ = reply.send(Ok(ResponseKind::Produce(ProduceResponse::default())));
            }
        }
        "it is not used any more".to_owned()
    }

    /// Waits until fewer than `MAX_IN_FLIGHT` requests are unanswered.
    async fn wait_for_room(&self) {
        while !self.has_room() {
            self.answered.notified().await;
        }
    }

    fn has_room(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.len() < MAX_IN_FLIGHT
    }

    /// Encodes a request behind `pieces` and notes who waits for its answer.
    ///
    /// Gives the caller back if it is to be told as soon as the request is written.
    fn encode(
        &self,
        outgoing: Outgoing,
        correlation_id: i32,
        pieces: &mut VecDeque<Bytes>,
    ) -> Option<oneshot::Sender<Result<ResponseKind, ClientError>>> {
        let key = outgoing.request.api_key();
        let header = RequestHeader {
            api_key: key as i16,
            api_version: outgoing.version,
            correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        let frame = match frame::encode_request(&header, &outgoing.request) {
            Ok(frame) => frame,
            Err(error) => {
                let object = format!("{} request to {}", key.name(), self.address);
                let _ = outgoing
                    .reply
                    .send(Err(ClientError::protocol(object, error)));
                return None;
            }
        };
        pieces.extend(
            frame
                .into_pieces()
                .into_iter()
                .filter_map(|piece| match piece {
                    RecordsPiece::Bytes(bytes) if !bytes.is_empty() => Some(bytes),
                    // Requests never carry file ranges; the client makes them all from memory.
                    RecordsPiece::Bytes(_) | RecordsPiece::File(_) => None,
                }),
        );
        if !outgoing.expects_response {
            return Some(outgoing.reply);
        }
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Waiting {
                correlation_id,
                key,
                version: outgoing.version,
                reply: outgoing.reply,
            });
        None
    }

    async fn read_responses(&self, reader: &mut OwnedReadHalf) -> String {
        let mut buffer = BytesMut::with_capacity(READ_BUFFER);
        loop {
            match self.next_frame(&mut buffer) {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.answer(frame) {
                        return reason;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(reason) => return reason,
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return "the broker closed it".to_owned(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Takes one frame without its length from the buffer, or makes room for the rest of it.
    fn next_frame(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
        let Some(length) = buffer.first_chunk::<4>() else {
            buffer.reserve(READ_BUFFER);
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.max_response_size {
            return Err(format!(
                "a response of {length} bytes is larger than `max_response_size` ({})",
                self.max_response_size
            ));
        }
        let missing = (length + 4).saturating_sub(buffer.len());
        if missing > 0 {
            buffer.reserve(missing);
            return Ok(None);
        }
        buffer.advance(4);
        Ok(Some(buffer.split_to(length).freeze()))
    }

    /// Gives a frame to the oldest waiting request.
    fn answer(&self, frame: Bytes) -> Result<(), String> {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        self.answered.notify_one();
        let Some(waiting) = waiting else {
            return Err("the broker answered a request that was never made".to_owned());
        };
        let correlation_id = frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id));
        if correlation_id != Some(waiting.correlation_id) {
            let reason = "the broker answered another request than the oldest".to_owned();
            let _ = waiting
                .reply
                .send(Err(disconnected(&self.address, &reason)));
            return Err(reason);
        }
        let version = readable_version(waiting.key, waiting.version, &frame);
        let response = frame::decode_response(waiting.key, version, frame)
            .map(|(_, response)| response)
            .map_err(|error| {
                ClientError::protocol(
                    format!("{} response of {}", waiting.key.name(), self.address),
                    error,
                )
            });
        let _ = waiting.reply.send(response);
        Ok(())
    }
}

/// A broker that does not know the version of an ApiVersions request says so in version 0.
fn readable_version(key: ApiKey, version: i16, frame: &Bytes) -> i16 {
    let refused = key == ApiKey::ApiVersions
        && frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes()[..]);
    if refused { 0 } else { version }
}

/// Writes all pieces, many at a time, without joining them.
async fn write_all(writer: &mut OwnedWriteHalf, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let mut written = writer
            .write_vectored(slices.get(..count).unwrap_or_default())
            .await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

/// Requests of one connection that are not answered yet; more wait to be written.
const MAX_IN_FLIGHT: usize = 64;

/// Bytes read at a time where a frame's length is not known yet.
const READ_BUFFER: usize = 64 * 1024;

/// Slices handed to the operating system in one call.
const PIECES_PER_WRITE: usize = 64;
