//! The bytes of one simulated file: as the process sees them, and as they are on the medium.

use std::io;

use super::random::Random;

/// The bytes of one file, and which of them a crash may take.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What a read returns.
    current: Vec<u8>,
    /// What was there at the last sync.
    durable: Vec<u8>,
    /// What happened since, in order.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetSize(usize),
}

impl Content {
    pub(super) const fn size(&self) -> u64 {
        self.current.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let from = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(self.current.len());
        let length = buffer.len().min(self.current.len() - from);
        buffer[..length].copy_from_slice(&self.current[from..from + length]);
        length
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.pending.push(Change::Write {
            position: self.current.len(),
            bytes: bytes.to_vec(),
        });
        self.current.extend_from_slice(bytes);
    }

    pub(super) fn set_size(&mut self, size: usize) {
        if size != self.current.len() {
            self.pending.push(Change::SetSize(size));
            self.current.resize(size, 0);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.pending.clear();
    }

    pub(super) fn overwrite(&mut self, position: usize, bytes: &[u8]) -> io::Result<()> {
        for target in [&mut self.current, &mut self.durable] {
            let range = target.get_mut(position..position + bytes.len());
            range
                .ok_or(io::ErrorKind::UnexpectedEof)?
                .copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Forgets what was not synced, apart from what `random` lets survive.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let mut bytes = std::mem::take(&mut self.durable);
        let pending = std::mem::take(&mut self.pending);
        // A third of the crashes lets all survive, a third nothing, the others some of it.
        let mode = random.below(3);
        for change in &pending {
            match mode {
                0 => change.apply(&mut bytes),
                1 => {}
                _ => change.apply_partly(&mut bytes, random),
            }
        }
        self.durable.clone_from(&bytes);
        self.current = bytes;
    }
}

impl Change {
    fn apply(&self, target: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => put(target, *position, bytes),
            Self::SetSize(size) => target.resize(*size, 0),
        }
    }

    fn apply_partly(&self, target: &mut Vec<u8>, random: &mut Random) {
        match (self, random.below(4)) {
            (_, 0) => {}
            (Self::Write { position, bytes }, 1) => {
                put(target, *position, &bytes[..random.below(bytes.len() + 1)])
            }
            (Self::Write { position, bytes }, 2) => {
                // Two ends survive with a hole of zeros between them.
                let hole = random.below(bytes.len() + 1);
                let after = hole + random.below(bytes.len() - hole + 1);
                put(target, *position, &bytes[..hole]);
                put(target, position + after, &bytes[after..]);
            }
            _ => self.apply(target),
        }
    }
}

/// Writes bytes at a position; what lies between the end and the position becomes zeros.
fn put(target: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = position + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[position..end].copy_from_slice(bytes);
}
