//! What one workload's decisions were made of, in the forms in which people can use it: words and tables to read, JSON
//! for programs, and a picture.
//!
//! Names in a cluster are checked by Kubernetes, messages are not: control characters are shown as spaces wherever a
//! terminal reads them.

mod aside;
mod json;
mod tables;
mod words;

use super::console::Paint;
use crate::decide::Explanation;
use crate::engine::View;
use crate::picture;
use clap::ValueEnum;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Words first, then tables
    Text,
    /// One document, with its version
    Json,
    /// One picture
    Svg,
}

/// A workload whose decisions are explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The cluster's context, where several were asked.
    pub context: Option<String>,
    /// The workload as it is shown.
    pub view: View,
    /// One a probe.
    pub explanations: Vec<Explanation>,
}

/// Renders explained workloads; always ends with a line feed. `colour` is for text on a terminal.
pub fn render(all: &[Explained], form: Form, colour: bool) -> String {
    match form {
        Form::Text => text(all, colour),
        Form::Json => json::document(all),
        Form::Svg => {
            let every: Vec<Explanation> = all.iter().flat_map(|e| e.explanations.iter().cloned()).collect();
            picture::explanation(&every)
        }
    }
}

fn text(all: &[Explained], colour: bool) -> String {
    let paint = Paint(colour);
    let mut out = String::new();
    for explained in all {
        for e in &explained.explanations {
            if !out.is_empty() {
                out.push('\n');
            }
            words::say(&mut out, explained, e, paint);
            tables::draw(&mut out, e, paint);
        }
    }
    if out.is_empty() { "no probe of this workload is judged: its owner has chosen none\n".into() } else { out }
}

/// Text that a terminal cannot take for a command.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One line to a text that is put together.
fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}
