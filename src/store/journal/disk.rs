//! The seam to the file system: one directory, and all that the journal asks of it.
//!
//! Files are named, not held: who reads one that was removed in the meantime is told [`io::ErrorKind::NotFound`]. A
//! write is safe after [`Disk::sync`] of its file, a name after [`Disk::sync_dir`].

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// One directory.
pub(crate) trait Disk: Send + Sync {
    /// Names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// An empty file; there is none of this name.
    fn create(&self, name: &str) -> io::Result<()>;

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads until `buf` is full or the file ends; how much was read.
    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Everything written to the file is on disk, with its length.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// What was created, renamed and removed is.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the place of what has the name `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes a file exactly so long, whose bytes mean nothing but that their space is taken. An error where a file system
    /// takes space only for what is written.
    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free_space(&self) -> io::Result<u64>;

    /// Takes the directory for this process, until it ends or `unlock`s; whether nobody else has it.
    fn lock(&self) -> io::Result<bool>;

    fn unlock(&self);

    /// Where it is, for those who read of it.
    fn place(&self) -> String;
}

/// The name of the file that says who has the directory.
pub(super) const LOCK_FILE: &str = "lock";

/// Read handles that stay open; each more is a file descriptor less for connections.
const READERS_MAX: usize = 64;
/// The segment and the checkpoint that are being written, and their predecessors.
const WRITERS_MAX: usize = 4;

/// A directory of the operating system.
pub(crate) struct RealDisk {
    directory: PathBuf,
    /// What was written to last: a failed write is reported to the handle that was open at the time.
    writers: Mutex<Handles>,
    readers: Mutex<Handles>,
    lock: Mutex<Option<File>>,
}

/// Open files, the longest unused first.
type Handles = VecDeque<(String, Arc<File>)>;

impl RealDisk {
    pub(crate) fn new(directory: &Path) -> Self {
        RealDisk {
            directory: directory.to_owned(),
            writers: Mutex::default(),
            readers: Mutex::default(),
            lock: Mutex::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// For who only reads: takes the directory as `lock` does, beside others that read, and writes nothing. Where there is
    /// no lock file there is no broker.
    pub(super) fn lock_to_read(&self) -> io::Result<bool> {
        let file = match File::open(self.path(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened?,
        };
        let taken = file.try_lock_shared();
        self.keep_lock(file, taken)
    }

    fn keep_lock(&self, file: File, taken: Result<(), TryLockError>) -> io::Result<bool> {
        match taken {
            Ok(()) => {
                *self.lock.lock() = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn writer(&self, name: &str) -> io::Result<Arc<File>> {
        let open = || OpenOptions::new().read(true).write(true).open(self.path(name));
        handle(&mut self.writers.lock(), WRITERS_MAX, name, open)
    }

    fn forget(&self, name: &str) {
        self.writers.lock().retain(|(known, _)| known != name);
        self.readers.lock().retain(|(known, _)| known != name);
    }
}

fn handle(
    handles: &mut Handles,
    max: usize,
    name: &str,
    open: impl FnOnce() -> io::Result<File>,
) -> io::Result<Arc<File>> {
    let entry = match handles.iter().position(|(known, _)| known == name) {
        Some(at) => handles.remove(at),
        None => None,
    };
    let (name, file) = match entry {
        Some(entry) => entry,
        None => (name.to_owned(), Arc::new(open()?)),
    };
    handles.push_back((name, Arc::clone(&file)));
    if handles.len() > max {
        handles.pop_front();
    }
    Ok(file)
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // A name that is not UTF-8 is nobody's of ours, and is told as it can be.
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        }
        Ok(files)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        let create = || OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name));
        handle(&mut self.writers.lock(), WRITERS_MAX, name, create).map(drop)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writer(name)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = handle(&mut self.readers.lock(), READERS_MAX, name, || File::open(self.path(name)))?;
        let mut read = 0;
        while read < buf.len() {
            match file.read_at(&mut buf[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.writer(name)?.set_len(length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.writer(name)?.sync_data()
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = fs::remove_file(self.path(name));
        // Behind it: a reader that had it opened in between would keep its space.
        self.forget(name);
        removed
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        if file.metadata()?.len() > bytes {
            return file.set_len(bytes);
        }
        Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
    }

    fn free_space(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn lock(&self) -> io::Result<bool> {
        let path = self.path(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let taken = file.try_lock();
        self.keep_lock(file, taken)
    }

    fn unlock(&self) {
        *self.lock.lock() = None;
        self.writers.lock().clear();
        self.readers.lock().clear();
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}
