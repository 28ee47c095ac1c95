//! Prometheus' text format 0.0.4, as far as a kubelet's pages need it: lines as they arrive, labels, counts.
//!
//! Nothing here allocates but the one line that a chunk breaks off.

use crate::units::Uid;
use memchr::{memchr, memchr2};

/// The largest page that is read unless configured: 110 pods with three probes each make 0.8 MB; thirty times that is
/// not a kubelet.
pub const PAGE_LIMIT: usize = 32 << 20;

/// The longest line. Names of Kubernetes are at most 253 bytes each, so a line of the kubelet stays below 1.5 KiB.
pub(super) const LINE_LIMIT: usize = 64 << 10;

/// Most series of our own pods that one page may make us keep: the kubelet allows 110 pods unless told otherwise, and
/// this is a hundred probes for each.
pub(super) const SERIES_LIMIT: usize = 11_000;

/// Why a page was refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It went past the limit; what came after was not read.
    #[error("the page is longer than {limit} bytes and was not read to its end")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It ends within a line.
    #[error("the page is cut: it ends within a line, after {bytes} bytes")]
    Cut {
        /// How much of it came.
        bytes: usize,
    },
    /// A line without an end.
    #[error("a line of the page is longer than {LINE_LIMIT} bytes")]
    LineTooLong,
    /// More series of our pods than a node can have.
    #[error("the page holds more than {SERIES_LIMIT} probes of our pods")]
    TooManySeries,
}

impl PageError {
    /// A word for metrics and events.
    pub const fn kind(self) -> &'static str {
        match self {
            PageError::TooLarge { .. } => "page_too_large",
            PageError::Cut { .. } => "page_cut",
            PageError::LineTooLong => "page_line_too_long",
            PageError::TooManySeries => "page_too_many_series",
        }
    }
}

/// What is kept of a page of one kind, as its lines come.
pub trait Reading: Default {
    /// What it becomes.
    type Page;

    /// Takes a line, without its end. `lookup` is that of [`Parser::new`].
    fn line(&mut self, lookup: &mut impl FnMut(&str, &str) -> Option<Uid>, line: &[u8]);

    /// Whether there are more series of our pods than a node can have.
    fn full(&self) -> bool;

    /// The page is over.
    fn finish(self) -> Self::Page;
}

/// A page in the reading, of which `R` is kept.
///
/// Holds at most one unfinished line and the series of our pods, whatever the page's length.
#[derive(Debug)]
pub struct Parser<L, R> {
    lookup: L,
    pub(super) lines: Lines,
    reading: R,
}

impl<L: FnMut(&str, &str) -> Option<Uid>, R: Reading> Parser<L, R> {
    /// Begins a page of at most `limit` bytes. `lookup` tells the uid of the pod of this namespace and name **on the node
    /// whose page it is**, or `None` for a pod that is none of ours: so a node is believed only about its own pods.
    pub fn new(lookup: L, limit: usize) -> Self {
        Parser { lookup, lines: Lines::new(limit), reading: R::default() }
    }

    /// Reads the next bytes of the page, in pieces of any length.
    ///
    /// # Errors
    /// The page is refused: nothing more needs to be fed.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), PageError> {
        let Parser { lookup, lines, reading } = self;
        lines.feed(chunk, |line| reading.line(lookup, line))?;
        if reading.full() { Err(PageError::TooManySeries) } else { Ok(()) }
    }

    /// Ends the page.
    ///
    /// # Errors
    /// [`PageError::Cut`] if its last line has no end.
    pub fn finish(self) -> Result<R::Page, PageError> {
        self.lines.finish()?;
        Ok(self.reading.finish())
    }
}

/// Reads a whole page that is in memory already.
///
/// # Errors
/// As [`Parser::feed`] and [`Parser::finish`].
pub(super) fn read<R: Reading>(
    page: &[u8],
    lookup: impl FnMut(&str, &str) -> Option<Uid>,
) -> Result<R::Page, PageError> {
    let mut parser = Parser::<_, R>::new(lookup, PAGE_LIMIT);
    parser.feed(page)?;
    parser.finish()
}

/// The lines of a page that comes in pieces of any length. Holds at most one unfinished line.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    bytes: usize,
    carry: Vec<u8>,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Lines { limit, bytes: 0, carry: Vec::new() }
    }

    /// The lines that end in the next bytes.
    pub(super) fn feed(&mut self, mut chunk: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), PageError> {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > self.limit {
            return Err(PageError::TooLarge { limit: self.limit });
        }
        if !self.carry.is_empty() {
            let end = memchr(b'\n', chunk);
            let piece = &chunk[..end.unwrap_or(chunk.len())];
            if self.carry.len() + piece.len() > LINE_LIMIT {
                return Err(PageError::LineTooLong);
            }
            self.carry.extend_from_slice(piece);
            let Some(end) = end else { return Ok(()) };
            each(&self.carry);
            self.carry.clear();
            chunk = &chunk[end + 1..];
        }
        while let Some(end) = memchr(b'\n', chunk) {
            each(&chunk[..end]);
            chunk = &chunk[end + 1..];
        }
        if chunk.len() > LINE_LIMIT {
            return Err(PageError::LineTooLong);
        }
        self.carry.extend_from_slice(chunk);
        Ok(())
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.carry.capacity()
    }

    /// The page ends here: it must end as a page ends.
    pub(super) fn finish(&self) -> Result<(), PageError> {
        if self.carry.is_empty() { Ok(()) } else { Err(PageError::Cut { bytes: self.bytes }) }
    }
}

/// The labels of one line, as they stand in it. A value with an escape in it is kept as it is written: no name of
/// Kubernetes holds a character that needs one, so such a value is never equal to one of ours.
#[derive(Default)]
pub(super) struct Labels<'a> {
    pub(super) namespace: Option<&'a [u8]>,
    pub(super) pod: Option<&'a [u8]>,
    pub(super) pod_uid: Option<&'a [u8]>,
    pub(super) container: Option<&'a [u8]>,
    pub(super) probe_type: Option<&'a [u8]>,
    pub(super) result: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) le: Option<&'a [u8]>,
    /// The name of the last label, and where its value begins.
    pub(super) last: (&'a [u8], usize),
}

/// Reads `name="value",…} value` from `at`, as the text format allows it: blanks between the parts, a comma after the
/// last label, escapes in values. Gives what follows the brace.
pub(super) fn labels(line: &[u8], mut at: usize) -> Option<(Labels<'_>, &[u8])> {
    let mut labels = Labels::default();
    loop {
        at = past_blanks(line, at);
        if line.get(at) == Some(&b'}') {
            return Some((labels, &line[at + 1..]));
        }
        let equals = at + memchr(b'=', &line[at..])?;
        let name = line[at..equals].trim_ascii();
        at = past_blanks(line, equals + 1);
        if line.get(at) != Some(&b'"') {
            return None;
        }
        let begin = at + 1;
        let end = end_of_value(line, begin)?;
        let value = &line[begin..end];
        labels.last = (name, begin);
        match name {
            b"namespace" => labels.namespace = Some(value),
            b"pod" => labels.pod = Some(value),
            b"pod_uid" => labels.pod_uid = Some(value),
            b"container" => labels.container = Some(value),
            b"probe_type" => labels.probe_type = Some(value),
            b"result" => labels.result = Some(value),
            b"id" => labels.id = Some(value),
            b"le" => labels.le = Some(value),
            _ => {}
        }
        at = past_blanks(line, end + 1);
        match line.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => {}
            _ => return None,
        }
    }
}

fn past_blanks(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The place of the quote that ends the value which begins at `at`.
fn end_of_value(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            return Some(at);
        }
        at += 2; // A backslash takes the next byte with it, whatever that is.
    }
}

/// A sample's value as a count; a timestamp may follow it. `None` for what is no count: negative, not finite, beyond
/// the integers that a float holds exactly.
pub(super) fn count(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let value = memchr2(b' ', b'\t', value).map_or(value, |blank| &value[..blank]);
    if !value.is_empty() && value.len() <= 15 && value.iter().all(u8::is_ascii_digit) {
        return Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    }
    let value = float(value)?;
    (0.0..9_007_199_254_740_992.0).contains(&value).then(|| value.round() as u64)
}

pub(super) fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
