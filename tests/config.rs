//! The configuration: the embedded file is complete and says the truth, and every kind of mistake reads as what it is.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use probe_tuner::config::{self, Config, File, Flag, Mistakes, Sources};
use probe_tuner::units::Span;
use std::collections::BTreeMap;

/// Each key of the embedded file with the comment right above it, in one line.
fn documented() -> BTreeMap<String, String> {
    let (mut keys, mut comment, mut table) = (BTreeMap::new(), Vec::new(), String::new());
    for line in config::DEFAULT.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}{key}"), comment.join(" "));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    keys
}

fn file(text: &str) -> Sources {
    Sources { file: Some(File { name: "my.toml".into(), text: text.into() }), ..Sources::default() }
}

fn defaults() -> Config {
    config::parse(&Sources::default()).unwrap()
}

/// Every mistake as `message | hint`.
#[track_caller]
fn mistakes(sources: &Sources) -> Vec<String> {
    let Err(Mistakes(mistakes)) = config::parse(sources) else { panic!("read without a mistake") };
    mistakes.iter().map(|m| format!("{m} | {}", m.hint().unwrap_or_default())).collect()
}

#[test]
fn the_embedded_file_has_exactly_the_keys_that_are_read() {
    let documented: Vec<String> = documented().into_keys().collect();
    let read: Vec<String> = config::wanted().into_keys().collect();
    assert_eq!(documented, read);
}

#[test]
fn every_key_is_explained_with_its_range_and_the_reason_of_its_default() {
    let wanted = config::wanted();
    for (key, comment) in documented() {
        let says = format!("Wanted: {}", wanted[&key]);
        assert!(comment.contains(&says), "config/default.toml: {key}: the comment lacks {says:?}: {comment}");
        let (what, why) = comment.split_once("Wanted: ").unwrap();
        assert!(what.len() > 10, "config/default.toml: {key}: says not what it is: {comment}");
        assert!(why.contains("Why: "), "config/default.toml: {key}: says not why: {comment}");
    }
}

#[test]
fn the_embedded_file_written_out_by_a_user_changes_nothing() {
    assert_eq!(config::parse(&file(config::DEFAULT)).unwrap(), defaults());
}

#[test]
fn the_defaults_are_those_that_the_documents_promise() {
    let c = defaults();
    assert_eq!(c.observe.scrape_interval, Span::SECOND * 15);
    assert_eq!(c.observe.page_limit, 32 << 20);
    assert_eq!(
        (c.plan.warm_up, c.plan.cooldown, c.plan.storm_cooldown),
        (Span::MINUTE * 10, Span::MINUTE * 30, Span::MINUTE)
    );
    assert_eq!(c.plan.rollouts_per_workload_week, 3);
    assert_eq!(c.verify.watch, Span::DAY);
    assert_eq!((c.decide.faults_per_pod_year, c.decide.false_restart_price), (12.0, 120.0));
    assert_eq!((c.decide.check_price, c.decide.exec_check_price), (25.0, 100.0));
    assert_eq!((c.defaults.false_restart_budget.get(), c.defaults.rollout_price), (1.0, 30.0));
    assert_eq!(c.http.listen.to_string(), "127.0.0.1:9753");
    assert_eq!(c.cluster.excluded_namespaces, ["kube-system".into(), "probe-tuner".into()]);
}

#[test]
fn a_file_outranks_the_defaults_the_environment_the_file_and_a_flag_the_environment() {
    let mut sources = file("[plan]\nwarm-up = \"1m\"\ncooldown = \"2m\"\nstorm-cooldown = \"3s\"\n");
    sources.environment = vec![
        ("PROBE_TUNER_PLAN_COOLDOWN".into(), "4m".into()),
        ("PROBE_TUNER_PLAN_STORM_COOLDOWN".into(), "5s".into()),
    ];
    sources.flags = vec![Flag { flag: "--set".into(), key: "plan.storm-cooldown".into(), value: "6s".into() }];
    let plan = config::parse(&sources).unwrap().plan;
    assert_eq!((plan.warm_up, plan.cooldown, plan.storm_cooldown), (Span::MINUTE, Span::MINUTE * 4, Span::SECOND * 6));
    assert_eq!(plan.rollouts_per_hour, defaults().plan.rollouts_per_hour);
}

#[test]
fn the_environment_gives_numbers_lists_and_truth_values_as_text() {
    let sources = Sources {
        environment: [
            ("PROBE_TUNER_PLAN_ROLLOUTS_PER_DAY", "7"),
            ("PROBE_TUNER_DECIDE_BOUNDS_PERIOD", "5,20"),
            ("PROBE_TUNER_DECIDE_CHECK_PRICE", "2.5"),
            ("PROBE_TUNER_CLUSTER_EXCLUDED_NAMESPACES", "a,b"),
            ("PROBE_TUNER_OBSERVE_KUBELET_INSECURE", "true"),
        ]
        .map(|(k, v)| (k.into(), v.into()))
        .to_vec(),
        ..Sources::default()
    };
    let c = config::parse(&sources).unwrap();
    assert_eq!((c.plan.rollouts_per_day, c.decide.bounds.period, c.decide.check_price), (7, (5, 20), 2.5));
    assert_eq!(c.cluster.excluded_namespaces, ["a".into(), "b".into(), "probe-tuner".into()]);
    assert!(c.observe.kubelet_insecure);
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_of_our_name_are_none_of_ours() {
    let sources = Sources {
        environment: ["PROBE_TUNER_SERVICE_HOST", "PROBE_TUNER_PORT", "PROBE_TUNER_PORT_9753_TCP_ADDR", "HOME"]
            .map(|k| (k.into(), "10.0.0.1".into()))
            .to_vec(),
        ..Sources::default()
    };
    assert_eq!(config::parse(&sources).unwrap(), defaults());
}

#[test]
fn all_mistakes_come_at_once_each_with_its_place() {
    let mut sources = file(
        "[plan]\nwarm-up = 10\nrollouts-per-day = \"3\"\n\n[decide]\ncheck-price = true\nbounds.period = [5, 90]\n\
         [log]\nlevel = \"loud\"\n",
    );
    sources.environment = vec![("PROBE_TUNER_HTTP_LISTEN".into(), "9753".into())];
    sources.flags = vec![Flag { flag: "--set".into(), key: "verify.watch".into(), value: "1".into() }];
    assert_eq!(
        mistakes(&sources),
        [
            "my.toml:2: plan.warm-up: found 10, wanted a duration from 0s to 24h | the default is warm-up = \"10m\"",
            "my.toml:3: plan.rollouts-per-day: found \"3\", wanted a whole number from 0 to 10000 | the default is \
             rollouts-per-day = 24",
            "my.toml:6: decide.check-price: found true, wanted a number from 0 to 10000 | the default is check-price = 25",
            "my.toml:7: decide.bounds.period: found [5, 90], wanted two whole numbers, [LEAST, MOST], within [1, 60] | \
             the default is period = [1, 60]",
            "my.toml:9: log.level: found \"loud\", wanted one of \"error\", \"warn\", \"info\", \"debug\", \"trace\" | \
             the default is level = \"info\"",
            "environment variable PROBE_TUNER_HTTP_LISTEN: http.listen: found \"9753\", wanted an IP address and a \
             port, as \"127.0.0.1:9753\" or \"[::]:9753\" | the default is 127.0.0.1:9753",
            "flag --set: verify.watch: found \"1\", wanted a duration from 10s to 24h | the default is 24h",
        ]
    );
}

#[test]
fn a_key_that_nobody_knows_is_reported_with_the_nearest() {
    let mut sources = file("[plan]\nwarmup = \"5m\"\n[log]\nscrape-interval = \"5s\"\n[zebra]\nx = 1\n");
    sources.environment = vec![("PROBE_TUNER_PLAN_WARMUP".into(), "5m".into())];
    sources.flags = vec![Flag { flag: "--set".into(), key: "plan.warmup".into(), value: "5m".into() }];
    assert_eq!(
        mistakes(&sources),
        [
            "my.toml:2: plan.warmup: no such key | did you mean plan.warm-up?",
            "my.toml:4: log.scrape-interval: no such key | did you mean observe.scrape-interval?",
            "my.toml:5: zebra: no such key | config/default.toml has every key",
            "environment variable PROBE_TUNER_PLAN_WARMUP: PROBE_TUNER_PLAN_WARMUP: no such key | did you mean \
             PROBE_TUNER_PLAN_WARM_UP?",
            "flag --set: plan.warmup: no such key | did you mean plan.warm-up?",
        ]
    );
}

#[test]
fn a_value_in_the_place_of_a_table_is_reported() {
    assert_eq!(
        mistakes(&file("plan = 5\n")),
        ["my.toml:1: plan: found 5, wanted a table | write [plan] on a line of its own and its keys below"]
    );
    assert_eq!(
        mistakes(&file("[[plan]]\nwarm-up = \"5m\"\n"))[0],
        "my.toml:1: plan: found [[plan]] warm-up = \"5m\", wanted a table | write [plan] on a line of its own and its keys below"
    );
}

#[test]
fn a_file_that_is_no_toml_is_reported_with_its_line_and_hides_no_other_mistake() {
    let mut sources = file("[plan]\nwarm-up = 5m\n");
    sources.flags = vec![Flag { flag: "--listen".into(), key: "http.listen".into(), value: "here".into() }];
    let all = mistakes(&sources);
    assert!(all[0].starts_with("my.toml:2: not TOML: "), "{all:?}");
    assert!(all[1].starts_with("flag --listen: http.listen: found \"here\""), "{all:?}");
    let twice = mistakes(&file("[plan]\nwarm-up = \"5m\"\nwarm-up = \"6m\"\n"));
    assert!(twice[0].starts_with("my.toml:3: not TOML: ") && twice[0].contains("duplicate key"), "{twice:?}");
}

#[test]
fn lines_are_right_for_dotted_nested_and_inline_tables() {
    for (text, line) in [
        ("decide.bounds.period = [0, 5]\n", 1),
        ("\n[decide.bounds]\n# why\n  period = [0, 5]\n", 4),
        ("[decide]\nbounds = { timeout = [1, 12], period = [0, 5] }\n", 2),
        ("[decide]\nbounds.period = [\n  0,\n  5,\n]\n", 2),
        ("\"decide\".'bounds'.period = [0, 5]\r\n", 1),
    ] {
        let all = mistakes(&file(text));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with(&format!("my.toml:{line}: decide.bounds.period: found [")), "{text:?}: {all:?}");
    }
}

#[test]
fn values_that_exclude_each_other_are_reported_where_somebody_wrote_them() {
    assert_eq!(
        mistakes(&file("[observe]\nscrape-interval = \"5s\"\n")),
        [
            "my.toml:2: observe.scrape-interval: found \"5s\", wanted what leaves observe.scrape-timeout at \"5s\": less \
          than observe.scrape-interval (5s) | change observe.scrape-timeout or observe.scrape-interval"
        ]
    );
}

#[test]
fn numbers_that_are_not_finite_negative_or_huge_are_refused() {
    for (key, value) in [
        ("decide.check-price", "nan"),
        ("decide.check-price", "inf"),
        ("decide.check-price", "-1"),
        ("plan.rollouts-per-day", "-1"),
        ("plan.rollouts-per-day", "1.5"),
        ("plan.rollouts-per-day", "4294967297"),
        ("observe.page-limit", "\"99999999999999999999MiB\""),
        ("observe.page-limit", "33554432"),
        ("verify.watch", "\"9999999999d\""),
        ("cluster.namespace", "\"Not_A_Name\""),
        ("cluster.excluded-namespaces", "\"kube-system\""),
        ("cluster.excluded-namespaces", "[1]"),
        ("decide.bounds.period", "[20, 5]"),
        ("decide.bounds.period", "[5]"),
        ("observe.kubelet-insecure", "\"true\""),
    ] {
        let all = mistakes(&file(&format!("{key} = {value}\n")));
        assert!(all.len() == 1 && all[0].starts_with(&format!("my.toml:1: {key}: found {value}, wanted ")), "{all:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = std::path::Path::new("no/such.toml");
    let Err(Mistakes(all)) = config::load(Some(missing), Vec::new()) else { panic!("read") };
    assert_eq!(all[0].to_string(), "no/such.toml: cannot be read");

    let directory = std::env::temp_dir().join(format!("probe-tuner-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("latin1.toml");
    std::fs::write(&path, b"[plan]\n# caf\xe9\n").unwrap();
    let Err(Mistakes(all)) = config::load(Some(&path), Vec::new()) else { panic!("read") };
    assert_eq!(all[0].to_string(), format!("{}:2: bytes that are no UTF-8, wanted text", path.display()));
    std::fs::write(&path, "#".repeat(config::FILE_LIMIT as usize + 1)).unwrap();
    let Err(Mistakes(all)) = config::load(Some(&path), Vec::new()) else { panic!("read") };
    assert!(all[0].to_string().contains("longer than 1048576 bytes"), "{all:?}");
    std::fs::remove_dir_all(&directory).unwrap();
}
