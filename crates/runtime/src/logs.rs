//! Container logs: cutting output into lines (pure) and the file they go to.
//!
//! One line is `<time> <stdout|stderr> <P|F> <content>`; `P` says that more of the line follows
//! (contract `pods.md` 7.1). A file that grew past its limit is renamed with the time and a new one
//! begun (7.3); older ones are kept uncompressed. An entry that was cut short, by a full disk or a crash,
//! gets a line of its own: whoever reads takes the next one for no part of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Longest content of one entry, in bytes (contract `pods.md` 7.1).
const ENTRY_BYTES_MAX: usize = 16 << 10;
/// A log file is rotated once it is larger than this, in bytes.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files kept per container, with the current one.
const FILES_MAX: usize = 5;
/// Most that is put aside in one second, beyond the first. More than a disk takes: the file grows on instead.
const NUMBER_MAX: u32 = 999;

/// Which of a container's outputs a line is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts one stream's output into entries. Holds what has come of an unfinished line.
#[derive(Debug)]
pub(crate) struct Splitter {
    stream: Stream,
    pending: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Appends to `out` the entries that `chunk` completes.
    pub(crate) fn push(&mut self, chunk: &[u8], now: Timestamp, out: &mut Vec<u8>) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (mut content, ends) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            while self.pending.len() + content.len() > ENTRY_BYTES_MAX {
                let (head, tail) = content.split_at(ENTRY_BYTES_MAX - self.pending.len());
                self.entry(head, "P", now, out);
                content = tail;
            }
            if ends {
                self.entry(content, "F", now, out);
            } else {
                self.pending.extend_from_slice(content);
            }
        }
    }

    /// Appends what is left of an unfinished last line.
    pub(crate) fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.entry(b"", "F", now, out);
        }
    }

    fn entry(&mut self, tail: &[u8], tag: &str, now: Timestamp, out: &mut Vec<u8>) {
        let head = format!("{now:.9} {} {tag} ", self.stream.name());
        out.reserve(head.len() + self.pending.len() + tail.len() + 1);
        out.extend_from_slice(head.as_bytes());
        out.append(&mut self.pending);
        // A quiet container keeps no buffer.
        self.pending.shrink_to_fit();
        out.extend_from_slice(tail);
        out.push(b'\n');
    }
}

/// A container's current log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// The last entry has no end.
    torn: bool,
    /// Whether the last write failed; the first failure of a streak is logged, what it held is lost.
    failing: bool,
}

impl LogFile {
    /// Opens the file to append to, making its directories.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let torn = bytes > 0 && last_byte(&mut file)? != b'\n';
        Ok(Self { path: path.to_path_buf(), file, bytes, bytes_max: FILE_BYTES_MAX, torn, failing: false })
    }

    /// Appends whole entries. A disk that takes no more loses them; the container must not notice.
    pub(crate) fn append(&mut self, entries: &[u8], now: Timestamp) {
        if entries.is_empty() {
            return;
        }
        match self.write(entries) {
            Ok(()) => self.failing = false,
            Err(e) => {
                if !self.failing {
                    tracing::error!(path = %self.path.display(), %e, "log entries are being lost");
                }
                self.failing = true;
            }
        }
        if self.bytes > self.bytes_max
            && let Err(e) = self.rotate(now)
        {
            tracing::error!(path = %self.path.display(), %e, "failed to rotate");
        }
    }

    /// Writes whole entries; remembers where one was cut short.
    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
            self.torn = false;
        }
        let mut rest = entries;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    self.bytes += written as u64;
                    rest = &rest[written..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Renames the current file, begins a new one and deletes the oldest beyond the limit.
    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        fs::rename(&self.path, self.free_name(now)?)?;
        *self = Self { bytes_max: self.bytes_max, ..Self::open(&self.path)? };
        let old = self.rotated()?;
        let excess = (old.len() + 1).saturating_sub(FILES_MAX);
        old.iter().take(excess).try_for_each(fs::remove_file)
    }

    /// A name for the current file that no other has. What is put aside in one second is numbered, so that the
    /// names still sort by time.
    fn free_name(&self, now: Timestamp) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", now.strftime("%Y%m%d-%H%M%S")));
        for number in 0..=NUMBER_MAX {
            let mut free = name.clone();
            if number > 0 {
                free.push(format!("-{number:03}"));
            }
            if !Path::new(&free).try_exists()? {
                return Ok(free.into());
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Rotated files, oldest first: their names sort by time.
    fn rotated(&self) -> io::Result<Vec<PathBuf>> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(Vec::new()) };
        let prefix = format!("{}.", name.to_string_lossy());
        let mut old = Vec::new();
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                old.push(entry.path());
            }
        }
        old.sort();
        Ok(old)
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(1_700_000_000 + second, 5_000_000).unwrap()
    }

    fn split(chunks: &[&[u8]], finish: bool) -> Vec<String> {
        let (mut splitter, mut out) = (Splitter::new(Stream::Stdout), Vec::new());
        chunks.iter().for_each(|chunk| splitter.push(chunk, at(0), &mut out));
        if finish {
            splitter.finish(at(0), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_full_entries_however_they_arrive() {
        let expected = ["2023-11-14T22:13:20.005000000Z stdout F one", "2023-11-14T22:13:20.005000000Z stdout F two"];
        assert_eq!(split(&[b"one\ntwo\n"], false), expected);
        assert_eq!(split(&[b"o", b"ne\nt", b"wo", b"\n"], false), expected);
        assert_eq!(split(&[b"one\ntwo"], true), expected);
        assert_eq!(split(&[b"one\ntwo"], false), expected[..1]);
    }

    #[test]
    fn a_long_line_is_cut_into_partial_entries() {
        let content = |lines: Vec<String>| -> Vec<(String, usize)> {
            lines.iter().map(|l| l.splitn(4, ' ').collect::<Vec<_>>()).map(|f| (f[2].into(), f[3].len())).collect()
        };
        let exact = vec![b'x'; ENTRY_BYTES_MAX];
        assert_eq!(content(split(&[&exact, b"\n"], false)), [("F".into(), ENTRY_BYTES_MAX)]);
        let long = vec![b'x'; 2 * ENTRY_BYTES_MAX + 3];
        let expected = [("P".into(), ENTRY_BYTES_MAX), ("P".into(), ENTRY_BYTES_MAX), ("F".into(), 3)];
        assert_eq!(content(split(&[&long, b"\n"], false)), expected);
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/0.log");
        let mut log = LogFile::open(&path).unwrap();
        log.bytes_max = 10;
        for second in 0..7 {
            log.append(format!("entry {second}....\n").as_bytes(), at(second));
        }
        let rotated = log.rotated().unwrap();
        assert_eq!(rotated.len(), FILES_MAX - 1);
        assert!(rotated[0].ends_with("0.log.20231114-221323"), "{rotated:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_to_string(&rotated[3]).unwrap(), "entry 6....\n");
    }

    #[test]
    fn nothing_is_lost_when_two_files_are_full_within_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(&dir.path().join("0.log")).unwrap();
        log.bytes_max = 10;
        for entry in 0..4 {
            log.append(format!("entry {entry}....\n").as_bytes(), at(0));
        }
        let kept: String = log.rotated().unwrap().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(kept, "entry 0....\nentry 1....\nentry 2....\nentry 3....\n");
    }

    #[test]
    fn an_entry_that_was_cut_short_has_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "whole\ncut sh").unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.append(b"next\n", at(0));
        log.append(b"more\n", at(0));
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\ncut sh\nnext\nmore\n");
    }

    #[test]
    fn a_reopened_file_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        LogFile::open(&path).unwrap().append(b"a\n", at(0));
        LogFile::open(&path).unwrap().append(b"b\n", at(0));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    }
}
