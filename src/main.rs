//! Parse, run, print, exit; nothing else.
fn main() {}
