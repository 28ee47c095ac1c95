//! The index, filled by hand.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::shadow::{Candidate, Rule};
use super::*;
use crate::objects::{self, Unaskable, Way};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

fn index() -> Index {
    let mut index = Index::new(Defaults::default(), Scope::OptedIn, BTreeSet::from(["probe-tuner".into()]));
    index.pause(Pause::NOWHERE, Timestamp::EPOCH);
    index
}

fn notes(pairs: &[(&str, &str)]) -> Annotations {
    pairs.iter().map(|(k, v)| (format!("{PREFIX}{k}"), (*v).to_owned())).collect()
}

fn opt(index: &mut Index, pairs: &[(&str, &str)]) -> Made {
    index.space_is(&"shop".into(), Some("u"), &notes(pairs), Timestamp::EPOCH)
}

fn uid(n: u128) -> Uid {
    Uid::from_bits(n)
}

fn declared(n: u128, generation: i64, pairs: &[(&str, &str)]) -> News {
    let object: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": uid(n).to_string(), "generation": generation},
        "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": []}}}
    }))
    .unwrap();
    let nobody = Rules::read(&Defaults::default(), &Annotations::new(), &Annotations::new()).at(Timestamp::EPOCH, true);
    let record = objects::deployment(&object, nobody).unwrap();
    News::WorkloadIs(Box::new(Declared { record, notes: notes(pairs) }))
}

fn running(n: u128, name: &str, node: &str) -> News {
    let record = Pod {
        uid: uid(n),
        name: name.into(),
        workload: uid(0),
        node: Some(node.into()),
        probes: vec![],
        containers: vec![],
        terminating: false,
        created: Timestamp::EPOCH,
        ready: true,
    };
    let owner = Owner { kind: WorkloadKind::Deployment, name: "web".into() };
    News::PodIs(Box::new(Running { record, owner, reach: Reach::default() }))
}

/// What is told, in short.
fn told(made: &Made) -> Vec<String> {
    let short = |fact: &Fact| match fact {
        Fact::Workload(w) => {
            format!(
                "workload {} gen {} {} {}",
                w.uid.bits(),
                w.generation,
                w.permission.mode.word(),
                w.permission.paused
            )
        }
        Fact::WorkloadGone(uid) => format!("workload {} gone", uid.bits()),
        Fact::Pod(p) => format!("pod {} of {}", p.uid.bits(), p.workload.bits()),
        Fact::PodGone(uid) => format!("pod {} gone", uid.bits()),
        other => format!("{other:?}"),
    };
    made.facts.iter().map(short).collect()
}

fn news(index: &mut Index, news: News) -> Vec<String> {
    told(&index.news(&"shop".into(), news, Timestamp::EPOCH))
}

#[test]
fn a_namespace_that_is_not_opted_in_tells_nothing() {
    let mut index = index();
    opt(&mut index, &[]);
    assert!(index.watched().is_empty());
    assert_eq!(news(&mut index, declared(1, 1, &[])), [""; 0]);
    index.space_is(&"probe-tuner".into(), None, &notes(&[("mode", "auto")]), Timestamp::EPOCH);
    assert!(index.watched().is_empty(), "our own is never watched");
}

#[test]
fn a_pod_that_comes_before_its_workload_is_told_with_it() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    assert_eq!(news(&mut index, running(7, "web-1", "n1")), [""; 0]);
    assert_eq!(index.pod_on("n1", "shop", "web-1"), None);
    assert_eq!(news(&mut index, declared(1, 1, &[])), ["workload 1 gen 1 auto false", "pod 7 of 1"]);
    assert_eq!(index.pod_on("n1", "shop", "web-1"), Some(uid(7)));
    assert_eq!(news(&mut index, running(8, "web-2", "n2")), ["pod 8 of 1"]);
}

#[test]
fn a_relist_tells_only_what_has_changed_and_what_is_gone() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, running(7, "web-1", "n1"));
    news(&mut index, running(8, "web-2", "n1"));
    let kind = WorkloadKind::Deployment;
    for (update, wanted) in [
        (News::Workload(kind, List::Begin), vec![]),
        (declared(1, 1, &[]), vec![]),
        (News::Workload(kind, List::Done), vec![]),
        (News::Pods(List::Begin), vec![]),
        (running(8, "web-2", "n1"), vec![]),
        (News::Pods(List::Done), vec!["pod 7 gone"]),
        (declared(1, 2, &[]), vec!["workload 1 gen 2 auto false"]),
        (News::Workload(kind, List::Begin), vec![]),
        (News::Workload(kind, List::Done), vec!["workload 1 gone"]),
        // The pod is nobody's until somebody of that name comes.
        (declared(2, 1, &[]), vec!["workload 2 gen 1 auto false", "pod 8 of 2"]),
    ] {
        assert_eq!(news(&mut index, update), wanted);
    }
}

#[test]
fn a_workload_of_the_same_name_and_another_uid_is_another() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, running(7, "web-1", "n1"));
    let wanted = ["workload 1 gone", "workload 2 gen 1 auto false", "pod 7 of 2"];
    assert_eq!(news(&mut index, declared(2, 1, &[])), wanted);
}

#[test]
fn a_namespace_that_opts_out_takes_all_with_it() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, running(7, "web-1", "n1"));
    assert_eq!(told(&opt(&mut index, &[("mode", "off")])), ["workload 1 gen 1 off false", "workload 1 gone"]);
    assert!(index.watched().is_empty() && index.targets().is_empty());
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    index.spaces_begin();
    assert_eq!(told(&index.spaces_done()), ["workload 1 gone"]);
}

#[test]
fn what_owners_and_the_brake_say_is_told_when_it_changes() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    assert_eq!(told(&opt(&mut index, &[("mode", "auto")])), [""; 0]);
    assert_eq!(told(&opt(&mut index, &[("mode", "recommend")])), ["workload 1 gen 1 recommend false"]);
    let pause = |index: &mut Index, text: Option<&str>| {
        told(&Made { facts: index.pause(Pause::parse(text), Timestamp::EPOCH), notices: vec![] })
    };
    assert_eq!(pause(&mut index, Some("bank")), [""; 0]);
    assert_eq!(pause(&mut index, Some("shop")), ["workload 1 gen 1 recommend true"]);
    assert_eq!(pause(&mut index, Some("*")), [""; 0]);
    assert_eq!(pause(&mut index, None), ["workload 1 gen 1 recommend false"]);
}

#[test]
fn until_the_lease_has_been_read_everything_is_paused() {
    let mut index = Index::new(Defaults::default(), Scope::OptedIn, BTreeSet::new());
    opt(&mut index, &[("mode", "auto")]);
    assert_eq!(news(&mut index, declared(1, 1, &[])), ["workload 1 gen 1 auto true"]);
}

#[test]
fn a_window_is_told_when_it_opens() {
    let mut index = index();
    // The epoch is a Thursday.
    opt(&mut index, &[("mode", "auto"), ("window", "Thu 01:00-02:00 UTC")]);
    news(&mut index, declared(1, 1, &[]));
    let open = |facts: Vec<Fact>| match &facts[..] {
        [Fact::Workload(w)] => w.permission.window.map(|w| w.open),
        _ => None,
    };
    assert_eq!(index.tick(Timestamp::from_seconds(3599)), []);
    assert_eq!(open(index.tick(Timestamp::from_seconds(3600))), Some(true));
    assert_eq!(index.tick(Timestamp::from_seconds(3601)), []);
    assert_eq!(open(index.tick(Timestamp::from_seconds(7200))), Some(false));
}

#[test]
fn a_mistake_is_noticed_once_for_each_change_of_it() {
    let mut index = index();
    let messages = |made: Made| made.notices.len();
    assert_eq!(messages(opt(&mut index, &[("mode", "Auto")])), 1, "even where nobody is opted in");
    assert_eq!(messages(opt(&mut index, &[("mode", "Auto")])), 0);
    assert_eq!(messages(opt(&mut index, &[("mode", "auto")])), 0);
    let mut say = |news| messages(index.news(&"shop".into(), news, Timestamp::EPOCH));
    assert_eq!(say(declared(1, 1, &[("windw", "x")])), 1);
    assert_eq!(say(declared(1, 2, &[("windw", "x")])), 0);
    assert_eq!(say(declared(1, 2, &[("window", "x"), ("windw", "x")])), 2);
}

#[test]
fn a_node_is_believed_only_about_its_own_pods() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, running(7, "web-1", "n1"));
    assert_eq!(index.pod_on("n2", "shop", "web-1"), None);
    assert_eq!(index.targets(), BTreeMap::from([("n1".into(), None)]));
    let kubelet = Some(("10.0.0.1".into(), 10250));
    index.node_is("n1".into(), Node { kubelet: kubelet.clone(), addresses: vec![], allocatable_cores: None });
    index.node_is("n2".into(), Node { kubelet: None, addresses: vec![], allocatable_cores: None });
    assert_eq!(index.targets(), BTreeMap::from([("n1".into(), kubelet)]));
}

#[test]
fn of_two_pods_of_one_name_the_one_that_lives_is_meant() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, running(7, "db-0", "n1"));
    news(&mut index, running(8, "db-0", "n1"));
    let News::PodIs(mut old) = running(7, "db-0", "n1") else { unreachable!() };
    old.record.terminating = true;
    news(&mut index, News::PodIs(old));
    assert_eq!(index.pod_on("n1", "shop", "db-0"), Some(uid(8)));
    assert_eq!(news(&mut index, News::PodGone(uid(7))), ["pod 7 gone"]);
    assert_eq!(index.pod_on("n1", "shop", "db-0"), Some(uid(8)));
}

#[test]
fn the_first_look_is_complete_when_all_lists_are() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    assert!(!index.full());
    for kind in KINDS {
        news(&mut index, News::Workload(kind, List::Done));
    }
    assert!(!index.full());
    news(&mut index, News::Pods(List::Done));
    assert!(index.full());
}

/// A running pod with one endpoint at `container`'s port 8080, and what can be wrong with it.
fn reachable(n: u128, address: &str, change: impl FnOnce(&mut Running)) -> News {
    let News::PodIs(mut running) = running(n, &format!("web-{n}"), "n1") else { unreachable!() };
    let id = crate::workload::ProbeId { container: "app".into(), kind: crate::probe::ProbeKind::Liveness };
    running.record.containers = vec![crate::workload::Container {
        name: "app".into(),
        running_since: Some(Timestamp::EPOCH),
        ready: true,
        started: true,
        restarts: 0,
        last_end: None,
    }];
    running.reach = Reach {
        address: address.parse().ok(),
        host_network: false,
        running: true,
        endpoints: [Endpoint { probe: id, way: Ok((Way::Http { tls: false, path: "/live".into() }, 8080)) }].into(),
    };
    change(&mut running);
    News::PodIs(running)
}

/// Whom shadow checks may ask, and where: `Err` as the rule's word.
fn targets(index: &Index) -> Vec<(u128, Result<String, &'static str>)> {
    let mut candidates = index.candidates();
    candidates.sort_unstable();
    let asked = |c: &Candidate| index.target(c, 1, false).map(|(_, t)| t.to_string()).map_err(Rule::word);
    candidates.iter().map(|c| (c.pod.bits(), asked(c))).collect()
}

#[test]
fn a_pod_is_asked_at_its_own_address_only_where_somebody_says_on_and_nobody_off() {
    for (namespace, workload, asked) in [
        (&[("mode", "auto"), ("shadow-checks", "on")][..], &[][..], true),
        (&[("mode", "recommend")], &[("shadow-checks", "on")], true),
        (&[("mode", "auto")], &[], false),
        (&[("mode", "auto"), ("shadow-checks", "yes")], &[], false),
        (&[("mode", "auto"), ("shadow-checks", "on")], &[("shadow-checks", "off")], false),
        (&[("mode", "auto"), ("shadow-checks", "on")], &[("shadow-checks", "On")], false),
        (&[("mode", "auto"), ("shadow-checks", "on")], &[("skip", "")], false),
        (&[("mode", "auto"), ("shadow-checks", "on")], &[("mode", "off")], false),
        (&[("mode", "auto"), ("shadow-checks", "on")], &[("mode", "Auto")], false),
    ] {
        let mut index = index();
        opt(&mut index, namespace);
        news(&mut index, declared(1, 1, workload));
        news(&mut index, reachable(7, "10.0.0.7", |_| ()));
        let expected = if asked { vec![(7, Ok("http://10.0.0.7:8080/live".to_owned()))] } else { vec![] };
        assert_eq!(targets(&index), expected, "{namespace:?} {workload:?}");
    }
}

#[test]
fn an_address_that_is_none_of_a_pod_is_never_asked() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto"), ("shadow-checks", "on")]);
    news(&mut index, declared(1, 1, &[]));
    let addresses = ["10.9.9.9", "203.0.113.9", "2001:db8::9"].map(|a| a.parse().unwrap()).to_vec();
    index.node_is("n9".into(), Node { kubelet: Some(("n9".into(), 10250)), addresses, allocatable_cores: None });
    let refused = [
        // Of this machine, of its link, of nobody, of many.
        ["127.0.0.1", "::1", "169.254.169.254", "169.254.170.23", "fe80::1", "fe80::a9fe:a9fe"].as_slice(),
        &["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "ff0e::1"],
        // Of a node, of any type.
        &["10.9.9.9", "203.0.113.9", "2001:db8::9", "::ffff:10.9.9.9", "64:ff9b::10.9.9.9", "::10.9.9.9"],
        // Of a cloud.
        &["100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe"],
        &["fd00:100::100:200", "fd00:a9fe:a9fe::1", "fd00:42::42"],
        // The same in other clothes.
        &["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "64:ff9b::169.254.169.254"],
        &["64:ff9b::100.100.100.200", "64:ff9b:1::169.254.169.254", "::169.254.169.254", "::ffff:0:a9fe:a9fe"],
    ];
    for address in refused.concat() {
        news(&mut index, reachable(7, address, |_| ()));
        assert_eq!(targets(&index), [(7, Err("address"))], "{address}");
    }
    for address in ["10.9.9.8", "100.100.100.201", "203.0.113.8", "240.0.0.7", "2001:db8::8", "fd00:ec3::7"] {
        news(&mut index, reachable(7, address, |_| ()));
        assert!(targets(&index)[0].1.is_ok(), "{address}");
    }
    news(&mut index, reachable(7, "", |_| ()));
    assert_eq!(targets(&index), [(7, Err("no_address"))]);
}

#[test]
fn an_ipv4_address_is_not_asked_in_any_clothes_of_ipv6() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto"), ("shadow-checks", "on")]);
    news(&mut index, declared(1, 1, &[]));
    for (form, addresses) in [
        ("mapped", ["::ffff:169.254.169.254", "::ffff:10.0.0.7"]),
        ("compatible", ["::169.254.169.254", "::10.0.0.7"]),
        ("translated", ["::ffff:0:169.254.169.254", "::ffff:0:10.0.0.7"]),
        ("NAT64", ["64:ff9b::169.254.169.254", "64:ff9b::10.0.0.7"]),
        ("NAT64 of a site", ["64:ff9b:1::169.254.169.254", "64:ff9b:1:a9fe:a9:fe00::"]),
        ("6to4", ["2002:a9fe:a9fe::1", "2002:a00:7::1"]),
        ("ISATAP", ["2001:db8::5efe:169.254.169.254", "fd00:1::200:5efe:169.254.169.254"]),
        // The client's address stands inverted at the end, the server's in the middle.
        ("Teredo", ["2001:0:c000:201::5601:5601", "2001:0:a9fe:a9fe::1"]),
    ] {
        for address in addresses {
            news(&mut index, reachable(7, address, |_| ()));
            assert_eq!(targets(&index), [(7, Err("address"))], "{form}: {address}");
        }
    }
    for address in ["2001:1::7", "2003:a9fe:a9fe::1", "2001:db8::1:5efe:a9fe:a9fe", "2001:db8::5eff:a9fe:a9fe"] {
        news(&mut index, reachable(7, address, |_| ()));
        assert!(targets(&index)[0].1.is_ok(), "{address}");
    }
}

#[test]
fn a_pod_that_may_not_be_asked_says_by_which_rule() {
    let rules: [(fn(&mut Running), &str); 7] = [
        (|r| r.reach.host_network = true, "host_network"),
        (|r| r.reach.running = false, "not_running"),
        (|r| r.record.terminating = true, "not_running"),
        (|r| r.record.containers[0].running_since = None, "not_running"),
        (|r| r.record.containers[0].started = false, "not_running"),
        (|r| Arc::make_mut(&mut r.reach.endpoints)[0].way = Err(Unaskable::Headers), "headers"),
        (|r| Arc::make_mut(&mut r.reach.endpoints)[0].way = Err(Unaskable::Port), "port"),
    ];
    for (change, rule) in rules {
        let mut index = index();
        opt(&mut index, &[("mode", "auto"), ("shadow-checks", "on")]);
        news(&mut index, declared(1, 1, &[]));
        news(&mut index, reachable(7, "10.0.0.7", change));
        assert_eq!(targets(&index), [(7, Err(rule))]);
    }
    // Only the probes that the owner left us.
    let mut index = index();
    opt(&mut index, &[("mode", "auto"), ("shadow-checks", "on"), ("probes", "readiness")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, reachable(7, "10.0.0.7", |_| ()));
    assert_eq!(targets(&index), [(7, Err("not_running"))]);
}

#[test]
fn a_successor_at_the_same_address_is_never_asked_for_the_pod_that_is_gone() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto"), ("shadow-checks", "on")]);
    news(&mut index, declared(1, 1, &[]));
    news(&mut index, reachable(7, "10.0.0.7", |_| ()));
    let old = index.candidates().remove(0);
    let address = "10.0.0.7".parse().unwrap();
    assert!(index.holds(&old, address));
    // Both are known: nobody knows which of them has it.
    news(&mut index, reachable(8, "10.0.0.7", |_| ()));
    assert_eq!(targets(&index), [(7, Err("shared_address")), (8, Err("shared_address"))]);
    assert!(!index.holds(&old, address));
    news(&mut index, News::PodGone(uid(7)));
    assert_eq!(index.target(&old, 1, false).map_err(Rule::word).unwrap_err(), "gone");
    assert!(!index.holds(&old, address));
    assert_eq!(targets(&index), [(8, Ok("http://10.0.0.7:8080/live".to_owned()))]);
}

#[test]
fn replicas_share_what_their_endpoints_are() {
    let mut index = index();
    opt(&mut index, &[("mode", "auto")]);
    news(&mut index, declared(1, 1, &[]));
    for n in 7..10 {
        news(&mut index, reachable(n, &format!("10.0.0.{n}"), |_| ()));
    }
    let pods = &index.spaces["shop"].pods;
    assert!(Arc::ptr_eq(&pods[&uid(7)].running.reach.endpoints, &pods[&uid(9)].running.reach.endpoints));
}
