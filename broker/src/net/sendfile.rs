//! File ranges to sockets without a copy through this process.
//!
//! Uses `unsafe`: `sendfile` and `readahead` have no safe form in the standard library.

use std::fs::File;
use std::io;

use moldau_protocol::FileRange;
use tokio::net::TcpStream;

/// Sends the first bytes of `range` to `stream`, and takes them off the range.
///
/// Call [`read_ahead`] on a blocking thread first, so that the pages are in memory and this does not wait for a disk.
///
/// # Errors
///
/// When the socket fails, or the file is shorter than the range says.
pub(super) async fn send_some(stream: &TcpStream, range: &mut FileRange) -> io::Result<()> {
    let length = usize::try_from(range.length)
        .unwrap_or(MAX_CALL)
        .min(MAX_CALL);
    loop {
        stream.writable().await?;
        let sent = stream.try_io(tokio::io::Interest::WRITABLE, || {
            platform::send(stream, &range.file, range.position, length)
        });
        match sent {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "log file is shorter than the range to send",
                ));
            }
            Ok(sent) => {
                range.position += sent as u64;
                range.length = range
                    .length
                    .saturating_sub(u32::try_from(sent).unwrap_or(u32::MAX));
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Brings the pages of a file range into memory; blocks until they are there.
pub(crate) fn read_ahead(file: &File, position: u64, length: u64) {
    platform::read_ahead(file, position, length);
}

/// Bytes of one call, so that one connection does not keep a thread for long.
const MAX_CALL: usize = 512 * 1024;

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "sendfile and readahead are only reachable through libc"
)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use tokio::net::TcpStream;

    pub(super) fn send(
        stream: &TcpStream,
        file: &File,
        position: u64,
        length: usize,
    ) -> io::Result<usize> {
        let mut offset = libc::off_t::try_from(position).map_err(io::Error::other)?;
        // SAFETY: both descriptors are open for the whole call because they are borrowed from their owners,
        // and `offset` is a live local that the kernel reads and writes only during the call.
        let sent = unsafe {
            libc::sendfile(
                stream.as_raw_fd(),
                file.as_raw_fd(),
                &raw mut offset,
                length,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    pub(super) fn read_ahead(file: &File, position: u64, length: u64) {
        let (Ok(position), Ok(length)) = (i64::try_from(position), usize::try_from(length)) else {
            return;
        };
        // SAFETY: takes numbers only; the descriptor is borrowed from its owner for the call.
        // A failure is harmless: the later read waits for the disk instead.
        let _ = unsafe { libc::readahead(file.as_raw_fd(), position, length) };
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    use tokio::net::TcpStream;

    const CHUNK: usize = 64 * 1024;

    pub(super) fn send(
        stream: &TcpStream,
        file: &File,
        position: u64,
        length: usize,
    ) -> io::Result<usize> {
        let mut chunk = vec![0; length.min(CHUNK)];
        let read = file.read_at(&mut chunk, position)?;
        stream.try_write(chunk.get(..read).unwrap_or_default())
    }

    pub(super) fn read_ahead(_file: &File, _position: u64, _length: u64) {}
}
