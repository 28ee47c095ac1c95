//! What others serialise: the gRPC health message, a Prometheus' answer, our own record in the cluster.

use probe_tuner::ask::{grpc_request, grpc_status};
use probe_tuner::crd::ProbeTuning;
use probe_tuner::prometheus::{Unreadable, parse};
use serde_json::{Value, json};

/// What follows the message does not count, a field more does not either, and a message cut short is none.
pub fn grpc(bytes: &[u8]) {
    let found = grpc_status(bytes);
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, message].concat()
    };
    if let Some(status) = found {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let message = &bytes[5..5 + length];
        assert_eq!(grpc_status(&framed(message)), Some(status));
        for field in [&[0x10, 0x7f][..], &[0x1a, 1, b'x'], &[0x25, 1, 2, 3, 4], &[0x21, 1, 2, 3, 4, 5, 6, 7, 8]] {
            assert_eq!(grpc_status(&framed(&[message, field].concat())), Some(status));
            assert_eq!(grpc_status(&framed(&[field, message].concat())), Some(status));
        }
        assert_eq!(grpc_status(&framed(&[message, &[0x08, 2]].concat())), Some(2));
        assert_eq!(grpc_status(&bytes[..5 + length - usize::from(length > 0)]).is_some(), length == 0);
    }
    // Whatever a service is called, the request is a message whose only field is that name: no status of any kind.
    let request = grpc_request(&String::from_utf8_lossy(bytes));
    assert_eq!(u32::from_be_bytes(request[1..5].try_into().unwrap()) as usize, request.len() - 5);
    assert_eq!(grpc_status(&request), if bytes.is_empty() { Some(0) } else { None });
}

/// Samples are finite, words fit a terminal, and the same answer written anew reads as the same.
pub fn prometheus(bytes: &[u8]) {
    let words = |text: &str| text.chars().count() <= 301 && !text.chars().any(char::is_control);
    match parse(bytes) {
        Ok(answer) => {
            assert!(answer.series.iter().flat_map(|s| &s.samples).all(|(_, value)| value.is_finite()));
            assert!(answer.warnings.len() <= 10 && answer.warnings.iter().all(|w| words(w)));
            let points = |samples: &[(i64, f64)]| -> Vec<Value> {
                samples.iter().map(|(at, value)| json!([*at as f64 / 1e3, value.to_string()])).collect()
            };
            let result: Vec<Value> =
                answer.series.iter().map(|s| json!({"metric": s.labels, "values": points(&s.samples)})).collect();
            let body = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
            let again = parse(body.to_string().as_bytes()).unwrap();
            assert_eq!((again.series, again.malformed), (answer.series, 0));
        }
        Err(Unreadable::Refused { kind, message }) => assert!(words(&kind) && words(&message)),
        Err(Unreadable::Kind(kind)) => assert!(words(&kind)),
        Err(Unreadable::Shape(_)) => {}
    }
}

/// What is remembered is written down, and remembered as the same.
pub fn memory(bytes: &[u8]) {
    let Ok(object) = serde_json::from_slice::<ProbeTuning>(bytes) else { return };
    let _ = object.workload();
    match object.recall() {
        Ok(memory) => {
            let Some(probe_tuner::crd::Kept::Read(status)) = &object.status else {
                assert_eq!(memory, probe_tuner::memory::Memory::default());
                return;
            };
            let mut status = (**status).clone();
            status.remember(&memory).unwrap();
            let text = serde_json::to_vec(&ProbeTuning::new(object.metadata, status)).unwrap();
            let again: ProbeTuning = serde_json::from_slice(&text).unwrap();
            assert_eq!(again.recall(), Ok(memory));
        }
        Err(why) => assert!(why.to_string().len() < 4096, "{why}"),
    }
}
