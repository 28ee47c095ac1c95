//! Every value, checked against what is wanted of it.

use super::layers::{Found, Layers};
use super::mistake::{Mistake, Mistakes};
use super::{Cluster, Config, Decide, Defaults, Format, Http, Level, Log, Observe, Plan, Prometheus, Store, Verify};
use crate::policy::{Bounds, Mode};
use crate::units::{Name, PerPodYear, Span, parse_span};
use figment::value::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// What is wanted of each key, in the words of the messages: what `config/default.toml` must say of it.
pub fn wanted() -> BTreeMap<String, String> {
    let mut reader = Reader::new(Layers::new(&super::Sources::default()));
    reader.config();
    reader.wanted
}

pub(super) fn config(layers: Layers) -> Result<Config, Mistakes> {
    let mut reader = Reader::new(layers);
    let config = reader.config();
    let mut mistakes = reader.layers.mistakes;
    if mistakes.is_empty() {
        return Ok(config);
    }
    mistakes.sort_by(|a, b| a.order().cmp(&b.order()));
    Err(Mistakes(mistakes))
}

struct Reader {
    layers: Layers,
    wanted: BTreeMap<String, String>,
}

const MINUTE: Span = Span::MINUTE;
const SECOND: Span = Span::SECOND;
const DAY: Span = Span::DAY;

impl Reader {
    fn new(layers: Layers) -> Self {
        Reader { layers, wanted: BTreeMap::new() }
    }

    fn config(&mut self) -> Config {
        let config = Config {
            cluster: self.cluster(),
            observe: Observe {
                scrape_interval: self.span("observe.scrape-interval", SECOND * 5..=MINUTE * 2),
                scrape_timeout: self.span("observe.scrape-timeout", Span::from_millis(500)..=SECOND * 30),
                scrape_concurrency: self.count("observe.scrape-concurrency", 1..=256) as usize,
                page_limit: self.size("observe.page-limit", 64 << 10..=256 << 20),
                usage_interval: self.span("observe.usage-interval", SECOND * 10..=MINUTE * 10),
                throttling_interval: self.optional_span("observe.throttling-interval", MINUTE..=MINUTE * 5),
                shadow_check_rate: self.number("observe.shadow-check-rate", 0.0..=100.0),
                shadow_loopback: self.flag("observe.shadow-loopback"),
                kubelet_ca_file: self.path("observe.kubelet-ca-file"),
                kubelet_insecure: self.flag("observe.kubelet-insecure"),
            },
            prometheus: Prometheus {
                url: self.text("prometheus.url", "an http or https address, or \"\"", |text| match text {
                    "" => Some(None),
                    _ => ["http://", "https://"].iter().any(|s| text.starts_with(s)).then(|| Some(text.to_owned())),
                }),
                token_file: self.text("prometheus.token-file", "a path of a file, or \"\"", |t| {
                    Some((!t.is_empty()).then(|| PathBuf::from(t)))
                }),
                ca_file: self.path("prometheus.ca-file"),
                history: self.span("prometheus.history", Span::HOUR..=DAY * 90),
                instead_of_kubelets: self.flag("prometheus.instead-of-kubelets"),
            },
            defaults: Defaults {
                false_restart_budget: self.rate("defaults.false-restart-budget"),
                detect_within: self.optional_span("defaults.detect-within", SECOND..=Span::HOUR),
                rollout_price: self.span("defaults.rollout-price", Span::ZERO..=Span::HOUR).as_secs_f64(),
            },
            decide: self.decide(),
            plan: Plan {
                warm_up: self.span("plan.warm-up", Span::ZERO..=DAY),
                rollouts_in_flight: self.count("plan.rollouts-in-flight", 0..=100),
                rollouts_per_hour: self.count("plan.rollouts-per-hour", 0..=1000),
                rollouts_per_day: self.count("plan.rollouts-per-day", 0..=10_000),
                rollouts_per_workload_week: self.count("plan.rollouts-per-workload-week", 0..=5),
                cooldown: self.span("plan.cooldown", Span::ZERO..=DAY * 30),
                storm_cooldown: self.span("plan.storm-cooldown", Span::ZERO..=DAY),
            },
            verify: Verify {
                watch: self.span("verify.watch", SECOND * 10..=DAY),
                rollout_timeout: self.span("verify.rollout-timeout", SECOND * 10..=DAY),
            },
            store: Store { evidence_interval: self.span("store.evidence-interval", SECOND * 10..=DAY) },
            http: Http {
                listen: self.text(
                    "http.listen",
                    "an IP address and a port, as \"127.0.0.1:9753\" or \"[::]:9753\"",
                    |t| t.parse().ok(),
                ),
            },
            log: Log {
                level: self.word(
                    "log.level",
                    &[
                        ("error", Level::Error),
                        ("warn", Level::Warn),
                        ("info", Level::Info),
                        ("debug", Level::Debug),
                        ("trace", Level::Trace),
                    ],
                ),
                format: self
                    .word("log.format", &[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)]),
            },
        };
        self.together(&config);
        config
    }

    fn cluster(&mut self) -> Cluster {
        let own = self.text("cluster.namespace", "a namespace's name", namespace);
        let mut excluded: Vec<Name> =
            self.list("cluster.excluded-namespaces", "a list of namespaces' names", |item| match item {
                Value::String(_, text) => namespace(text),
                _ => None,
            });
        excluded.push(own.clone());
        excluded.sort();
        excluded.dedup();
        let modes = Mode::ALL.map(|m| (m.word(), m));
        Cluster { namespace: own, excluded_namespaces: excluded, mode: self.word("cluster.mode", &modes) }
    }

    fn decide(&mut self) -> Decide {
        Decide {
            faults_per_pod_year: self.number("decide.faults-per-pod-year", 0.1..=1000.0),
            false_restart_price: self.span("decide.false-restart-price", SECOND..=Span::HOUR).as_secs_f64(),
            check_price: self.number("decide.check-price", 0.0..=10_000.0),
            exec_check_price: self.number("decide.exec-check-price", 0.0..=10_000.0),
            bounds: Bounds {
                period: self.bounds("decide.bounds.period", Bounds::FENCE.period),
                timeout: self.bounds("decide.bounds.timeout", Bounds::FENCE.timeout),
                threshold: self.bounds("decide.bounds.threshold", Bounds::FENCE.threshold),
            },
        }
    }

    /// What must hold between values. Only where each is right by itself: else the message would be about a default.
    fn together(&mut self, config: &Config) {
        if !self.layers.mistakes.is_empty() {
            return;
        }
        let Observe { scrape_interval, scrape_timeout, .. } = config.observe;
        if scrape_timeout >= scrape_interval {
            let wanted = format!("less than observe.scrape-interval ({scrape_interval})");
            self.clash(["observe.scrape-timeout", "observe.scrape-interval"], &wanted);
        }
        if config.prometheus.instead_of_kubelets && config.prometheus.url.is_none() {
            self.clash(["prometheus.url", "prometheus.instead-of-kubelets"], "the address of one");
        }
    }

    /// Reports the first of `keys` that is not a default: that is the one which somebody wrote.
    fn clash<const N: usize>(&mut self, keys: [&str; N], wanted: &str) {
        let Some(first) = self.layers.find(keys[0]) else { return };
        let written = keys.iter().find_map(|key| self.layers.find(key)?.place.map(|place| (*key, place)));
        let Some((key, place)) = written else { return };
        let wanted = if key == keys[0] {
            wanted.to_owned()
        } else {
            format!("what leaves {} at {}: {wanted}", keys[0], first.text)
        };
        let found = self.layers.find(key).map(|f| f.text).unwrap_or_default();
        let other = if key == keys[0] { keys[1] } else { key };
        let hint = format!("change {} or {other}", keys[0]);
        self.layers.mistakes.push(Mistake::Value { place, key: key.to_owned(), found, wanted, hint });
    }

    /// The value of a key as `parse` reads it. What it cannot read is noted, and the default stands in so that the
    /// other keys are read too.
    fn get<T>(&mut self, key: &str, wanted: impl Display, parse: impl Fn(&Found) -> Option<T>) -> T {
        let default = Layers::default(key).expect("the embedded file has every key: a test reads it");
        let wanted = wanted.to_string();
        if let Some(found) = self.layers.find(key) {
            if let Some(value) = parse(&found) {
                self.wanted.insert(key.to_owned(), wanted);
                return value;
            }
            let hint = match &found.place {
                Some(super::Place::File { .. }) | None => {
                    format!("the default is {} = {}", key.rsplit('.').next().unwrap_or(key), default.text)
                }
                Some(_) => format!("the default is {}", default.text.trim_matches('"')),
            };
            let place = found.place.expect("the embedded file has right values: a test reads it");
            let (key, found) = (key.to_owned(), found.text);
            self.layers.mistakes.push(Mistake::Value { place, key, found, wanted, hint });
        }
        parse(&default).expect("the embedded file has right values: a test reads it")
    }

    fn text<T>(&mut self, key: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        self.get(key, wanted, |found| parse(found.value.as_str()?))
    }

    fn span(&mut self, key: &str, range: RangeInclusive<Span>) -> Span {
        let wanted = format!("a duration from {} to {}", range.start(), days(*range.end()));
        self.text(key, &wanted, |text| parse_span(text).ok().filter(|s| range.contains(s)))
    }

    fn optional_span(&mut self, key: &str, range: RangeInclusive<Span>) -> Option<Span> {
        let wanted = format!("a duration from {} to {}, or \"\"", range.start(), range.end());
        self.text(key, &wanted, |text| match text {
            "" => Some(None),
            _ => parse_span(text).ok().filter(|s| range.contains(s)).map(Some),
        })
    }

    fn rate(&mut self, key: &str) -> PerPodYear {
        let wanted = "a number above 0, then \"/pod-day\", \"/pod-week\", \"/pod-month\" or \"/pod-year\"";
        self.text(key, wanted, |text| PerPodYear::parse(text).ok())
    }

    fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key, "a path of a PEM file, or \"\"", |t| Some((!t.is_empty()).then(|| PathBuf::from(t))))
    }

    fn size(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let print = |n: u64| if n >= 1 << 20 { format!("{}MiB", n >> 20) } else { format!("{}KiB", n >> 10) };
        let wanted = format!("a size from {} to {}", print(*range.start()), print(*range.end()));
        self.text(key, &wanted, |text| {
            let (number, shift) = match (text.strip_suffix("MiB"), text.strip_suffix("KiB")) {
                (Some(number), _) => (number, 20),
                (_, Some(number)) => (number, 10),
                _ => return None,
            };
            let number: u64 = number.parse().ok().filter(|n| *n < 1 << 32)?;
            Some(number << shift).filter(|n| range.contains(n))
        })
    }

    fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        self.get(key, wanted, |found| {
            let number = match &found.value {
                Value::Num(_, n) => n.to_f64().or_else(|| Some(n.to_i128()? as f64)),
                Value::String(_, text) if found.given => text.parse().ok(),
                _ => None,
            };
            number.filter(|n| range.contains(n))
        })
    }

    fn count(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.get(key, wanted, |found| whole(&found.value, found.given).filter(|n| range.contains(n)))
    }

    fn bounds(&mut self, key: &str, fence: (u32, u32)) -> (u32, u32) {
        let wanted = format!("two whole numbers, [LEAST, MOST], within [{}, {}]", fence.0, fence.1);
        self.get(key, wanted, |found| match items(found)?.as_slice() {
            [least, most] => {
                let (least, most) = (whole(least, found.given)?, whole(most, found.given)?);
                (fence.0 <= least && least <= most && most <= fence.1).then_some((least, most))
            }
            _ => None,
        })
    }

    fn list<T>(&mut self, key: &str, wanted: &str, parse: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        self.get(key, wanted, |found| items(found)?.iter().map(&parse).collect())
    }

    fn flag(&mut self, key: &str) -> bool {
        self.get(key, "true or false", |found| match &found.value {
            Value::Bool(_, b) => Some(*b),
            Value::String(_, text) if found.given => text.parse().ok(),
            _ => None,
        })
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let wanted = format!("one of {}", list.join(", "));
        self.text(key, &wanted, |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
    }
}

/// The items of a list; out of the environment or a flag, parted by commas.
fn items(found: &Found) -> Option<Vec<Value>> {
    match &found.value {
        Value::Array(_, items) => Some(items.clone()),
        Value::String(_, text) if found.given => {
            let text = text.trim().trim_start_matches('[').trim_end_matches(']');
            let items = text.split(',').map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
            Some(items.map(Value::from).collect())
        }
        _ => None,
    }
}

fn whole(value: &Value, given: bool) -> Option<u32> {
    match value {
        Value::Num(_, n) => {
            n.to_i128().or_else(|| n.to_u128().and_then(|n| n.try_into().ok())).and_then(|n| n.try_into().ok())
        }
        Value::String(_, text) if given => text.parse().ok(),
        _ => None,
    }
}

/// A name as Kubernetes takes it: 1 to 63 of a–z, 0–9 and `-`, no `-` at either end.
fn namespace(text: &str) -> Option<Name> {
    let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (fits && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')).then(|| text.into())
}

/// As people write long durations: `30d` rather than `720h`.
fn days(span: Span) -> String {
    let days = span.nanos() / Span::DAY.nanos();
    if days > 1 && Span::DAY * days == span { format!("{days}d") } else { span.to_string() }
}
