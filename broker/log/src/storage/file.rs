//! The file system of this machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{DirectoryEntry, Storage, StorageFile};

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileStorage;

/// An open file of the file system, in append mode.
#[derive(Clone, Debug)]
pub struct DiskFile {
    file: Arc<File>,
    #[cfg(feature = "faults")]
    path: Arc<Path>,
}

impl DiskFile {
    /// The file as the standard library has it, for `sendfile`.
    #[must_use]
    pub const fn as_file(&self) -> &Arc<File> {
        &self.file
    }

    #[cfg_attr(
        not(feature = "faults"),
        expect(unused_variables, reason = "only faults ask where a file is")
    )]
    fn new(file: File, path: &Path) -> Self {
        Self {
            file: Arc::new(file),
            #[cfg(feature = "faults")]
            path: path.into(),
        }
    }
}

impl Storage for FileStorage {
    type File = DiskFile;
    type Lock = File;

    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .map(|file| DiskFile::new(file, path))
    }

    fn create(&self, path: &Path) -> io::Result<DiskFile> {
        #[cfg(feature = "faults")]
        super::faults::on_write(path)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        Ok(DiskFile::new(file, path))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // removed meanwhile
                Err(error) => return Err(error),
            };
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                let is_directory = metadata.is_dir();
                let size = if is_directory { 0 } else { metadata.len() };
                entries.push(DirectoryEntry {
                    name,
                    is_directory,
                    size,
                });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StorageFile for DiskFile {
    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "faults")]
        super::faults::on_write(&self.path)?;
        (&*self.file).write_vectored(buffers)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&*self.file, buffer, position)
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(feature = "faults")]
        super::faults::on_sync(&self.path)?;
        self.file.sync_data()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }
}
