//! Each attacker on a thread of its own, on plain sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Progress;
use crate::fuzz::{Mutator, Target, golden};

/// Starts all of them; they end soon after `progress` says so.
pub(super) fn start(
    address: SocketAddr,
    seed: u64,
    progress: &Arc<Progress>,
) -> Vec<JoinHandle<()>> {
    let mut handles = Vec::new();
    for index in 0..SENDERS {
        let progress = Arc::clone(progress);
        let seed = seed.wrapping_add(index);
        handles.push(thread::spawn(move || send_frames(address, seed, &progress)));
    }
    let shared = Arc::clone(progress);
    handles.push(thread::spawn(move || send_slowly(address, &shared)));
    let shared = Arc::clone(progress);
    handles.push(thread::spawn(move || never_read(address, &shared)));
    handles
}

/// Sends changed frames, made-up bytes and wrong lengths, and reads what comes.
fn send_frames(address: SocketAddr, seed: u64, progress: &Progress) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut mutator = Mutator::new(seed);
    let target = Target::named("frames").expect("a target of this name");
    let mut examples = (target.examples)();
    examples.extend(golden("frames"));
    examples.retain(|example| is_harmless(example));
    while !progress.stopped.load(Ordering::Relaxed) {
        let Ok(mut socket) = connect(address) else {
            continue;
        };
        for _ in 0..FRAMES_OF_A_CONNECTION {
            let frame = frame(&mut mutator, &mut random, &examples);
            if progress.stopped.load(Ordering::Relaxed) || socket.write_all(&frame).is_err() {
                break;
            }
            progress.frames.fetch_add(1, Ordering::Relaxed);
            match read_answer(&mut socket) {
                Ok(()) => {
                    progress.answered.fetch_add(1, Ordering::Relaxed);
                }
                // No answer yet, or none at all: a fetch waits, a produce without acks is silent.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
}

/// One frame with its length; sometimes the length is a lie.
fn frame(mutator: &mut Mutator, random: &mut SmallRng, examples: &[Vec<u8>]) -> Vec<u8> {
    let body = loop {
        let body = match random.random_range(0..10) {
            0 => (0..random.random_range(0..300))
                .map(|_| random.random())
                .collect(),
            1 => examples[random.random_range(0..examples.len())].clone(),
            _ => mutator.next(examples),
        };
        if is_harmless(&body) {
            break body;
        }
    };
    let length = match random.random_range(0..30) {
        0 => random.random(),
        1 => -1,
        2 => i32::MAX,
        _ => i32::try_from(body.len()).unwrap_or(i32::MAX),
    };
    [&length.to_be_bytes(), &body[..]].concat()
}

/// Whether the request is none that asks for what costs memory or harms the normal client by
/// right: to create, delete or change topics.
fn is_harmless(frame: &[u8]) -> bool {
    let Some((key, _)) = frame.split_first_chunk() else {
        return true;
    };
    !ASKS_FOR_HARM.contains(&i16::from_be_bytes(*key))
}

/// Begins large frames on many connections and sends them byte by byte, without end.
fn send_slowly(address: SocketAddr, progress: &Progress) {
    let mut sockets = Vec::new();
    while !progress.stopped.load(Ordering::Relaxed) {
        if sockets.len() < SLOW_CONNECTIONS
            && let Ok(mut socket) = connect(address)
        {
            // As large as the broker takes.
            let length = 100_000_000_i32.to_be_bytes();
            if socket.write_all(&length).is_ok() {
                sockets.push(socket);
            }
            continue;
        }
        thread::sleep(PAUSE);
        sockets.retain_mut(|socket| socket.write_all(&[0]).is_ok());
    }
}

/// Asks for the list of all APIs and topics again and again, and never reads an answer.
fn never_read(address: SocketAddr, progress: &Progress) {
    let metadata = crate::fuzz::request_frame(3, 9, &[1, 0, 0, 0, 0]);
    let versions = crate::fuzz::request_frame(18, 0, &[]);
    let requests = [metadata, versions].concat().repeat(50);
    let mut sockets = Vec::new();
    while !progress.stopped.load(Ordering::Relaxed) {
        if sockets.len() < DEAF_CONNECTIONS
            && let Ok(socket) = connect(address)
            && socket.set_nonblocking(true).is_ok()
        {
            sockets.push(socket);
        }
        thread::sleep(PAUSE);
        // A full socket is what this is about; a closed one is replaced.
        sockets.retain_mut(|socket| match socket.write(&requests) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PAUSE))?;
    socket.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}

/// Reads one answer, if it comes soon.
fn read_answer(socket: &mut TcpStream) -> io::Result<()> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    io::copy(&mut socket.take(length), &mut io::sink()).map(|_| ())
}

const SENDERS: u64 = 3;
const FRAMES_OF_A_CONNECTION: usize = 30;
const SLOW_CONNECTIONS: usize = 50;
const DEAF_CONNECTIONS: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// CreateTopics, DeleteTopics, DeleteRecords, AlterConfigs, CreatePartitions,
/// IncrementalAlterConfigs.
const ASKS_FOR_HARM: [i16; 6] = [19, 20, 21, 33, 37, 44];
