//! The input, read on a thread of its own: a read that waits must not keep a signal waiting.

use std::{io, io::Read, thread};

use tokio::sync::mpsc;

use crate::BoxError;

/// What one read takes at most.
const BLOCK: usize = 64 * 1024;

/// Blocks that wait for the sender. With the one in the reader's hands and the one in the sender's, this is all that is
/// ever held of the input: who sends more slowly than the input comes leaves the rest where it is.
const AHEAD: usize = 1;

/// A part of the input, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole lines, each with its newline but perhaps the input's last.
    Lines(Vec<u8>),
    /// A line that was thrown away for its length.
    TooLong,
}

impl Piece {
    /// The lines, without their newlines; `None` for the one that was too long.
    pub(super) fn lines(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let (text, too_long) = match self {
            Piece::Lines(text) => (&**text, false),
            Piece::TooLong => (&[][..], true),
        };
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.map(|line| Some(line.strip_suffix(b"\n").unwrap_or(line)));
        lines.chain(too_long.then_some(None))
    }
}

/// Starts to read. The channel ends with the input, or with an error.
pub(super) fn read(
    input: impl Read + Send + 'static,
    longest: usize,
) -> Result<mpsc::Receiver<io::Result<Piece>>, BoxError> {
    let (pieces, receiver) = mpsc::channel(AHEAD);
    thread::Builder::new()
        .name("franking-input".into())
        .spawn(move || {
            // Nobody is left to hear of it if the sender is gone.
            let _ = pump(input, longest, &mut |piece| {
                pieces.blocking_send(piece).map_err(drop)
            });
        })?;
    Ok(receiver)
}

/// Cuts the input into pieces; ends early if `give` fails.
fn pump(
    mut input: impl Read,
    longest: usize,
    give: &mut impl FnMut(io::Result<Piece>) -> Result<(), ()>,
) -> Result<(), ()> {
    let mut block = vec![0; BLOCK];
    // Lines that were begun: at most one of them is not complete.
    let mut text = Vec::new();
    // Inside of a line that was given as too long.
    let mut skipping = false;
    loop {
        let mut fresh = match input.read(&mut block) {
            Ok(0) if text.is_empty() => return Ok(()),
            Ok(0) => return give(Ok(Piece::Lines(text))),
            Ok(read) => &block[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Half a line is not sent: nobody knows what it would have become.
            Err(error) => return give(Err(error)),
        };
        if skipping {
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
                continue;
            };
            fresh = &fresh[end + 1..];
            skipping = false;
        }
        if let Some(end) = fresh.iter().rposition(|byte| *byte == b'\n') {
            let (whole, begun) = fresh.split_at(end + 1);
            text.extend_from_slice(whole);
            give(Ok(Piece::Lines(std::mem::take(&mut text))))?;
            fresh = begun;
        }
        text.extend_from_slice(fresh);
        if text.len() > longest {
            text.clear();
            skipping = true;
            give(Ok(Piece::TooLong))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its text in reads of this many bytes.
    struct Trickle(Vec<u8>, usize);

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = self.1.min(self.0.len()).min(into.len());
            into[..read].copy_from_slice(&self.0[..read]);
            self.0.drain(..read);
            Ok(read)
        }
    }

    fn lines(text: &str, at_once: usize, longest: usize) -> Vec<Option<String>> {
        let mut lines = Vec::new();
        pump(Trickle(text.into(), at_once), longest, &mut |piece| {
            for line in piece.unwrap().lines() {
                lines.push(line.map(|line| String::from_utf8(line.to_vec()).unwrap()));
            }
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = "one\n\nthree\r\nlast";
        for at_once in 1..=text.len() {
            let lines = lines(text, at_once, 100);
            let wanted = ["one", "", "three\r", "last"].map(|line| Some(line.to_owned()));
            assert_eq!(lines, wanted, "{at_once} bytes at once");
        }
        assert!(lines("", 1, 100).is_empty());
        assert_eq!(lines("\n", 1, 100), [Some(String::new())]);
    }

    #[test]
    fn a_line_without_end_is_thrown_away_and_the_next_one_is_not() {
        let long = "x".repeat(1_000_000);
        for text in [format!("a\n{long}\nb\n"), format!("a\n{long}\nb")] {
            let lines = lines(&text, 10_000, 50_000);
            assert_eq!(lines, [Some("a".into()), None, Some("b".into())]);
        }
        assert_eq!(lines(&long, 10_000, 50_000), [None]);
    }

    #[test]
    fn an_input_that_breaks_gives_its_whole_lines_and_the_error() {
        let broken = Trickle(b"one\ntw".to_vec(), 100).chain(Broken);
        let mut given = Vec::new();
        pump(broken, 100, &mut |piece| {
            given.push(piece.map_err(|error| error.kind()));
            Ok(())
        })
        .unwrap();
        let lines = Piece::Lines(b"one\n".to_vec());
        assert_eq!(given, [Ok(lines), Err(io::ErrorKind::ConnectionReset)]);
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn who_does_not_take_the_lines_leaves_the_input_where_it_is() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        };
        struct Endless(Arc<AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                into.fill(b'\n');
                self.0.fetch_add(into.len(), SeqCst);
                Ok(into.len())
            }
        }
        let read = Arc::new(AtomicUsize::new(0));
        let pieces = super::read(Endless(Arc::clone(&read)), 100).unwrap();
        while pieces.is_empty() || read.load(SeqCst) <= BLOCK {
            thread::yield_now();
        }
        thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(read.load(SeqCst), (AHEAD + 1) * BLOCK);
    }
}
