//! Bytes to rows, all mistakes at once.

use super::{Columns, Load, Row, Trace};
use crate::probe::Answer;
use crate::units::Span;
use std::fmt;

/// The longest line that is read, in bytes: fifty times one with every column that we write.
pub const LONGEST_LINE: usize = 4096;

/// The most rows of a trace: two days at ten a second, some 150 MB in memory.
pub const MOST_ROWS: usize = 2_000_000;

/// The most mistakes that are told one by one; the rest is counted.
pub const MOST_MISTAKES: usize = 20;

/// The largest number of seconds in `t_s` and of milliseconds in `latency_ms`, so that nanoseconds fit: ten years, and
/// a day.
const LARGEST: (f64, f64) = (315_360_000.0, 86_400_000.0);

const REQUIRED: [&str; 3] = ["t_s", "latency_ms", "ok"];
const OPTIONAL: [&str; 3] = ["node_cpu", "pod_cores", "throttled"];

/// One thing that is wrong in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1 with every line of the file; for a file without rows the last.
    pub line: usize,
    /// The column's name; empty where the line as a whole is meant.
    pub column: &'static str,
    /// The value found, cut to 60 characters.
    pub found: String,
    /// The value wanted, in words.
    pub wanted: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if !self.column.is_empty() {
            write!(f, "{}: ", self.column)?;
        }
        if self.column.is_empty() && self.found.is_empty() {
            return write!(f, "found nothing, wanted {}", self.wanted);
        }
        write!(f, "found {:?}, wanted {}", self.found, self.wanted)
    }
}

/// All that is wrong in a trace, in order of lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} mistakes, the first in line {}", .told.len() + .more, .told.first().map_or(0, |m| m.line))]
pub struct Mistakes {
    /// The first [`MOST_MISTAKES`].
    pub told: Vec<Mistake>,
    /// How many more there are.
    pub more: usize,
}

impl Mistakes {
    fn add(&mut self, line: usize, column: &'static str, found: &[u8], wanted: impl Into<String>) {
        if self.told.len() == MOST_MISTAKES {
            self.more += 1;
            return;
        }
        let text = String::from_utf8_lossy(found);
        let mut found: String = text.chars().take(60).collect();
        if found.len() < text.len() {
            found.push('…');
        }
        self.told.push(Mistake { line, column, found, wanted: wanted.into() });
    }
}

/// Reads a trace, format version 1. A byte order mark and CRLF line ends are allowed, cells may be quoted, blank lines
/// and lines that begin with `#` are passed over.
///
/// # Errors
/// Everything that is wrong: columns that are missing or double, rows with another number of cells than the header,
/// numbers that are negative, not finite or none, `ok` other than 1 and 0, `ok` 1 without a latency, a `t_s` before
/// that of the row above, a line beyond [`LONGEST_LINE`], more than [`MOST_ROWS`] rows, no row at all.
pub fn read(bytes: &[u8]) -> Result<Trace, Mistakes> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut mistakes = Mistakes { told: Vec::new(), more: 0 };
    let (mut header, mut rows, mut lines) = (None::<Header>, Vec::<Row>::new(), 0);
    let mut rows_met = 0usize;
    // The moment of the last row that has one, whatever else is wrong with it.
    let mut before = None;
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let number = i + 1;
        if line.starts_with(b"#") || line.trim_ascii().is_empty() {
            continue;
        }
        lines = number;
        if line.len() > LONGEST_LINE {
            mistakes.add(number, "", line, format!("at most {LONGEST_LINE} bytes in a line"));
            rows_met += 1;
            continue;
        }
        let Some(header) = &header else {
            let found = Header::read(number, line, &mut mistakes);
            // Without its columns no row can be read; to complain of each would hide why.
            if !found.complete() {
                return Err(mistakes);
            }
            header = Some(found);
            continue;
        };
        rows_met += 1;
        if rows_met > MOST_ROWS {
            mistakes.add(number, "", line, format!("at most {MOST_ROWS} rows"));
            break;
        }
        rows.extend(header.row(number, line, &mut before, &mut mistakes));
    }
    if header.is_none() {
        mistakes.add(lines.max(1), "", b"", HEADER);
    } else if rows_met == 0 {
        mistakes.add(lines, "", b"", "at least one row after the header");
    }
    let columns = header.map(|h| h.columns()).unwrap_or_default();
    if !mistakes.told.is_empty() {
        return Err(mistakes);
    }
    Trace::new(rows, columns).ok_or(mistakes)
}

/// What a file begins with.
const HEADER: &str = "a header line with the columns t_s, latency_ms and ok";

/// Where each column stands.
struct Header {
    required: [Option<usize>; 3],
    optional: [Option<usize>; 3],
    cells: usize,
}

impl Header {
    fn read(number: usize, line: &[u8], mistakes: &mut Mistakes) -> Self {
        let mut header = Header { required: [None; 3], optional: [None; 3], cells: 0 };
        for cell in cells(line) {
            let name = cell.as_slice();
            let places = REQUIRED.iter().zip(&mut header.required).chain(OPTIONAL.iter().zip(&mut header.optional));
            for (column, place) in places.filter(|(c, _)| c.as_bytes() == name) {
                match place {
                    Some(_) => mistakes.add(number, column, name, "each column once"),
                    None => *place = Some(header.cells),
                }
            }
            header.cells += 1;
        }
        if header.required == [None; 3] {
            // No header of ours at all: to complain of each column would repeat it.
            mistakes.add(number, "", line, HEADER);
            return header;
        }
        for (column, place) in REQUIRED.into_iter().zip(header.required) {
            if place.is_none() {
                mistakes.add(number, column, line, format!("a column {column}"));
            }
        }
        header
    }

    fn complete(&self) -> bool {
        self.required.iter().all(Option::is_some)
    }

    fn columns(&self) -> Columns {
        let [node_cpu, pod_cores, throttled] = self.optional.map(|c| c.is_some());
        Columns { node_cpu, pod_cores, throttled }
    }

    /// One row, or its mistakes.
    fn row(&self, number: usize, line: &[u8], before: &mut Option<Span>, mistakes: &mut Mistakes) -> Option<Row> {
        let cells: Vec<Vec<u8>> = cells(line).collect();
        if cells.len() != self.cells {
            mistakes.add(number, "", line, format!("{} values, as the header has, not {}", self.cells, cells.len()));
            return None;
        }
        let cell = |place: Option<usize>| place.and_then(|i| cells.get(i)).map_or(&b""[..], Vec::as_slice);
        let [t_s, latency, ok] = self.required.map(cell);
        let met = mistakes.told.len() + mistakes.more;

        let at = number_in(t_s, LARGEST.0).map(Span::round_from_secs_f64);
        match (at, *before) {
            (None, _) => mistakes.add(number, "t_s", t_s, "seconds from the start, a number from 0 to 315360000"),
            (Some(at), Some(before)) if at < before => {
                let wanted = format!("at least {}, the row before: t_s never falls", before.as_secs_f64());
                mistakes.add(number, "t_s", t_s, wanted);
            }
            _ => {}
        }
        *before = (*before).max(at);
        let millis = if latency.is_empty() { Some(None) } else { number_in(latency, LARGEST.1).map(Some) };
        if millis.is_none() {
            mistakes.add(number, "latency_ms", latency, "milliseconds, a number from 0 to 86400000, or nothing");
        }
        let healthy = match ok {
            b"1" => Some(true),
            b"0" => Some(false),
            _ => {
                mistakes.add(number, "ok", ok, "1 or 0");
                None
            }
        };
        let answer = match (millis, healthy) {
            (Some(None), Some(true)) => {
                mistakes.add(number, "latency_ms", latency, "a latency where ok is 1: no answer is not healthy");
                None
            }
            (Some(None), Some(false)) => Some(Answer::Never),
            (Some(Some(ms)), Some(true)) => Some(Answer::Healthy(Span::round_from_secs_f64(ms / 1e3))),
            (Some(Some(ms)), Some(false)) => Some(Answer::Unhealthy(Span::round_from_secs_f64(ms / 1e3))),
            _ => None,
        };
        let mut load = [None; 3];
        for ((value, place), column) in load.iter_mut().zip(self.optional).zip(OPTIONAL) {
            let text = cell(place);
            *value = number_in(text, f64::MAX);
            if value.is_none() && !text.is_empty() {
                mistakes.add(number, column, text, "a number of at least 0, or nothing");
            }
        }
        if mistakes.told.len() + mistakes.more > met {
            return None;
        }
        let [node_cpu, pod_cores, throttled] = load;
        Some(Row { at: at?, answer: answer?, load: Load { node_cpu, pod_cores, throttled } })
    }
}

/// A number from 0 to `largest`. Minus zero is zero.
fn number_in(cell: &[u8], largest: f64) -> Option<f64> {
    let number: f64 = std::str::from_utf8(cell).ok()?.parse().ok()?;
    (number.is_finite() && (0.0..=largest).contains(&number)).then_some(number.abs())
}

/// The cells of a line, without the blanks around them. A cell in quotes may hold commas, and quotes as two.
fn cells(line: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?.trim_ascii_start();
        let Some(mut quoted) = text.strip_prefix(b"\"") else {
            let end = text.iter().position(|b| *b == b',');
            rest = end.map(|end| &text[end + 1..]);
            return Some(text[..end.unwrap_or(text.len())].trim_ascii_end().to_vec());
        };
        let mut cell = Vec::new();
        while let Some(quote) = quoted.iter().position(|b| *b == b'"') {
            cell.extend_from_slice(&quoted[..quote]);
            quoted = &quoted[quote + 1..];
            let Some(after) = quoted.strip_prefix(b"\"") else {
                let end = quoted.iter().position(|b| *b == b',');
                cell.extend_from_slice(quoted[..end.unwrap_or(quoted.len())].trim_ascii());
                rest = end.map(|end| &quoted[end + 1..]);
                return Some(cell);
            };
            cell.push(b'"');
            quoted = after;
        }
        // No closing quote: the rest of the line.
        cell.extend_from_slice(quoted.trim_ascii_end());
        rest = None;
        Some(cell)
    })
}
