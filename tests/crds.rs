//! The definitions under `deploy/` are those of the program.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{env, fs, path::Path};

/// Set it to write the file instead of comparing: `UPDATE=1 cargo test --test crds`.
const UPDATE: &str = "UPDATE";

#[test]
fn the_definitions_under_deploy_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/crds/probetunings.yaml");
    let yaml = probe_tuner::crd::yaml();
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &yaml).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), yaml, "write it anew: {UPDATE}=1 cargo test --test crds");
}

/// The API server refuses a definition whose lists and texts have no bound, or makes rules over them too dear.
#[test]
fn every_text_and_every_list_has_a_bound() {
    fn walk(path: &str, node: &serde_json::Value, unbounded: &mut Vec<String>) {
        let closed = node.get("enum").is_some() || node["format"] == "date-time";
        match node["type"].as_str() {
            Some("string") if !closed && node.get("maxLength").is_none() => unbounded.push(path.to_owned()),
            Some("array") if node.get("maxItems").is_none() => unbounded.push(path.to_owned()),
            _ => {}
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, unbounded);
        }
        if let Some(items) = node.get("items") {
            walk(&format!("{path}[]"), items, unbounded);
        }
    }
    let definition = serde_json::to_value(probe_tuner::crd::definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert!(schema["properties"]["status"]["properties"]["inFlight"]["properties"]["steps"]["maxItems"].is_number());
    let mut unbounded = Vec::new();
    walk("", schema, &mut unbounded);
    assert_eq!(unbounded, Vec::<String>::new());
}
