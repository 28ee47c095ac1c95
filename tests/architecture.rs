//! The walls of the house: who may import whom, what the pure rooms may not know, and how every file begins.
//!
//! ARCHITECTURE.md shows the same table; `UPDATE=1 cargo test --test architecture` writes it anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The shared vocabulary: each may use those above it.
    Word,
    /// Pure and synchronous: time and chance are arguments.
    Core,
    /// Talks to the world.
    Edge,
}
use Kind::{Core, Edge, Word};

/// Every room in reading order, and what it may use besides the words.
const ROOMS: &[(&str, Kind, &[&str])] = &[
    ("units", Word, &[]),
    ("probe", Word, &[]),
    ("reason", Word, &[]),
    ("policy", Word, &[]),
    ("workload", Word, &[]),
    ("change", Word, &[]),
    ("memory", Word, &[]),
    ("observation", Word, &[]),
    ("evidence", Core, &[]),
    ("model", Core, &["evidence"]),
    // A forecast serves the warning: whoever chooses numbers does not see it.
    ("forecast", Core, &["evidence"]),
    ("decide", Core, &["evidence", "model"]),
    // Not model, not decide: the judge is not the one who chose.
    ("verify", Core, &["evidence"]),
    // A revert is a wish like any other.
    ("plan", Core, &["decide", "verify"]),
    ("engine", Core, &["evidence", "model", "forecast", "decide", "verify", "plan"]),
    // Not model: a simulator that shares our assumptions proves nothing. Both share `probe`, the contract.
    ("sim", Core, &[]),
    // The trace format: bytes in, rows out; who opens the file is the edge.
    ("record", Core, &[]),
    ("replay", Core, &["record"]),
    // Data in, text out: whoever has something to show draws it here.
    ("picture", Core, &["evidence", "decide", "record", "replay"]),
    ("crd", Edge, &[]),
    ("annotations", Edge, &[]),
    ("objects", Edge, &["annotations"]),
    ("cluster", Edge, &[]),
    ("ask", Edge, &[]),
    ("load", Edge, &["record"]),
    ("store", Edge, &["evidence", "decide", "engine", "crd", "annotations", "cluster"]),
    // Not act: who looks does not touch.
    ("observe", Edge, &["annotations", "objects", "cluster", "ask"]),
    // Another source of the same facts: it knows the words and nothing of who asks.
    ("prometheus", Edge, &["cluster"]),
    // Not observe: it reads afresh.
    ("act", Edge, &["annotations", "objects", "cluster"]),
    ("config", Edge, &[]),
    ("telemetry", Edge, &["engine", "config"]),
    ("api", Edge, &["telemetry"]),
    // The only room that sees both `observe` and `act`.
    (
        "run",
        Edge,
        &[
            "evidence",
            "decide",
            "verify",
            "plan",
            "engine",
            "sim",
            "record",
            "replay",
            "crd",
            "annotations",
            "objects",
            "cluster",
            "ask",
            "load",
            "store",
            "observe",
            "prometheus",
            "act",
            "config",
            "telemetry",
            "api",
        ],
    ),
    (
        "cli",
        Edge,
        &[
            "evidence",
            "decide",
            "engine",
            "sim",
            "record",
            "replay",
            "picture",
            "crd",
            "annotations",
            "ask",
            "load",
            "store",
            "prometheus",
            "config",
            "telemetry",
            "run",
        ],
    ),
];

/// What a room may not do although a rule says so: file, rule, reason. One that is no longer needed fails the test.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// The longest file. Where one passes it, it asks to be two.
const LONGEST_FILE: usize = 600;

/// Crates that talk to the world, wait, or tell it what happens.
const EDGE_CRATES: [&str; 8] =
    ["tokio", "kube", "k8s_openapi", "k8s_metrics", "hyper", "futures", "tracing", "reqwest"];
/// Modules of the standard library that do.
const EDGE_STD: [&str; 5] = ["fs", "net", "env", "process", "thread"];
/// Names that bring time, entropy, or an order that differs from run to run.
const EDGE_NAMES: [(&str, &str); 11] = [
    ("now", "time is an argument"),
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("HashMap", "its order differs from run to run: take a BTreeMap"),
    ("HashSet", "its order differs from run to run: take a BTreeSet"),
    ("RandomState", "chance is an argument"),
    ("OsRng", "chance is an argument"),
    ("SysRng", "chance is an argument"),
    ("ThreadRng", "chance is an argument"),
    ("getrandom", "chance is an argument"),
    ("from_os_rng", "chance is an argument"),
];
/// Macros that print.
const EDGE_MACROS: [&str; 5] = ["println", "print", "eprintln", "eprint", "dbg"];

/// Something against the rules.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    rule: String,
    why: &'static str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder with this ending, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// The modules that a file of `src/` is: `src/cli/mod.rs` is `[cli]`, `src/cli/exit.rs` is `[cli, exit]`.
fn modules(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

/// Walks one file.
struct Walker<'a> {
    file: &'a str,
    modules: Vec<String>,
    kind: Kind,
    may: BTreeSet<&'a str>,
    findings: Vec<Finding>,
}

impl Walker<'_> {
    fn find(&mut self, line: usize, rule: String, why: &'static str) {
        self.findings.push(Finding { file: self.file.to_owned(), line, rule, why });
    }

    /// Judges a path, given by its segments.
    fn path(&mut self, segments: &[String], line: usize) {
        let supers = segments.iter().take_while(|s| *s == "super").count();
        let room = match segments.first().map(String::as_str) {
            Some("crate" | "probe_tuner") => segments.get(1),
            Some("super") if supers >= self.modules.len() => segments.get(supers),
            _ => None,
        };
        if let Some(room) = room
            && ROOMS.iter().any(|(name, ..)| name == room)
            && !self.may.contains(room.as_str())
        {
            self.find(line, format!("uses {room}"), "the table of rooms does not allow it");
        }
        if self.kind == Edge {
            return;
        }
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [first, ..] if EDGE_CRATES.contains(first) => {
                self.find(line, format!("uses {first}"), "core rooms are pure and synchronous");
            }
            ["std", module, ..] if EDGE_STD.contains(module) => {
                self.find(line, format!("uses std::{module}"), "core rooms do not see the world");
            }
            _ => {}
        }
        for segment in segments {
            // A variable may well be called `now`: that is the argument.
            let variable = segments.len() == 1 && segment == "now";
            if let Some((name, why)) = EDGE_NAMES.iter().find(|(name, _)| name == segment && !variable) {
                self.find(line, format!("uses {name}"), why);
            }
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
            syn::UseTree::Name(name) => self.path(&with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Rename(name) => self.path(&with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Glob(glob) => self.path(before, glob.span().start().line),
        }
    }

    /// The insides of a macro are no syntax yet: its paths are read from the tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&std::mem::take(&mut path), line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.path(&std::mem::take(&mut path), line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.path(&std::mem::take(&mut path), line);
                    colons = 0;
                }
            }
        }
        self.path(&path, line);
    }
}

impl<'ast> Visit<'ast> for Walker<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.path(&segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.path(&["_".to_owned(), call.method.to_string()], call.method.span().start().line);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let last = mac.path.segments.last().unwrap().ident.to_string();
        if self.kind != Edge && EDGE_MACROS.contains(&last.as_str()) {
            self.find(mac.span().start().line, format!("uses {last}!"), "an explanation belongs in what is returned");
        }
        self.tokens(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.modules.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let (Some(asynchronous), true) = (signature.asyncness, self.kind != Edge) {
            self.find(asynchronous.span().start().line, "is async".into(), "core rooms never wait");
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        if self.kind != Edge {
            self.find(block.span().start().line, "is async".into(), "core rooms never wait");
        }
        visit::visit_expr_async(self, block);
    }
}

/// All that is wrong with the source of one file of `src/`.
fn judge(file: &str, source: &str) -> Vec<Finding> {
    let modules = modules(file);
    let room = modules.first().map_or("lib", String::as_str);
    let (kind, may): (Kind, BTreeSet<&str>) = if room == "main" {
        (Edge, ["cli"].into())
    } else {
        let Some(at) = ROOMS.iter().position(|(name, ..)| *name == room) else { return Vec::new() };
        let (_, kind, uses) = ROOMS[at];
        let words = ROOMS.iter().enumerate().filter(|(i, (_, k, _))| *k == Word && (kind != Word || *i < at));
        (kind, words.map(|(_, (name, ..))| *name).chain(uses.iter().copied()).chain([room]).collect())
    };
    let mut walker = Walker { file, modules: modules.clone(), kind, may, findings: Vec::new() };
    walker.visit_file(&syn::parse_file(source).unwrap_or_else(|e| unreadable(file, &e)));
    walker.findings
}

fn unreadable(file: &str, error: &syn::Error) -> ! {
    panic!("{file}: {error}")
}

/// Fails with every finding that no exception covers, and with every exception that covers nothing.
#[track_caller]
fn settle(mut findings: Vec<Finding>, rules: impl Fn(&str) -> bool) {
    findings.sort();
    let covers = |exception: &(&str, &str, &str), f: &Finding| exception.0 == f.file && exception.1 == f.rule;
    let mut complaints: Vec<String> = findings
        .iter()
        .filter(|f| !EXCEPTIONS.iter().any(|e| covers(e, f)))
        .map(|f| format!("{}:{}: {}: {}", f.file, f.line, f.rule, f.why))
        .collect();
    for exception in EXCEPTIONS.iter().filter(|e| rules(e.1)) {
        if !findings.iter().any(|f| covers(exception, f)) {
            complaints.push(format!(
                "{}: the exception {:?} is no longer needed: take it out of the list",
                exception.0, exception.1
            ));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn rooms_import_only_what_the_table_allows_and_core_rooms_are_pure() {
    let findings =
        files("src", "rs").into_iter().flat_map(|path| judge(&name(&path), &fs::read_to_string(&path).unwrap()));
    settle(findings.collect(), |rule| rule.starts_with("uses ") || rule == "is async");
}

#[test]
fn the_walker_sees_through_groups_renames_macros_and_super() {
    #[track_caller]
    fn check(file: &str, source: &str, rules: &[&str]) {
        let found: Vec<String> = judge(file, source).into_iter().map(|f| format!("{}:{}", f.line, f.rule)).collect();
        assert_eq!(found, rules, "{source}");
    }
    check(
        "src/verify/mod.rs",
        "use crate::{units::Span,\n decide::{self, Judgement}};",
        &["2:uses decide", "2:uses decide"],
    );
    check("src/verify/mod.rs", "use crate::model as m;", &["1:uses model"]);
    check("src/verify/mod.rs", "use crate::act::*;", &["1:uses act"]);
    check("src/verify/mod.rs", "fn f() { crate::plan::make() }", &["1:uses plan"]);
    check("src/verify/mod.rs", "fn f() { format!(\"{}\", crate::plan::X); }", &["1:uses plan"]);
    check("src/verify/mod.rs", "use super::plan::Plan;", &["1:uses plan"]);
    check("src/verify/inner.rs", "use super::super::plan::Plan;", &["1:uses plan"]);
    check("src/verify/inner.rs", "use super::plan::Plan;", &[]);
    check("src/verify/mod.rs", "mod tests { use super::*; use super::super::plan; }", &["1:uses plan"]);
    check("src/verify/mod.rs", "use crate::{units, evidence}; use super::change::Change;", &[]);
    check("src/policy.rs", "use crate::workload::Pod;", &["1:uses workload"]);
    check("src/policy.rs", "use crate::{units, probe, reason};", &[]);
    check("src/main.rs", "fn main() { probe_tuner::run::daemon() }", &["1:uses run"]);
    check(
        "src/model/mod.rs",
        "use std::{collections::{BTreeMap, HashMap}, fs};",
        &["1:uses HashMap", "1:uses std::fs"],
    );
    check("src/model/mod.rs", "fn f() { std::time::Instant::now(); }", &["1:uses Instant", "1:uses now"]);
    check("src/model/mod.rs", "fn f() { clock.now(); }", &["1:uses now"]);
    check("src/model/mod.rs", "fn f(now: u64) -> u64 { g!(now); now }", &[]);
    check(
        "src/model/mod.rs",
        "async fn f() { tokio::spawn(async {}); }",
        &["1:is async", "1:uses tokio", "1:is async"],
    );
    check(
        "src/model/mod.rs",
        "fn f() { println!(\"x\"); tracing::info!(\"x\"); }",
        &["1:uses println!", "1:uses tracing"],
    );
    check("src/run/mod.rs", "async fn f() { println!(\"{:?}\", std::env::args()); }", &[]);
}

#[test]
fn the_table_has_every_room_in_the_order_of_the_library() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let table: Vec<&str> = ROOMS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(declared, table);
}

#[test]
fn a_room_uses_only_rooms_that_are_read_before_it() {
    for (at, (room, _, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            assert!(ROOMS[..at].iter().any(|(name, ..)| name == used), "{room} uses {used}, which stands below it");
        }
    }
}

/// The documentation that a file begins with.
fn doc(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map_while(|line| line.strip_prefix("//!")).map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn every_file_says_what_it_is_and_every_room_what_it_takes_gives_and_never_does() {
    let mut findings = Vec::new();
    for path in ["src", "tests", "benches", "examples"].iter().flat_map(|folder| files(folder, "rs")) {
        let (file, doc) = (name(&path), doc(&path));
        let mut find = |rule: &str, why| {
            findings.push(Finding { file: file.clone(), line: 1, rule: rule.to_owned(), why });
        };
        if doc.trim().is_empty() {
            find("begins without //!", "a reader wants to know what it is");
        }
        let door = file.strip_prefix("src/").and_then(|f| f.strip_suffix("/mod.rs")).is_some_and(|f| !f.contains('/'));
        for word in ["**Takes**", "**Gives**", "**Never**"] {
            if door && !doc.contains(word) {
                find("lacks one of Takes, Gives, Never", "the door of a room says what passes it");
            }
        }
    }
    settle(findings, |rule| rule.starts_with("begins") || rule.starts_with("lacks"));
}

#[test]
fn no_file_is_too_long_and_none_is_called_utils() {
    let mut findings = Vec::new();
    let all = ["src", "tests", "benches", "examples"];
    for path in all.iter().flat_map(|folder| [files(folder, "rs"), files(folder, "go")].concat()) {
        let (file, lines) = (name(&path), fs::read_to_string(&path).unwrap().lines().count());
        let mut find = |rule: String, why| findings.push(Finding { file: file.clone(), line: lines, rule, why });
        if lines > LONGEST_FILE {
            find(format!("longer than {LONGEST_FILE} lines"), "it asks to be two");
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if ["utils", "util", "helpers", "helper", "common", "misc", "manager"].contains(&stem) {
            find(format!("is called {stem}"), "names come from the domain");
        }
    }
    settle(findings, |rule| rule.starts_with("longer") || rule.starts_with("is called"));
}

/// The table as ARCHITECTURE.md shows it.
fn table() -> String {
    let mut text = String::from("| room | what it does | may use |\n|---|---|---|\n");
    for (title, of) in [("words", Word), ("core", Core), ("edge", Edge)] {
        for (room, _, uses) in ROOMS.iter().filter(|(_, kind, _)| *kind == of) {
            let (file, folder) = (root().join(format!("src/{room}.rs")), root().join(format!("src/{room}/mod.rs")));
            let doc = doc(if file.exists() { &file } else { &folder });
            let first = without_links(&doc.split("\n\n").next().unwrap_or_default().replace('\n', " "));
            let may = match (of, *uses) {
                (Word, _) => "words above".to_owned(),
                (_, []) => "words".to_owned(),
                (_, uses) => format!("words, {}", uses.join(", ")),
            };
            text += &format!("| `{room}` ({title}) | {} | {may} |\n", first.trim());
        }
    }
    text
}

/// Rustdoc's links, "[`X`](crate::x)" and "[`X`]", as plain words.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let (name, after) = after.split_once("`]").unwrap();
        plain += &format!("{before}`{name}`");
        rest = match after.strip_prefix('(').and_then(|link| link.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain + rest
}

#[test]
fn architecture_md_shows_this_very_table() {
    const BEGIN: &str = "<!-- rooms: written by tests/architecture.rs -->\n";
    const END: &str = "<!-- end of rooms -->\n";
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert_eq!(shown, table(), "run UPDATE=1 cargo test --test architecture");
    }
}
