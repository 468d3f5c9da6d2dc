//! Reports as lines of a file.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Receipt, Report, ReportSink,
    chain::{Broken, Link},
};

/// Writes reports to a file: a JSON object a line, numbered and chained by hashes ([`chain`](super::chain)).
///
/// - Opened again, the file is checked and its chain goes on. A broken one is left alone: [`open`](Self::open) fails. Of
///   a last line without its end, from a process that was killed, nothing was promised: it is cut off, and `tracing` told.
/// - One process at a time: the file is locked.
/// - *Written* means handed to the operating system. It is on the disk after [`sync`](Self::sync), a rotation, or when
///   the sink is dropped.
/// - A disk that is full loses nothing: the audit keeps the report, and the file never keeps half a line.
/// - Files that others rename (logrotate) are followed under their new name; [`rotate_at`](Self::rotate_at) keeps the chain
///   over files.
pub struct JsonLines {
    path: PathBuf,
    name: String,
    rotate_at: u64,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Of the whole lines.
    len: u64,
    /// There may be half a line behind them.
    torn: bool,
    link: Link,
}

impl JsonLines {
    /// Makes the file, or goes on in it.
    ///
    /// # Errors
    /// Of the file system; [`io::ErrorKind::WouldBlock`] if another process has it; [`io::ErrorKind::InvalidData`] if its
    /// chain is broken.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self {
            state: Mutex::new(State::open(&path)?),
            name: path.display().to_string(),
            path,
            rotate_at: u64::MAX,
        })
    }

    /// Renames a file that has so many bytes, and begins another in which the chain goes on. The old one is called as the
    /// file, with `.` and the number of its last line in 12 digits behind it; nobody deletes it.
    pub fn rotate_at(mut self, bytes: u64) -> Self {
        self.rotate_at = bytes;
        self
    }

    /// Where the chain stands: kept elsewhere, it shows whether the file's end was cut off.
    pub fn link(&self) -> Link {
        self.lock().link.clone()
    }

    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// Of the file system.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().file.sync_data()
    }

    fn append(&self, report: &Report) -> io::Result<()> {
        let json = serde_json::to_string(report)?;
        let mut state = self.lock();
        state.mend()?;
        if state.len >= self.rotate_at {
            state.rotate(&self.path)?;
        }
        let (line, link) = state.link.append(&json);
        let written = state.file.write_all(line.as_bytes());
        if let Err(error) = written {
            state.torn = true;
            // Now, or before the next line.
            let _ = state.mend();
            return Err(error);
        }
        state.len += line.len() as u64;
        state.link = link;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReportSink for JsonLines {
    fn write(&self, report: &Arc<Report>, receipt: Receipt) {
        match self.append(report) {
            Ok(()) => receipt.written(),
            Err(error) => receipt.failed(&error),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for JsonLines {
    fn drop(&mut self) {
        let _ = self.sync();
    }
}

impl std::fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonLines")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl State {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_locked(path)?;
        let mut state = Self {
            file,
            len: 0,
            torn: false,
            link: Link::default(),
        };
        state.read(path)?;
        if state.len == 0
            && let Some(before) = newest_rotated(path)?
        {
            state.link = last_link(&before)?;
        }
        Ok(state)
    }

    /// Follows the chain to its end.
    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = BufReader::new(&self.file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let Some(text) = line.strip_suffix(b"\n") else {
                tracing::warn!(
                    target: "franking::audit::sink",
                    file = %path.display(),
                    bytes = line.len(),
                    "the file's last line has no end; it is cut off"
                );
                self.torn = true;
                break;
            };
            // A file that goes on where a rotated one ended begins with any number.
            let followed = match self.len {
                0 => Link::of(text).map(|link| self.link = link),
                _ => self.link.follow(text),
            };
            followed.map_err(|broken| invalid(path, self.link.line + 1, broken))?;
            self.len += line.len() as u64;
            line.clear();
        }
        drop(lines);
        self.file.seek(SeekFrom::Start(self.len))?;
        self.mend()
    }

    /// Cuts half a line off.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            self.torn = false;
        }
        Ok(())
    }

    fn rotate(&mut self, path: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        fs::rename(path, rotated(path, self.link.line))?;
        self.file = open_locked(path)?;
        self.len = 0;
        Ok(())
    }
}

fn open_locked(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{}: another process writes to it", path.display()),
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn rotated(path: &Path, line: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{line:012}"));
    name.into()
}

/// The file that was rotated last: the chain goes on there if a process ended between two files.
fn newest_rotated(path: &Path) -> io::Result<Option<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let other = entry?.path();
        let Some(line) = other.extension().and_then(|e| e.to_str()?.parse().ok()) else {
            continue;
        };
        if other.file_name() == rotated(path, line).file_name() {
            newest = newest.max(Some(line));
        }
    }
    Ok(newest.map(|line| rotated(path, line)))
}

fn last_link(path: &Path) -> io::Result<Link> {
    let text = fs::read(path)?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let last = lines.rfind(|line| !line.is_empty());
    Link::of(last.unwrap_or_default()).map_err(|broken| invalid(path, 0, broken))
}

fn invalid(path: &Path, line: u64, broken: Broken) -> io::Error {
    let what = match line {
        0 => "its last line".to_owned(),
        line => format!("line {line}"),
    };
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {what}: {broken}", path.display()),
    )
}

#[cfg(test)]
mod tests;
