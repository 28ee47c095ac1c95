//! `demo`: the whole loop in seconds, without a cluster.

mod picture;

use super::console::Paint;
use super::{Console, Exit, Failure};
use crate::run::demo::{self, Day, Kind, Line, Summary};
use std::io::Write;

/// A simulated day of a small cluster, told as it happens: no cluster needed, nothing outside is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
probe-tuner demo             the day that the README shows\n  \
probe-tuner demo --seed 2    another day\n  \
probe-tuner demo --plain     without colours\n  \
probe-tuner demo -o svg > day.svg")]
pub struct Args {
    /// What happens is drawn from this number: the same number, the same day, byte for byte
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// No colours
    #[arg(long)]
    plain: bool,
    /// How to tell it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// How to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Line by line.
    Text,
    /// One picture: false restarts by hour, untouched and with probe-tuner.
    Svg,
}

/// Plays and tells.
///
/// # Errors
/// Those of standard output.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    if args.output == Format::Svg {
        let summary = demo::play(args.seed, &mut |_| {});
        write!(console.out, "{}", picture::draw(&summary))?;
        return Ok(Exit::Done);
    }
    let paint = Paint(console.colour && !args.plain);
    opening(args.seed, paint, console.out)?;
    console.out.flush()?;
    let mut told = Ok(());
    let summary = demo::play(args.seed, &mut |line| {
        if told.is_ok() {
            told = tell(line, paint, console.out).and_then(|()| console.out.flush());
        }
    });
    told?;
    closing(args.seed, &summary, paint, console.out)?;
    Ok(Exit::Done)
}

fn opening(seed: u64, paint: Paint, out: &mut dyn Write) -> std::io::Result<()> {
    let s = demo::scale();
    writeln!(
        out,
        "{}\n{} workloads, {} pods, {} nodes, a Monday from midnight to midnight, told in a few seconds;\n\
         nothing outside this process is touched. Fifteen workloads answer as recordings of real servers\n\
         did, the others as models of their kind. So that a day has enough of them, containers truly hang\n\
         or crash ten times as often as they usually do.\n\n\
         The day is played twice on the same events (seed {seed}): once with the numbers as the owners wrote\n\
         them (\"untouched\"), and once, told here, with probe-tuner in mode auto. 10/1/3 means: a check\n\
         every 10 s, 1 s for its answer, and a restart after 3 failures in a row. Words in capitals are\n\
         reasons; docs/reference/reasons.md explains them.\n\n  \
         ✗ a healthy container is killed (told once a workload)   → numbers change, with a rollout\n  \
         ↗ numbers change on the owner's rollout   ✓ a rollout is done   · left alone, and why\n",
        paint.bold("probe-tuner demo: one day of a simulated cluster"),
        s.workloads,
        s.pods,
        s.nodes,
    )
}

fn tell(line: &Line, paint: Paint, out: &mut dyn Write) -> std::io::Result<()> {
    let seconds = line.at.floor_seconds();
    let clock = format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    let (mark, colour) = match line.kind {
        Kind::Killed => ("✗", "31"),
        Kind::Changed => ("→", "1;32"),
        Kind::Settled => ("✓", "32"),
        Kind::Rode => ("↗", "36"),
        Kind::Left => ("·", "33"),
        Kind::Hour => ("", "2"),
    };
    if line.kind == Kind::Hour {
        return writeln!(out, "{}", paint.dim(&format!("{clock}  ──── {}", line.text)));
    }
    // The first line says it; what is longer goes on below.
    let mut parts = wrap(&line.text, 69).into_iter();
    let first = parts.next().unwrap_or_default();
    writeln!(
        out,
        "{}  {:<20} {} {}",
        paint.dim(&clock),
        line.who,
        paint.with(colour, mark),
        paint.with(colour, &first)
    )?;
    for more in parts {
        writeln!(out, "{:30}{}", "", paint.with(colour, &more))?;
    }
    Ok(())
}

/// Breaks a text into lines of at most `width` characters, between words.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |l| l.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn closing(seed: u64, s: &Summary, paint: Paint, out: &mut dyn Write) -> std::io::Result<()> {
    let (a, b) = (&s.before, &s.after);
    let sum = |hours: &[usize]| hours.iter().sum::<usize>();
    writeln!(out, "\n{}", paint.bold(&format!("{:<60} {:>18} {:>18}", "The day", "untouched", "with probe-tuner")))?;
    let mut row = |what: &str, a: String, b: String| writeln!(out, "{what:<60} {a:>18} {b:>18}");
    row("false restarts (healthy containers killed)", both(a).to_string(), both(b).to_string())?;
    row("  in workloads that may be changed", sum(&a.free).to_string(), sum(&b.free).to_string())?;
    row("    of these in the last twelve hours", sum(&a.free[12..]).to_string(), sum(&b.free[12..]).to_string())?;
    row("  in workloads whose owners or state forbid it", sum(&a.bound).to_string(), sum(&b.bound).to_string())?;
    row("workloads with a false restart", a.stricken.to_string(), b.stricken.to_string())?;
    row("true hangs found: how many, mean time, slowest", times(&a.hangs), times(&b.hangs))?;
    row("true crashes found: how many, mean time, slowest", times(&a.crashes), times(&b.crashes))?;
    row("probe-tuner's rollouts (pods replaced by them)", rollouts(a), rollouts(b))?;
    row("owners' rollouts", a.owners_rollouts.to_string(), b.owners_rollouts.to_string())?;
    row("  of these, took new numbers along", "0".into(), s.rode.to_string())?;
    row("time lost where numbers may be changed, seconds a pod-year", thousands(a.loss), thousands(b.loss))?;
    if !s.left.is_empty() {
        writeln!(out, "\n{}", paint.bold("Left alone, and why"))?;
        for left in &s.left {
            let mut words = wrap(&left.words, 60).into_iter();
            let first = words.next().unwrap_or_default();
            writeln!(out, "  {:<20} {:<16} {first}", left.who, paint.with("33", &format!("{:<16}", left.code)))?;
            for more in words {
                writeln!(out, "  {:<20} {:<16} {more}", "", "")?;
            }
        }
    }
    writeln!(
        out,
        "\nThe engine, the same that the daemon runs, was told {} facts about {} checks.\n\n\
         Next:\n  \
         probe-tuner demo --seed {:<19} another day\n  \
         probe-tuner sim --families gc,noisy         weeks of it, against fixed numbers\n  \
         probe-tuner recommend -A                    your own cluster; writes nothing",
        thousands(s.facts as f64),
        thousands(s.checks as f64),
        seed.wrapping_add(1),
    )
}

fn both(day: &Day) -> usize {
    day.free.iter().chain(&day.bound).sum()
}

fn rollouts(day: &Day) -> String {
    format!("{} ({})", day.own_rollouts.0, day.own_rollouts.1)
}

fn times(seconds: &[f64]) -> String {
    let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
    match seconds.last() {
        Some(slowest) => format!("{}, {mean:.0} s, {slowest:.0} s", seconds.len()),
        None => "none".into(),
    }
}

/// A whole number with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    #[test]
    fn long_lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn large_numbers_have_commas() {
        for (number, text) in [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.4, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_line_without_colours_has_no_escapes() {
        let line = Line { at: Span::HOUR * 9, kind: Kind::Killed, who: "shop/cart".into(), text: "killed".into() };
        let mut text = Vec::new();
        assert!(tell(&line, Paint(false), &mut text).is_ok());
        assert_eq!(String::from_utf8_lossy(&text), "09:00  shop/cart            ✗ killed\n");
    }
}
