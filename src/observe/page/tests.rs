//! The parser, line by line, and against hostile bytes.
#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::exposition::LINE_LIMIT;
use super::*;
use proptest::prelude::*;

const UID: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";

fn ours(namespace: &str, pod: &str) -> Option<Uid> {
    (namespace == "shop" && pod == "web-1").then(|| Uid::parse(UID).unwrap())
}

fn page(extra: &str) -> String {
    let labels = r#"container="app",namespace="shop",pod="web-1",probe_type="Liveness""#;
    let mut text = String::from("# HELP prober_probe_duration_seconds x\n");
    for edge in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
        text += &format!("prober_probe_duration_seconds_bucket{{{labels},le=\"{edge}\"}} 7\n");
    }
    text += &format!("prober_probe_duration_seconds_sum{{{labels}}} 0.5\n");
    text += &format!("prober_probe_duration_seconds_count{{{labels}}} 7\n");
    text += extra;
    text
}

fn total(uid: &str, result: &str, value: &str) -> String {
    format!(
        "prober_probe_total{{container=\"app\",namespace=\"shop\",pod=\"web-1\",pod_uid=\"{uid}\",probe_type=\"Liveness\",result=\"{result}\"}} {value}\n"
    )
}

#[test]
fn a_series_and_its_counter_are_joined_without_the_uid_that_one_of_them_lacks() {
    let read = read(page(&(total(UID, "failed", "3") + &total(UID, "successful", "7"))).as_bytes(), ours).unwrap();
    assert_eq!(read.samples.len(), 1);
    let counters = Counters { successful: 7, failed: 3, buckets: [7; 11], count: 7 };
    assert_eq!(read.samples[0].counters, counters);
    assert_eq!(read.skipped, Skipped::default());
}

#[test]
fn counts_written_with_an_exponent_are_counts_and_what_is_no_number_is_not() {
    for (text, wanted) in [
        ("1e+06", Some(1_000_000)),
        ("1.234567e+06", Some(1_234_567)),
        ("12 1700000000000", Some(12)),
        ("0", Some(0)),
        ("+Inf", None),
        ("NaN", None),
        ("-1", None),
        ("1e300", None),
        ("", None),
        ("x", None),
    ] {
        assert_eq!(count(text.as_bytes()), wanted, "{text}");
    }
}

#[test]
fn a_probe_whose_counter_is_no_number_is_left_out_and_counted() {
    let text = page(&(total(UID, "failed", "NaN") + &total(UID, "successful", "7")));
    let read = read(text.as_bytes(), ours).unwrap();
    assert_eq!((read.samples.len(), read.skipped.malformed, read.skipped.incomplete), (0, 1, 1));
}

#[test]
fn a_pod_of_our_name_and_another_uid_is_a_stranger() {
    let text = page("") + &total("00000000-0000-4000-8000-000000000001", "successful", "7");
    let read = read(text.as_bytes(), ours).unwrap();
    assert_eq!((read.samples.len(), read.skipped.strangers, read.skipped.incomplete), (0, 1, 1));
}

#[test]
fn a_page_cut_within_a_line_is_refused() {
    let text = page(&total(UID, "successful", "7"));
    let cut = &text.as_bytes()[..text.len() - 2];
    assert_eq!(read(cut, ours), Err(PageError::Cut { bytes: cut.len() }));
}

#[test]
fn edges_that_the_kubelet_does_not_have_are_ignored_and_counted() {
    let odd = r#"prober_probe_duration_seconds_bucket{container="app",namespace="shop",pod="web-1",probe_type="Liveness",le="0.75"} 7"#;
    let text = page(&format!("{odd}\n{}", total(UID, "successful", "7")));
    let read = read(text.as_bytes(), ours).unwrap();
    assert_eq!((read.samples.len(), read.skipped.odd_edges), (1, 1));
}

#[test]
fn labels_may_stand_in_any_order_with_blanks_and_escapes() {
    let text = format!(
        "prober_probe_total {{ result = \"failed\", note=\"a \\\"}} 9\\\\\", pod_uid=\"{UID}\", pod=\"web-1\", probe_type=\"Startup\", namespace=\"shop\", container=\"app\", }} 4 1700000000000\n"
    );
    let read = read(text.as_bytes(), ours).unwrap();
    assert_eq!(read.samples[0].counters.failed, 4);
    assert_eq!(read.samples[0].probe.kind, ProbeKind::Startup);
    let escaped = text.replace("pod=\"web-1\"", "pod=\"web\\n-1\"");
    assert_eq!(super::read(escaped.as_bytes(), ours).unwrap().samples.len(), 0);
}

#[test]
fn a_page_beyond_the_limit_is_refused_without_being_held() {
    let chunk = vec![b'\n'; 1 << 20];
    let mut parser = Parser::new(ours, PAGE_LIMIT);
    let mut fed = 0;
    let error = loop {
        fed += chunk.len();
        if let Err(error) = parser.feed(&chunk) {
            break error;
        }
    };
    assert_eq!(error, PageError::TooLarge { limit: PAGE_LIMIT });
    assert_eq!(fed, PAGE_LIMIT + chunk.len());
    assert!(parser.lines.held() <= LINE_LIMIT);
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let mut parser = Parser::new(ours, PAGE_LIMIT);
    let error = (0..).find_map(|_| parser.feed(&[b'x'; 4096]).err()).unwrap();
    assert_eq!(error, PageError::LineTooLong);
    assert!(parser.lines.held() <= 2 * LINE_LIMIT);
}

#[test]
fn a_node_that_invents_containers_without_end_is_refused() {
    let mut parser = Parser::new(ours, PAGE_LIMIT);
    let error = (0..SERIES_LIMIT * 2)
        .find_map(|i| {
            let line = total(UID, "failed", "1").replace("\"app\"", &format!("\"app{i}\""));
            parser.feed(line.as_bytes()).err()
        })
        .unwrap();
    assert_eq!(error, PageError::TooManySeries);
}

proptest! {
    #[test]
    fn near_misses_of_the_format_never_panic(text in "(prober_probe_(total|duration_seconds_bucket|duration_seconds_count)|[a-z]{1,3}) ?[{\"\\\\}=, lepod_namscti0-9]{0,60}\n") {
        prop_assert!(read(text.as_bytes(), |_, _| Uid::parse(UID)).is_ok());
    }
}
