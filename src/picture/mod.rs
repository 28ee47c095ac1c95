//! Pictures: data in, one SVG file out.
//!
//! **Takes** what a room has to show: an [`crate::decide::Explanation`], replays of traces, a day hour by hour. **Gives**
//! SVG text that needs nothing else: no script, no font, no other file; it is as wide as its place, follows the reader's
//! light or dark, and says in words (`title`, `desc`) what it shows. **Never** computes a figure that the data do not
//! hold, grows with the length of a trace (columns of pixels keep their least and most), or lets a text of others be
//! anything but text: the `svg` crate escapes it, and control characters are gone before.
//!
//! Read `canvas` first, then any picture.

mod axis;
mod canvas;
mod explanation;
mod hours;
mod replay;
mod starts;
mod strip;

pub use explanation::explanation;
pub use hours::{Bars, hours};
pub use replay::{OnTrace, replay};
