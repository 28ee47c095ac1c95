//! What is asked of a server, in which bounds, and what is said of every answer that is none.

use super::server::{Answer, Asked, Scripted, run, runtime};
use super::support::fixtures::{renumbered, workload};
use probe_tuner::evidence::Evidence;
use probe_tuner::observation::Fact;
use probe_tuner::prometheus::{Access, Budget, Error, History, Pods, Server, Subject, Trust, fetch, recount};
use probe_tuner::units::{Span, Timestamp};
use probe_tuner::workload::WorkloadKind;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const UID: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn success(result: &Value) -> Answer {
    (200, vec![], json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string())
}

/// The end and the width of the window that is asked for, in seconds.
fn window(asked: &Asked) -> (i64, i64) {
    let query = &asked.form["query"];
    let width = query.rsplit_once('[').unwrap().1.trim_end_matches("s]").parse().unwrap();
    (asked.form["time"].parse::<f64>().unwrap() as i64, width)
}

/// One pod's page each 15 s: 15 samples a moment, one more success each.
fn pages(asked: &Asked) -> Answer {
    let (end, width) = window(asked);
    let moments: Vec<i64> = (end - width..=end).filter(|t| t % 15 == 0).collect();
    let series = |name: &str, more: Value| {
        let mut metric = json!({"__name__": name, "namespace": "shop", "pod": "web-6d4cf56db6-abcde", "container": "app",
            "probe_type": "Liveness", "job": "kubelet"});
        metric.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let values: Vec<Value> = moments.iter().map(|t| json!([*t as f64 + 0.25, (t / 15).to_string()])).collect();
        json!({"metric": metric, "values": values})
    };
    let mut all = vec![
        series("prober_probe_total", json!({"result": "successful", "pod_uid": UID})),
        series("prober_probe_duration_seconds_count", json!({})),
    ];
    for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
        all.push(series("prober_probe_duration_seconds_bucket", json!({"le": le})));
    }
    success(&json!(all))
}

fn budget() -> Budget {
    Budget { timeout: Duration::from_secs(5), ..Budget::generous() }
}

fn server(url: &str) -> Server {
    Server::new(&Access { url: url.to_owned(), token_file: None, trust: Trust::System }).unwrap()
}

fn ask(url: &str, since: Span, budget: &Budget) -> Result<History, Error> {
    let pods = Pods { kind: WorkloadKind::Deployment, name: "web".into() };
    runtime().block_on(fetch(&server(url), "shop", &pods, (NOW - since, NOW), budget))
}

fn moments(history: &History) -> Vec<i64> {
    history.tracks.values().flat_map(|t| &t.moments).map(|m| m.at.floor_seconds()).collect()
}

#[test]
fn windows_meet_without_a_gap_and_no_moment_comes_twice() {
    let prometheus = Scripted::start(pages);
    let history = ask(&prometheus.url, Span::DAY * 3, &budget()).unwrap();
    let wanted: Vec<i64> =
        ((NOW - Span::DAY * 3).floor_seconds()..=NOW.floor_seconds()).filter(|t| t % 15 == 0).collect();
    assert_eq!(moments(&history), wanted);
    assert_eq!((history.cut, history.from), (None, NOW - Span::DAY * 3));
    assert!(history.spent.queries < 15, "{:?}", history.spent);
}

#[test]
fn every_query_names_a_namespace_a_range_and_a_limit_of_its_time() {
    let prometheus = Scripted::start(pages);
    ask(&prometheus.url, Span::HOUR, &budget()).unwrap();
    for asked in prometheus.asked() {
        assert_eq!(asked.line, "POST /api/v1/query");
        assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(!asked.headers.contains_key("authorization"));
        let query = &asked.form["query"];
        assert!(query.contains(",namespace=\"shop\",pod=~\"web-[") && query.ends_with("s]"), "{query}");
        assert_eq!(asked.form["timeout"], "5s");
    }
}

#[test]
fn a_budget_of_samples_costs_the_oldest_history_and_is_said() {
    let prometheus = Scripted::start(pages);
    let few = Budget { samples: 20_000, ..budget() };
    let history = ask(&prometheus.url, Span::DAY * 3, &few).unwrap();
    assert!(history.spent.samples <= 20_000, "{:?}", history.spent);
    assert!(history.spent.samples >= 15_000, "most of it is used: {:?}", history.spent);
    assert_eq!(history.cut.as_deref(), Some("the budget of 20000 samples is used up"));
    let moments = moments(&history);
    assert_eq!(moments.last(), Some(&NOW.floor_seconds().div_euclid(15).saturating_mul(15)));
    assert!(moments[0] >= history.from.floor_seconds());
}

#[test]
fn a_budget_of_queries_is_kept_and_said() {
    let prometheus = Scripted::start(pages);
    let history = ask(&prometheus.url, Span::DAY * 3, &Budget { queries: 2, ..budget() }).unwrap();
    assert_eq!(prometheus.asked().len(), 2);
    assert_eq!(history.cut.as_deref(), Some("the budget of 2 queries is used up"));
    assert!(!moments(&history).is_empty());
}

#[test]
fn a_window_that_is_too_much_is_halved() {
    for refusal in [
        (422, json!({"status": "error", "errorType": "execution", "error": "query processing would load too many samples into memory"}).to_string()),
        (503, json!({"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"}).to_string()),
        (200, " ".repeat(70_000)),
    ] {
        let prometheus = Scripted::start(move |asked| {
            if window(asked).1 > 120 { (refusal.0, vec![], refusal.1.clone()) } else { pages(asked) }
        });
        let small = Budget { answer_bytes: 60_000, ..budget() };
        let history = ask(&prometheus.url, Span::MINUTE * 10, &small).unwrap();
        assert_eq!((history.cut.as_deref(), moments(&history).len()), (None, 40));
    }
}

#[test]
fn a_busy_server_is_asked_again_when_it_says_and_not_for_ever() {
    let times = AtomicU32::new(0);
    let prometheus = Scripted::start(move |asked| match times.fetch_add(1, Ordering::Relaxed) {
        0 => (429, vec![("retry-after", "1".to_owned())], "slow down".to_owned()),
        1 => (503, vec![], "warming up".to_owned()),
        _ => pages(asked),
    });
    let history = ask(&prometheus.url, Span::MINUTE * 5, &budget()).unwrap();
    assert_eq!((history.spent.queries, history.spent.again), (3, 2));
    let prometheus = Scripted::start(|_| (429, vec![("retry-after", "0".to_owned())], String::new()));
    let error = ask(&prometheus.url, Span::MINUTE * 5, &budget()).unwrap_err();
    assert_eq!(error, Error::Busy { code: 429, tries: 4 });
    assert_eq!(prometheus.asked().len(), 4);
}

#[test]
fn what_was_answered_before_a_failure_is_kept_and_what_is_missing_is_said() {
    let prometheus = Scripted::start(|asked| match window(asked).0 {
        end if end < NOW.floor_seconds() - 3_600 => (500, vec![], "out of memory".to_owned()),
        _ => pages(asked),
    });
    let history = ask(&prometheus.url, Span::DAY, &budget()).unwrap();
    assert_eq!(history.cut.as_deref(), Some("500: out of memory"));
    assert!(moments(&history).len() > 200);
}

#[test]
fn a_partial_answer_is_said() {
    let prometheus = Scripted::start(|asked| {
        let (code, headers, body) = pages(asked);
        let mut body: Value = serde_json::from_str(&body).unwrap();
        body["warnings"] = json!(["store 10.0.0.7:10901: connection refused"]);
        (code, headers, body.to_string())
    });
    let url = &prometheus.url;
    let (exit, _, err) =
        run(&["replay", "--prometheus", url, "--workload", "shop/web", "--since", "10m", "-s", "10/1/3"]);
    // The script's samples lie in the past; what is said is said all the same.
    assert!(matches!(exit, 0 | 2), "{err}");
    let history = ask(url, Span::MINUTE * 10, &budget()).unwrap();
    assert_eq!(history.warnings.into_iter().collect::<Vec<_>>(), ["store 10.0.0.7:10901: connection refused"]);
}

/// What the command line says of a server that answers so.
fn said(rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static, more: &[&str]) -> (u8, String) {
    let prometheus = Scripted::start(rule);
    let args = ["replay", "--prometheus", &prometheus.url, "--workload", "shop/web", "-s", "10/1/3"];
    let (exit, out, err) = run(&[&args, more].concat());
    assert_eq!(out, "");
    (exit, err.replace(&prometheus.url, "URL"))
}

#[test]
fn whatever_is_wrong_with_the_server_is_named_with_a_next_step() {
    for (code, body, words) in [
        (401, "", "401: the server wants to know who asks\n\nhint: give a bearer token with token-file"),
        (403, "", "403: whoever holds this token may not query"),
        (
            404,
            "404 page not found",
            "404: no query API at this address\n\nhint: the address is what stands before /api/v1",
        ),
        (200, "<html>Grafana</html>", "hint: is this the address of a Prometheus, and not of Grafana"),
        (500, "boom", "cause: 500: boom"),
        (400, r#"{"status":"error","errorType":"bad_data","error":"no org id"}"#, "cause: bad_data: no org id"),
    ] {
        let (exit, err) = said(move |_| (code, vec![], body.to_owned()), &[]);
        assert_eq!(exit, 4, "{err}");
        assert!(err.starts_with("error: URL cannot be asked\n") && err.contains(words), "{err}");
    }
    let (exit, err) = said(|_| (302, vec![("location", "https://login.example/".to_owned())], String::new()), &[]);
    assert_eq!(exit, 4);
    assert!(err.contains("302: redirected to \"https://login.example/\", which is not followed"), "{err}");
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    let (exit, _, err) =
        run(&["replay", "--prometheus", "http://127.0.0.1:9", "--workload", "shop/web", "-s", "10/1/3"]);
    assert_eq!(exit, 4);
    assert!(err.contains("refused") && err.contains("hint: is the address right"), "{err}");
}

#[test]
fn what_can_be_seen_to_be_wrong_before_anybody_is_asked_is_wrong_usage() {
    for (args, words) in [
        (
            &["--prometheus", "localhost:9090", "--workload", "shop/web"][..],
            "an address begins with http:// or https://",
        ),
        (&["--prometheus", "http://a", "--workload", "web"], "write NAMESPACE/NAME"),
        (&["--prometheus", "http://a"], "--workload"),
        (&["--workload", "shop/web"], "--prometheus"),
        (&["--prometheus", "http://a", "--workload", "shop/web", "trace.csv"], "cannot be used with"),
        (&["--prometheus", "http://a", "--workload", "shop/web", "--since", "0s"], "from 1m to 730d"),
        (
            &["--prometheus", "https://a", "--workload", "shop/web", "--ca-file", "/nonexistent"],
            "--ca-file /nonexistent",
        ),
    ] {
        let (exit, _, err) = run(&[&["replay", "-s", "10/1/3"], args].concat());
        assert_eq!(exit, 2, "{err}");
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn a_workload_without_series_is_answered_with_what_there_is_instead() {
    let told = |pods: &'static [&'static str], spaces: &'static [&'static str], exported: &'static [&'static str]| {
        move |asked: &Asked| {
            let values = |names: &[&str]| (200, vec![], json!({"status": "success", "data": names}).to_string());
            match asked.line.as_str() {
                "GET /api/v1/label/pod/values" => values(pods),
                "GET /api/v1/label/namespace/values" => values(spaces),
                "GET /api/v1/label/exported_pod/values" => values(exported),
                _ => success(&json!([])),
            }
        }
    };
    for (rule, words) in [
        (told(&["db-0", "db-1"], &["shop"], &[]), "pods of shop that have probe series: db-0, db-1"),
        (told(&[], &["bank", "mail"], &[]), "namespaces that have probe series: bank, mail"),
        (told(&[], &[], &[]), "hint: let it scrape the kubelets' /metrics/probes; docs/guides/prometheus.md"),
        (told(&[], &[], &["web-1"]), "hint: set honor_labels: true"),
    ] {
        let (exit, err) = said(rule, &[]);
        assert_eq!(exit, 2, "{err}");
        assert!(err.starts_with("error: URL: no probe of shop/Deployment/web in the last 14.0 days\n"), "{err}");
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn counters_without_their_histogram_are_no_health() {
    let rule = |asked: &Asked| {
        let mut body: Value = serde_json::from_str(&pages(asked).2).unwrap();
        body["data"]["result"].as_array_mut().unwrap().truncate(1);
        (200, vec![], body.to_string())
    };
    let (exit, err) = said(rule, &["--since", "10m"]);
    assert_eq!(exit, 2);
    assert!(err.contains("prober_probe_duration_seconds is not") && err.contains("metric_relabel_configs"), "{err}");
}

#[test]
fn a_token_is_read_from_its_file_for_each_question() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}", std::process::id()));
    std::fs::write(&file, "short-lived\n").unwrap();
    let prometheus = Scripted::start(|_| success(&json!([])));
    run(&[
        "replay",
        "--prometheus",
        &prometheus.url,
        "--workload",
        "shop/web",
        "-s",
        "10/1/3",
        "--token-file",
        file.to_str().unwrap(),
    ]);
    let asked = prometheus.asked();
    assert!(!asked.is_empty() && asked.iter().all(|a| a.headers["authorization"] == "Bearer short-lived"));
    std::fs::write(&file, "\n").unwrap();
    let (exit, _, err) = run(&[
        "replay",
        "--prometheus",
        &prometheus.url,
        "--workload",
        "shop/web",
        "-s",
        "10/1/3",
        "--token-file",
        file.to_str().unwrap(),
    ]);
    assert_eq!(exit, 2, "{err}");
    assert!(err.contains("--token-file") && err.contains("no bearer token in it"), "{err}");
}

#[test]
fn a_server_is_believed_by_its_authority_only_and_another_gets_no_token() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-token-{}", std::process::id()));
    std::fs::write(&file, "secret").unwrap();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kubelet");
    let nothing = |asked: &Asked| match asked.line.starts_with("GET") {
        true => (200, vec![], json!({"status": "success", "data": []}).to_string()),
        false => success(&json!([])),
    };
    let prometheus = Scripted::start_tls(nothing);
    let ask = |more: &[&str]| {
        let base =
            ["replay", "--prometheus", &prometheus.url, "--workload", "shop/web", "-s", "10/1/3", "--since", "10m"];
        run(&[&base, &["--token-file", file.to_str().unwrap()][..], more].concat())
    };
    for ca in [&[][..], &["--ca-file", &format!("{data}/other-ca.crt")]] {
        let (exit, _, err) = ask(ca);
        assert_eq!(exit, 4, "{err}");
        assert!(err.contains("UnknownIssuer") && err.contains("hint: name the authority"), "{err}");
    }
    assert!(prometheus.asked().is_empty());
    let (exit, _, err) = ask(&["--ca-file", &format!("{data}/ca.crt")]);
    assert_eq!(exit, 2, "believed, and it has no such series: {err}");
    assert!(prometheus.asked().iter().all(|a| a.headers["authorization"] == "Bearer secret"));
    let (exit, _, err) = ask(&["--ca-file", file.to_str().unwrap()]);
    assert_eq!(exit, 2, "{err}");
    assert!(err.contains("--ca-file") && err.contains("no certificate found"), "{err}");
}

#[test]
fn how_often_a_container_was_throttled_is_told_of_the_pod_that_had_the_name_then() {
    let prometheus = Scripted::start(|asked| {
        let (end, width) = window(asked);
        let (status, headers, body) = pages(asked);
        let mut body: Value = serde_json::from_str(&body).unwrap();
        // cAdvisor looks at moments of its own.
        let moments = || (end - width..=end).filter(|t| t % 15 == 7);
        for (name, each) in
            [("container_cpu_cfs_periods_total", 150), ("container_cpu_cfs_throttled_periods_total", 60)]
        {
            let metric = json!({"__name__": name, "namespace": "shop", "pod": "web-6d4cf56db6-abcde", "container": "app",
                "id": "/kubepods/pod1/8f3", "image": "example/web:1", "name": "8f3", "job": "cadvisor"});
            let values: Vec<Value> =
                moments().map(|t| json!([t as f64 + 0.5, (t / 15 % 100_000 * each).to_string()])).collect();
            body["data"]["result"].as_array_mut().unwrap().push(json!({"metric": metric, "values": values}));
        }
        (status, headers, body.to_string())
    });
    let history = ask(&prometheus.url, Span::HOUR * 4, &budget()).unwrap();
    let w = renumbered(workload("shop", "web"), "10/12/2");
    let pods = Pods { kind: WorkloadKind::Deployment, name: "web".into() };
    let mut evidence = Evidence::new();
    let mut told = 0;
    recount(&history, &Subject { workload: w, pods }, |o| match &o.fact {
        Fact::Workload(w) => evidence.workload(o.at, w),
        Fact::Pod(p) => evidence.pod(o.at, p),
        Fact::Throttling(t) => {
            assert_eq!((t.pod.to_string().as_str(), &*t.container), (UID, "app"));
            told += 1;
            evidence.throttling(o.at, t);
        }
        _ => {}
    });
    assert!((955..=961).contains(&told), "{told} moments in four hours");
    let day = evidence.load().throttled()[0].day(NOW).unwrap();
    assert!((day.share() - 0.4).abs() < 1e-3 && day.seen > 4 * 3_600 - 700, "{day:?}");
    // One of five replicas is known: that is not most of them.
    assert_eq!(evidence.throttled_since(&"app".into(), NOW), None);
}
