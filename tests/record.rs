//! What a broken trace gets, and that a written one is read back.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::probe::Answer;
use probe_tuner::record::{Columns, LONGEST_LINE, Load, MOST_MISTAKES, Row, Trace, read, write};
use probe_tuner::units::Span;
use proptest::prelude::*;

/// The mistakes of a text, as lines.
#[track_caller]
fn wrong(text: &[u8]) -> Vec<String> {
    read(text).unwrap_err().told.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(text: &str, mistakes: &[&str]) {
    assert_eq!(wrong(text.as_bytes()), mistakes);
}

#[test]
fn columns_stand_in_any_order_and_others_are_ignored() {
    let trace = read(b"name,ok,node_cpu,t_s,latency_ms\n\"a, \"\"b\"\"\",1,0.5,0,3.5\nc,0,,0.1,\n").unwrap();
    let load = Load { node_cpu: Some(0.5), ..Load::default() };
    assert_eq!(
        trace.rows(),
        [
            Row { at: Span::ZERO, answer: Answer::Healthy(Span::from_nanos(3_500_000)), load },
            Row { at: Span::from_millis(100), answer: Answer::Never, load: Load::default() },
        ]
    );
    assert_eq!(trace.columns(), Columns { node_cpu: true, ..Columns::default() });
}

#[test]
fn a_byte_order_mark_crlf_comments_and_blank_lines_are_read_over() {
    let plain = read(b"t_s,latency_ms,ok\n0,1,1\n1,2,0\n").unwrap();
    let dressed = b"\xef\xbb\xbf# recorded\r\nt_s,latency_ms,ok\r\n0,1,1\r\n\r\n# a pause\r\n1, 2 ,0\r\n";
    assert_eq!(read(dressed).unwrap(), plain);
}

#[test]
fn a_line_is_counted_with_every_line_of_the_file() {
    check("# one\n\nt_s,latency_ms,ok\n0,1,1\n# five\n1,1,2\n", &[r#"6: ok: found "2", wanted 1 or 0"#]);
}

#[test]
fn a_negative_number_is_refused() {
    check(
        "t_s,latency_ms,ok,node_cpu,pod_cores,throttled\n-1,-2,1,-3,-4,-5\n",
        &[
            r#"2: t_s: found "-1", wanted seconds from the start, a number from 0 to 315360000"#,
            r#"2: latency_ms: found "-2", wanted milliseconds, a number from 0 to 86400000, or nothing"#,
            r#"2: node_cpu: found "-3", wanted a number of at least 0, or nothing"#,
            r#"2: pod_cores: found "-4", wanted a number of at least 0, or nothing"#,
            r#"2: throttled: found "-5", wanted a number of at least 0, or nothing"#,
        ],
    );
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    for text in ["nan", "NaN", "inf", "-inf", "infinity", "1e999"] {
        assert_eq!(wrong(format!("t_s,latency_ms,ok,node_cpu\n{text},1,1,\n").as_bytes()).len(), 1, "{text}");
        assert_eq!(wrong(format!("t_s,latency_ms,ok,node_cpu\n0,{text},1,\n").as_bytes()).len(), 1, "{text}");
        assert_eq!(wrong(format!("t_s,latency_ms,ok,node_cpu\n0,1,1,{text}\n").as_bytes()).len(), 1, "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "x", "0x1", "1,5", "1 2", "1s", "\u{e4}"] {
        let mistakes = wrong(format!("t_s,latency_ms,ok\n\"{text}\",1,1\n").as_bytes());
        assert!(mistakes[0].starts_with("2: t_s: found "), "{mistakes:?}");
    }
    assert_eq!(wrong(b"t_s,latency_ms,ok\n\xff\xfe,1,1\n").len(), 1);
}

#[test]
fn ok_without_a_latency_is_refused() {
    check(
        "t_s,latency_ms,ok\n0,,1\n",
        &[r#"2: latency_ms: found "", wanted a latency where ok is 1: no answer is not healthy"#],
    );
}

#[test]
fn ok_is_one_or_zero() {
    for text in ["", "2", "true", "yes", "1.0", "-1"] {
        assert_eq!(
            wrong(format!("t_s,latency_ms,ok\n0,1,{text}\n").as_bytes()),
            [format!("2: ok: found {text:?}, wanted 1 or 0")]
        );
    }
}

#[test]
fn a_moment_before_that_of_the_row_above_is_refused() {
    check(
        "t_s,latency_ms,ok\n5,1,1\n5,1,1\n4.5,1,1\n",
        &[r#"4: t_s: found "4.5", wanted at least 5, the row before: t_s never falls"#],
    );
}

#[test]
fn a_moment_that_falls_is_told_even_after_a_row_that_is_wrong_otherwise() {
    check(
        "t_s,latency_ms,ok\n0,1,1\n10,x,1\n5,1,1\n",
        &[
            r#"3: latency_ms: found "x", wanted milliseconds, a number from 0 to 86400000, or nothing"#,
            r#"4: t_s: found "5", wanted at least 10, the row before: t_s never falls"#,
        ],
    );
}

#[test]
fn a_trace_without_rows_is_refused() {
    check("t_s,latency_ms,ok\n# nothing\n", &[r#"1: found nothing, wanted at least one row after the header"#]);
}

#[test]
fn a_file_without_a_header_is_refused() {
    for text in ["", "\n\n", "# only this\n"] {
        check(text, &[r#"1: found nothing, wanted a header line with the columns t_s, latency_ms and ok"#]);
    }
    check("0,1,1\n1,1,1\n", &[r#"1: found "0,1,1", wanted a header line with the columns t_s, latency_ms and ok"#]);
}

#[test]
fn a_missing_column_is_named() {
    check("t_s,ok\n0,1\n", &[r#"1: latency_ms: found "t_s,ok", wanted a column latency_ms"#]);
}

#[test]
fn a_column_that_comes_twice_is_refused() {
    check("t_s,latency_ms,ok,ok\n0,1,1,0\n", &[r#"1: ok: found "ok", wanted each column once"#]);
}

#[test]
fn a_row_that_was_cut_off_is_refused() {
    check(
        "t_s,latency_ms,ok,node_cpu\n0,1,1,0.5\n0.1,12\n",
        &[r#"3: found "0.1,12", wanted 4 values, as the header has, not 2"#],
    );
}

#[test]
fn a_line_that_does_not_end_is_refused() {
    let text = format!("t_s,latency_ms,ok\n0,1,{}\n1,1,1\n", "1".repeat(LONGEST_LINE));
    let mistakes = wrong(text.as_bytes());
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].ends_with("wanted at most 4096 bytes in a line"), "{mistakes:?}");
}

#[test]
fn all_mistakes_come_at_once_and_those_beyond_twenty_are_counted() {
    let rows = "0,1,7\n".repeat(50);
    let mistakes = read(format!("t_s,latency_ms,ok\n{rows}").as_bytes()).unwrap_err();
    assert_eq!((mistakes.told.len(), mistakes.more), (MOST_MISTAKES, 30));
    assert_eq!(mistakes.told[19].line, 21);
    assert_eq!(mistakes.to_string(), "50 mistakes, the first in line 2");
}

#[test]
fn the_step_of_a_trace_is_the_median() {
    let step = |text: &str| read(format!("t_s,latency_ms,ok\n{text}").as_bytes()).unwrap().median_step();
    assert_eq!(step("0,1,1\n"), Span::ZERO);
    assert_eq!(step("0,1,1\n1,1,1\n2,1,1\n9,1,1\n"), Span::SECOND);
    assert_eq!(step("0,1,1\n1,1,1\n3,1,1\n"), Span::from_millis(1500));
}

fn any_trace() -> impl Strategy<Value = Trace> {
    let share = || proptest::option::of(0.0..4.0f64);
    let answer = prop_oneof![
        (0..40_000_000_000i64).prop_map(|ns| Answer::Healthy(Span::from_nanos(ns))),
        (0..40_000_000_000i64).prop_map(|ns| Answer::Unhealthy(Span::from_nanos(ns))),
        Just(Answer::Never),
    ];
    let row = (0..3_000_000_000i64, answer, share(), share(), share());
    (proptest::collection::vec(row, 1..50), any::<[bool; 3]>()).prop_map(|(rows, [cpu, cores, throttled])| {
        let mut at = Span::ZERO;
        let rows = rows.into_iter().map(|(step, answer, a, b, c)| {
            at += Span::from_nanos(step);
            let load = Load {
                node_cpu: a.filter(|_| cpu),
                pod_cores: b.filter(|_| cores),
                throttled: c.filter(|_| throttled),
            };
            Row { at, answer, load }
        });
        Trace::new(rows.collect(), Columns { node_cpu: cpu, pod_cores: cores, throttled }).unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(trace in any_trace()) {
        prop_assert_eq!(read(write(&trace).as_bytes()).unwrap(), trace);
    }

    #[test]
    fn any_cells_are_read_or_refused(text in "(t_s,latency_ms,ok(,x)?\n)?([-0-9.e,\"# \r]{0,12}\n){0,8}") {
        if let Err(mistakes) = read(text.as_bytes()) {
            prop_assert!(!mistakes.told.is_empty());
        }
    }
}
