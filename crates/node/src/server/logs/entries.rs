//! Entries of the CRI format (contract `pods.md` 7.1, 7.5) and what is shown of them. What containers write
//! is bytes, not text, and is shown as it was written.

use jiff::Timestamp;

use super::Wanted;

/// Renders whole entries; remembers whether the last piece ended its line.
pub(super) struct Renderer<'a> {
    wanted: &'a Wanted,
    within_line: bool,
    left: usize,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(wanted: &'a Wanted) -> Self {
        Self { wanted, within_line: false, left: wanted.limit_bytes.unwrap_or(usize::MAX) }
    }

    /// Whether as much has been rendered as is wanted.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes the whole entries out of what was read; gives what is shown of them.
    pub(super) fn take(&mut self, read: &mut Vec<u8>) -> Vec<u8> {
        let complete = end_of_last(read);
        let mut out = Vec::with_capacity(complete);
        read[..complete].split_inclusive(|byte| *byte == b'\n').for_each(|line| self.render(line, &mut out));
        read.drain(..complete);
        out
    }

    /// Appends what is shown of one line; one that is no entry is left out.
    fn render(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(Entry { time, ends, content }) = Entry::parse(line) else { return };
        let stamp: Option<Timestamp> = time.parse().ok();
        if let (Some(since), Some(stamp)) = (self.wanted.since, stamp)
            && stamp < since
        {
            return;
        }
        let mut piece = Vec::with_capacity(line.len());
        if self.wanted.timestamps && !self.within_line {
            let stamp = stamp.map(|stamp| stamp.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string());
            piece.extend_from_slice(stamp.as_deref().unwrap_or(time).as_bytes());
            piece.push(b' ');
        }
        piece.extend_from_slice(content);
        self.within_line = !ends;
        if ends {
            piece.push(b'\n');
        }
        piece.truncate(self.left);
        self.left -= piece.len();
        out.append(&mut piece);
    }
}

/// `<time> <stream> <P|F>[:<more tags>] <content>`
struct Entry<'a> {
    time: &'a str,
    /// No more of the line follows.
    ends: bool,
    content: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.strip_suffix(b"\n").unwrap_or(line).splitn(4, |byte| *byte == b' ');
        let (time, _stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        let ends = match tags.split(|byte| *byte == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time: std::str::from_utf8(time).ok()?, ends, content: parts.next().unwrap_or_default() })
    }
}

/// Drops all but the last `lines` physical lines.
pub(super) fn keep_tail(read: &mut Vec<u8>, lines: usize) {
    let complete = end_of_last(read);
    let ends: Vec<usize> =
        read[..complete].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    if ends.len() > lines {
        let start = if lines == 0 { complete } else { ends[ends.len() - lines - 1] };
        read.drain(..start);
    }
}

/// Where the last whole line ends.
fn end_of_last(read: &[u8]) -> usize {
    read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(log: &[u8], wanted: &Wanted) -> Vec<u8> {
        let mut read = log.to_vec();
        if let Some(lines) = wanted.tail_lines {
            keep_tail(&mut read, lines);
        }
        Renderer::new(wanted).take(&mut read)
    }

    fn text(wanted: &Wanted) -> String {
        String::from_utf8(shown(LOG.as_bytes(), wanted)).expect("text")
    }

    const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n\
        2026-01-01T00:00:02.000000001Z stdout P tw\n\
        2026-01-01T00:00:02.1Z stdout F o\n\
        2026-01-01T00:00:03Z stderr F three\n";

    #[test]
    fn partial_lines_are_joined_and_both_streams_shown() {
        assert_eq!(text(&Wanted::default()), "one\ntwo\nthree\n");
    }

    #[test]
    fn tail_counts_entries_and_limit_cuts_in_the_line() {
        assert_eq!(text(&Wanted { tail_lines: Some(2), ..Wanted::default() }), "o\nthree\n");
        assert_eq!(text(&Wanted { tail_lines: Some(0), ..Wanted::default() }), "");
        assert_eq!(text(&Wanted { limit_bytes: Some(6), ..Wanted::default() }), "one\ntw");
    }

    #[test]
    fn timestamps_have_nine_digits_and_since_filters() {
        let since = "2026-01-01T00:00:02.05Z".parse().ok();
        let shown = text(&Wanted { timestamps: true, since, ..Wanted::default() });
        assert_eq!(shown, "2026-01-01T00:00:02.100000000Z o\n2026-01-01T00:00:03.000000000Z three\n");
    }

    #[test]
    fn what_was_written_is_shown_byte_by_byte() {
        let log = b"2026-01-01T00:00:01Z stdout F caf\xe9 \r\n2026-01-01T00:00:02Z stdout F \xf0\x9f\n";
        assert_eq!(shown(log, &Wanted::default()), b"caf\xe9 \r\n\xf0\x9f\n");
        assert_eq!(shown(log, &Wanted { limit_bytes: Some(4), ..Wanted::default() }), b"caf\xe9");
    }

    #[test]
    fn a_line_that_a_crash_has_cut_short_is_not_taken_for_an_entry() {
        let log = b"2026-01-01T00:00:01Z stdou\n2026-01-01T00:00:01Z stdout \n2026-01-01T00:00:02Z stdout F:x two\n";
        assert_eq!(shown(log, &Wanted::default()), b"two\n");
    }
}
