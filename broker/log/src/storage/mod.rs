//! Files as a log needs them: append at the end, read anywhere, sync.
//!
//! What counts as durable follows POSIX: the bytes of a file after [`StorageFile::sync`], its
//! name (creation, renaming, removal) after [`Storage::sync_directory`].

#[cfg(feature = "faults")]
mod faults;
mod file;
mod sim;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

#[cfg(feature = "faults")]
pub use faults::{Faults, set_faults};
pub use file::{DiskFile, FileStorage};
pub use sim::{SimFile, SimLock, SimOperation, SimStorage};

/// A file system; a cheap handle that can be cloned.
pub trait Storage: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: StorageFile;
    /// Keeps a lock file locked until it is dropped.
    type Lock: Debug + Send + Sync + 'static;

    /// Opens an existing file to read and append.
    ///
    /// # Errors
    /// The file system refuses, for example because there is no such file.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Creates a file to read and append, or empties the one that is there.
    ///
    /// # Errors
    /// The file system refuses.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Creates a directory and those above it; fine if it is there.
    ///
    /// # Errors
    /// The file system refuses.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// What a directory holds, ordered by name.
    ///
    /// # Errors
    /// The file system refuses, for example because there is no such directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Gives a file or directory another name, replacing a file of that name.
    ///
    /// # Errors
    /// The file system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The file system refuses, for example because there is no such file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all it holds.
    ///
    /// # Errors
    /// The file system refuses.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The file system refuses.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Locks a file, which is created if it is missing; `None` if another process has it.
    ///
    /// # Errors
    /// The file system refuses.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;

    /// The whole content of a small file.
    ///
    /// # Errors
    /// The file system refuses, for example because there is no such file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let length = usize::try_from(file.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let read = read_up_to(&file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replaces a small file as a whole: after a crash it has the old content or the new one.
    ///
    /// Writes `<name>.tmp`, syncs it, renames it and syncs the directory.
    ///
    /// # Errors
    /// The file system refuses; the old content is still there.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let file = self.create(&temporary)?;
        write_all(&file, content)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(directory) => self.sync_directory(directory),
            None => Ok(()),
        }
    }
}

/// An open file; a cheap handle that can be cloned.
pub trait StorageFile: Clone + Debug + Send + Sync + 'static {
    /// Appends the first bytes of `buffers` at the end of the file; returns how many.
    ///
    /// # Errors
    /// The file system refuses; nothing was written.
    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads from `position` on; returns how many bytes were read, zero at the end of the file.
    ///
    /// # Errors
    /// The file system refuses.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Makes the bytes written until now, and the size of the file, durable.
    ///
    /// # Errors
    /// The file system refuses; what of the bytes is durable is then unknown.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `size` bytes.
    ///
    /// # Errors
    /// The file system refuses.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// The file system refuses.
    fn size(&self) -> io::Result<u64>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The last part of the path.
    pub name: String,
    /// Whether this is a directory itself.
    pub is_directory: bool,
    /// How many bytes the file has; zero for a directory.
    pub size: u64,
}

/// Appends all bytes of all buffers, with as few system calls as the system allows.
pub(crate) fn write_all_vectored(
    file: &impl StorageFile,
    mut buffers: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut buffers, 0); // drops empty buffers at the front
    while !buffers.is_empty() {
        match file.write_vectored(buffers) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut buffers, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends all bytes.
pub(crate) fn write_all(file: &impl StorageFile, bytes: &[u8]) -> io::Result<()> {
    write_all_vectored(file, &mut [IoSlice::new(bytes)])
}

/// Reads until the buffer is full or the file ends; returns how many bytes were read.
pub(crate) fn read_up_to(
    file: &impl StorageFile,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Ends the name of a file that is being written and replaces another one then.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
