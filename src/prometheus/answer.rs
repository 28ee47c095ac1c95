//! The query API's answer: bytes become series, whatever the bytes are.
//!
//! Facts: `prometheus/prometheus:web/api/v1/api.go` and its documentation of the HTTP API: `status`, `data.resultType`,
//! `data.result`, `errorType`, `error`, `warnings`; values are strings, moments are seconds with a fraction.

use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt;

/// One series and its samples.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Series {
    /// All its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Moments in milliseconds since the Unix epoch, each with a finite value; as the server ordered them.
    pub samples: Vec<(i64, f64)>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Answer {
    /// The series.
    pub series: Vec<Series>,
    /// What the server had to say besides: a partial answer is told here.
    pub warnings: Vec<String>,
    /// Samples that were no finite number or had no moment, and were left out.
    pub malformed: u64,
}

/// Why an answer could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or cut, or of another shape.
    #[error("{0}")]
    Shape(String),
    /// `status: error`.
    #[error("{kind}: {message}")]
    Refused {
        /// `errorType`, as `bad_data`, `execution`, `timeout`.
        kind: String,
        /// `error`.
        message: String,
    },
    /// Another `resultType` than a matrix or a vector.
    #[error("an answer of type {0:?}, wanted a matrix")]
    Kind(String),
}

#[derive(Deserialize)]
struct Wire<D> {
    #[serde(default)]
    status: String,
    #[serde(default = "Option::default")]
    data: Option<D>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Vec<Raw>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Point>,
    #[serde(default)]
    value: Option<Point>,
}

/// A moment and a value, or something that is neither.
struct Point(Option<(i64, f64)>);

/// A number, as JSON or as a string; anything else is `None` and no reason to refuse the rest.
struct Number(Option<f64>);

/// The longest words of a server that are shown.
const WORDS: usize = 300;

/// Most warnings that are kept of one answer.
const MOST_WARNINGS: usize = 10;

/// Reads the answer to a query: a matrix, or a vector as a matrix of single samples.
///
/// # Errors
/// [`Unreadable`]; never panics, whatever the bytes are.
pub fn parse(bytes: &[u8]) -> Result<Answer, Unreadable> {
    let (data, warnings) = unwrap::<Data>(bytes)?;
    if !matches!(data.result_type.as_str(), "matrix" | "vector") {
        return Err(Unreadable::Kind(cut(&data.result_type)));
    }
    let mut answer = Answer { series: Vec::with_capacity(data.result.len()), warnings, malformed: 0 };
    for Raw { metric, values, value } in data.result {
        let told = values.len() + usize::from(value.is_some());
        let samples: Vec<(i64, f64)> = values.into_iter().chain(value).filter_map(|p| p.0).collect();
        answer.malformed += (told - samples.len()) as u64;
        answer.series.push(Series { labels: metric, samples });
    }
    Ok(answer)
}

/// Reads the answer to a question for a label's values.
pub(super) fn parse_values(bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
    Ok(unwrap::<Vec<String>>(bytes)?.0)
}

fn unwrap<D: DeserializeOwned>(bytes: &[u8]) -> Result<(D, Vec<String>), Unreadable> {
    // The status first: what stands in `data` beside an error is nobody's business.
    let shape = |e: serde_json::Error| Unreadable::Shape(format!("the answer is not what the API speaks: {e}"));
    let wire = match serde_json::from_slice::<Wire<D>>(bytes) {
        Ok(wire) => wire,
        Err(error) => match serde_json::from_slice::<Wire<IgnoredAny>>(bytes) {
            Ok(wire) if wire.status == "error" => Wire { data: None, ..unlike(wire) },
            _ => return Err(shape(error)),
        },
    };
    match (wire.status.as_str(), wire.data) {
        ("success", Some(data)) => {
            let mut warnings = wire.warnings.unwrap_or_default();
            warnings.truncate(MOST_WARNINGS);
            Ok((data, warnings.iter().map(|w| cut(w)).collect()))
        }
        ("error", _) => Err(Unreadable::Refused { kind: cut(&wire.error_type), message: cut(&wire.error) }),
        (status, _) => {
            let status = cut(status);
            Err(Unreadable::Shape(format!("the answer has status {status:?}, wanted \"success\" with data")))
        }
    }
}

fn unlike<D>(wire: Wire<IgnoredAny>) -> Wire<D> {
    let Wire { status, data: _, error_type, error, warnings } = wire;
    Wire { status, data: None, error_type, error, warnings }
}

/// A server's words as a terminal and a log line can take them.
pub(super) fn cut(text: &str) -> String {
    let mut plain: String = text.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(WORDS).is_some() {
        plain.push('…');
    }
    plain
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Point;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment and a value, [1700000000.5, \"3\"]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Point, A::Error> {
                let at: Option<Number> = seq.next_element()?;
                let value: Option<Number> = seq.next_element()?;
                let more = std::iter::from_fn(|| seq.next_element::<IgnoredAny>().transpose());
                let more = more.collect::<Result<Vec<_>, _>>()?.len();
                let both = at.and_then(|n| n.0).zip(value.and_then(|n| n.0));
                Ok(Point(both.filter(|_| more == 0).and_then(|(at, value)| Some((millis(at)?, value)))))
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}

/// Seconds of the Unix epoch as milliseconds, within a thousand years of it: what lies beyond is no scrape.
fn millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1_000.0).round();
    (millis.abs() < 3.2e13).then_some(millis as i64)
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Number, E> {
                Ok(Number(Some(n).filter(|n| n.is_finite())))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
                Ok(Number(Some(n as f64)))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Number, E> {
                Ok(Number(Some(n as f64)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                Ok(Number(text.parse().ok().filter(|n: &f64| n.is_finite())))
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Number, E> {
                Ok(Number(None))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Number, E> {
                Ok(Number(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Number(None))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Number(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"prober_probe_total","pod":"web-1"},"values":[[1700000000.123,"3"],[1700000015.123,"1.2345e+06"]]}
        ]},"warnings":["store 10.0.0.7 did not answer"]}"#;

    #[test]
    fn a_matrix_is_read_with_its_moments_to_the_millisecond_and_its_warnings() {
        let answer = parse(MATRIX.as_bytes()).unwrap();
        assert_eq!(answer.series[0].samples, [(1_700_000_000_123, 3.0), (1_700_000_015_123, 1_234_500.0)]);
        assert_eq!(answer.series[0].labels["pod"], "web-1");
        assert_eq!(answer.warnings, ["store 10.0.0.7 did not answer"]);
        assert_eq!(answer.malformed, 0);
    }

    #[test]
    fn an_error_is_told_in_the_servers_own_words_whatever_stands_beside_it() {
        for data in ["", r#""data":null,"#, r#""data":{"resultType":7},"#, r#""data":[1,2],"#] {
            let text = format!(
                r#"{{"status":"error",{data}"errorType":"execution","error":"query processing would load too many samples"}}"#
            );
            let Err(Unreadable::Refused { kind, message }) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!((&*kind, &*message), ("execution", "query processing would load too many samples"));
        }
    }

    #[test]
    fn samples_that_are_no_numbers_are_left_out_and_counted() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[
            [1,"NaN"],[2,"+Inf"],[3,"-Inf"],[4,"seven"],[5],[],[6,"6","6"],[7,null],[8,{"a":1}],["x","8"],[1e300,"9"],
            [true,"1"],[[1],"1"],[10,"10"],[11,11]]}]}}"#;
        let answer = parse(text.as_bytes()).unwrap();
        assert_eq!(answer.series[0].samples, [(10_000, 10.0), (11_000, 11.0)]);
        assert_eq!(answer.malformed, 13);
    }

    #[test]
    fn a_vector_is_a_matrix_of_one_sample_each_and_a_scalar_is_refused() {
        let vector =
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2"]}]}}"#;
        assert_eq!(parse(vector.as_bytes()).unwrap().series[0].samples, [(1_000, 2.0)]);
        let empty = r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#;
        assert_eq!(parse(empty.as_bytes()), Err(Unreadable::Kind("streams".into())));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
        assert!(matches!(parse(scalar.as_bytes()), Err(Unreadable::Shape(_))));
    }

    #[test]
    fn every_cut_of_an_answer_is_refused_and_none_panics() {
        for end in 0..MATRIX.len() {
            assert!(parse(&MATRIX.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_with_words() {
        for wrong in [
            "",
            "<html>sign in</html>",
            "null",
            "[]",
            "{}",
            r#"{"status":"success"}"#,
            r#"{"status":7}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":{}}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":7}}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":{"a":1}}]}}"#,
            "\u{feff}{}",
        ] {
            assert!(matches!(parse(wrong.as_bytes()), Err(Unreadable::Shape(_))), "{wrong}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
        assert!(parse(&[0xff, 0xfe, 0x00]).is_err());
    }

    #[test]
    fn a_servers_words_are_cut_and_obeyed_by_no_terminal() {
        let text = format!(r#"{{"status":"error","errorType":"e\u001b[31m","error":"{}"}}"#, "x".repeat(10_000));
        let Err(Unreadable::Refused { kind, message }) = parse(text.as_bytes()) else { panic!("not refused") };
        assert_eq!(kind, "e [31m");
        assert_eq!(message.chars().count(), WORDS + 1);
    }
}
