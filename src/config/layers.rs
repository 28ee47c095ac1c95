//! The four layers, merged; and where in them each value stands.

use super::mistake::{Mistake, Place};
use super::{DEFAULT, PREFIX};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::collections::BTreeMap;
use toml_edit::{ImDocument, TableLike};

/// A configuration file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path, as messages name it.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A value from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, as messages name it: `--listen`.
    pub flag: String,
    /// The key with its tables: `http.listen`.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What outranks the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file.
    pub file: Option<File>,
    /// Variables and their values; those without the prefix are none of ours.
    pub environment: Vec<(String, String)>,
    /// Flags, the last of a key counts.
    pub flags: Vec<Flag>,
}

/// The layers, merged.
pub(super) struct Layers {
    merged: Figment,
    /// Of each layer's name (figment's), where its values stand.
    places: BTreeMap<String, Layer>,
    pub mistakes: Vec<Mistake>,
}

enum Layer {
    File {
        path: String,
        document: Box<ImDocument<String>>,
    },
    /// One value of the environment or of a flag. Its text is read as a number or list where one is wanted.
    Given(Place),
}

/// A value and where it stands.
pub(super) struct Found {
    pub value: Value,
    /// `None` for a default.
    pub place: Option<Place>,
    /// As it is written there.
    pub text: String,
    /// Whether all that could be written there is text.
    pub given: bool,
}

impl Layers {
    pub fn new(sources: &Sources) -> Layers {
        let mut layers =
            Layers { merged: Figment::from(Toml::string(DEFAULT)), places: BTreeMap::new(), mistakes: Vec::new() };
        if let Some(file) = &sources.file {
            layers.add_file(file);
        }
        let known = keys();
        let mut environment: Vec<_> = sources.environment.iter().filter(|(name, _)| is_ours(name)).collect();
        environment.sort();
        for (name, value) in environment {
            let place = Place::Environment(name.clone());
            match known.iter().find(|key| variable(key) == *name) {
                Some(key) => layers.add_given(place, key, value),
                None => {
                    let nearest = nearest(name, known.iter().map(|k| variable(k)));
                    layers.mistakes.push(Mistake::Unknown { place, key: name.clone(), nearest });
                }
            }
        }
        for Flag { flag, key, value } in &sources.flags {
            let place = Place::Flag(flag.clone());
            if known.contains(key) {
                layers.add_given(place, key, value);
            } else {
                let nearest = nearest(key, known.iter().cloned());
                layers.mistakes.push(Mistake::Unknown { place, key: key.clone(), nearest });
            }
        }
        layers
    }

    fn add_file(&mut self, file: &File) {
        let path = file.name.clone();
        let document = match ImDocument::parse(file.text.clone()) {
            Ok(document) => document,
            Err(error) => {
                let line = line_of(&file.text, error.span().map_or(0, |s| s.start));
                let found = error.message().trim().replace('\n', ", ");
                self.mistakes.push(Mistake::Syntax { place: Place::File { path, line }, found });
                return;
            }
        };
        unknown_keys(&path, &file.text, document.as_table(), "", &mut self.mistakes);
        self.merge(Named { name: format!("file {path}"), data: Toml::string(&file.text).data() });
        self.places.insert(format!("file {path}"), Layer::File { path, document: Box::new(document) });
    }

    fn add_given(&mut self, place: Place, key: &str, value: &str) {
        let value =
            key.rsplit('.').fold(Value::from(value), |inner, part| Value::from(Dict::from([(part.to_owned(), inner)])));
        let dict = value.into_dict().unwrap_or_default();
        let name = format!("{place} {key}");
        self.merge(Named { name: name.clone(), data: Ok(Map::from([(Profile::Default, dict)])) });
        self.places.insert(name, Layer::Given(place));
    }

    fn merge(&mut self, provider: Named) {
        self.merged = std::mem::take(&mut self.merged).merge(provider);
    }

    /// The value that counts for a key, or `None` where a file has something else in the place of its table (which
    /// has been reported as a mistake already).
    pub fn find(&self, key: &str) -> Option<Found> {
        let value = self.merged.find_value(key).ok()?;
        let layer = self.merged.get_metadata(value.tag()).and_then(|m| self.places.get(&*m.name));
        Some(match layer {
            None => Found { text: print(&value), value, place: None, given: false },
            Some(Layer::Given(place)) => Found { text: print(&value), value, place: Some(place.clone()), given: true },
            Some(Layer::File { path, document }) => {
                let raw = document.raw();
                let span = span_of(document.as_table(), key).unwrap_or(0..0);
                let place = Some(Place::File { path: path.clone(), line: line_of(raw, span.start) });
                let text = shown(raw.get(span).unwrap_or_default());
                Found { value, place, text, given: false }
            }
        })
    }

    /// The default of a key.
    pub fn default(key: &str) -> Option<Found> {
        let value = Figment::from(Toml::string(DEFAULT)).find_value(key).ok()?;
        Some(Found { text: print(&value), value, place: None, given: false })
    }
}

/// A layer with a name by which its values are found again.
struct Named {
    name: String,
    data: Result<Map<Profile, Dict>, figment::Error>,
}

impl Provider for Named {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.data.clone()
    }
}

/// Every key of the embedded file, with its tables, in its order.
pub(super) fn keys() -> Vec<String> {
    fn walk(table: &dyn TableLike, prefix: &str, keys: &mut Vec<String>) {
        for (name, item) in table.iter() {
            let key = join(prefix, name);
            match item.as_table_like() {
                Some(inner) => walk(inner, &key, keys),
                None => keys.push(key),
            }
        }
    }
    let mut keys = Vec::new();
    let document = ImDocument::parse(DEFAULT).expect("the embedded file is TOML: a test reads it");
    walk(document.as_table(), "", &mut keys);
    keys
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace(['.', '-'], "_").to_uppercase())
}

/// Whether a variable is meant for us. Kubernetes gives every container variables for each Service of its namespace,
/// and ours is called probe-tuner: `PROBE_TUNER_SERVICE_HOST`, `PROBE_TUNER_PORT_9753_TCP_ADDR`. No key of ours looks
/// like these.
fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        && !["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part))
        && !name.ends_with("_PORT")
}

fn unknown_keys(path: &str, text: &str, table: &dyn TableLike, prefix: &str, mistakes: &mut Vec<Mistake>) {
    let known = keys();
    for (name, item) in table.iter() {
        let key = join(prefix, name);
        let begin = table.get_key_value(name).and_then(|(k, _)| k.span()).or_else(|| item.span());
        let place = Place::File { path: path.to_owned(), line: line_of(text, begin.map_or(0, |s| s.start)) };
        let is_table = known.iter().any(|k| k.starts_with(&format!("{key}.")));
        match item.as_table_like() {
            Some(inner) if is_table => unknown_keys(path, text, inner, &key, mistakes),
            None if is_table => mistakes.push(Mistake::Value {
                place,
                found: item.span().and_then(|s| text.get(s)).map(shown).unwrap_or_default(),
                wanted: "a table".into(),
                hint: format!("write [{key}] on a line of its own and its keys below"),
                key,
            }),
            _ if known.contains(&key) => {}
            _ => {
                let nearest = nearest(&key, known.iter().cloned());
                mistakes.push(Mistake::Unknown { place, key, nearest });
            }
        }
    }
}

/// The likeliest of `known`, if any is near. A key in the wrong table is nearest to its namesake.
fn nearest(key: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let last = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|k| (strsim::jaro_winkler(key, &k).max(strsim::jaro_winkler(&last(key), &last(&k))), k))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

fn span_of(table: &dyn TableLike, key: &str) -> Option<std::ops::Range<usize>> {
    match key.split_once('.') {
        Some((first, rest)) => span_of(table.get(first)?.as_table_like()?, rest),
        None => table.get(key)?.span(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// A value as a message shows it: in one line, cut to 80 characters.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn print(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, b) => b.to_string(),
        Value::Num(_, n) => {
            n.to_i128().map(|i| i.to_string()).or_else(|| n.to_f64().map(|f| f.to_string())).unwrap_or_default()
        }
        Value::Array(_, items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(", ")),
        _ => "something else".to_owned(),
    }
}
