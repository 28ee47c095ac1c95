//! `grpc.health.v1.Health/Check` over HTTP/2 without TLS, its two messages written by hand.
//!
//! ```text
//! message HealthCheckRequest  { string service = 1; }
//! message HealthCheckResponse { enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
//!                               ServingStatus status = 1; }
//! ```
//! Each message comes after a byte that says "not compressed" and its length in four bytes, the largest first.

use super::{BODY_LIMIT, Reply, USER_AGENT, words};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT as AGENT};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// `SERVING`.
const SERVING: u64 = 1;

/// The request's bytes on the wire.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// The `ServingStatus` in an answer's bytes; `None` where they are no such answer: cut off, compressed, or another
/// message. A status that is not there is 0, as protobuf has it; of several the last counts; other fields are passed over.
pub fn status(framed: &[u8]) -> Option<u64> {
    let (prefix, rest) = framed.split_first_chunk::<5>()?;
    let [0, length @ ..] = *prefix else { return None };
    let mut message = rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut message)?,
            (1, _) => return None,
            (_, 0) => {
                varint(&mut message)?;
            }
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Runs what HTTP/2 does beside the request, and ends it when the check has ended.
#[derive(Clone, Default)]
struct Beside(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Beside {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            future.await;
        });
    }
}

/// Ends its tasks when it goes: a task holds a handle too, so the set would keep itself alive.
struct Ends(Beside);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Asks over a fresh connection, and drops it.
pub(super) async fn ask(stream: TcpStream, authority: &str, service: &str) -> Reply {
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(AGENT, USER_AGENT)
        .body(Full::new(Bytes::from(request(service))));
    let request = match request {
        Ok(request) => request,
        Err(why) => return Reply::Broken(why.to_string()),
    };
    let tasks = Ends(Beside::default());
    let answer = async {
        let (mut sender, connection) = http2::handshake(tasks.0.clone(), TokioIo::new(stream)).await?;
        tasks.0.execute(connection);
        let response = sender.send_request(request).await?;
        let (head, mut body) = response.into_parts();
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        while data.len() <= BODY_LIMIT {
            let Some(frame) = body.frame().await else { break };
            match frame?.into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        Ok::<_, hyper::Error>((head, data, trailers))
    };
    match answer.await {
        Err(why) => Reply::Broken(words(&why)),
        Ok((head, ..)) if head.status != hyper::StatusCode::OK => Reply::Status(head.status.as_u16()),
        Ok((head, data, trailers)) => {
            // A call that fails at once has its status among the headers.
            let code = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
            match (code.map(|c| c.as_bytes()), status(&data)) {
                (Some(b"0"), Some(SERVING)) => Reply::Healthy,
                (Some(b"0"), Some(other)) => Reply::NotServing(Some(other)),
                (Some(b"0"), None) => Reply::Broken("the answer is no HealthCheckResponse".to_owned()),
                (Some(_), _) => Reply::NotServing(None),
                (None, _) => Reply::Broken("the answer has no grpc-status".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_protobuf_writes() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("shop"), [0, 0, 0, 0, 6, 0x0a, 4, b's', b'h', b'o', b'p']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 308);
    }

    #[test]
    fn an_answer_is_read_as_protobuf_means_it() {
        for (bytes, expected) in [
            (&[0, 0, 0, 0, 2, 0x08, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 0x08, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            // An unknown field of each kind before, and the last of two counts.
            (&[0, 0, 0, 0, 8, 0x10, 9, 0x1a, 1, b'x', 0x08, 2, 0x08], None),
            (&[0, 0, 0, 0, 9, 0x10, 9, 0x1a, 1, b'x', 0x08, 2, 0x08, 1], Some(1)),
            (&[0, 0, 0, 0, 7, 0x25, 1, 2, 3, 4, 0x08, 1], Some(1)),
            // Compressed, cut off, a length that lies, a varint without an end, no message at all.
            (&[1, 0, 0, 0, 2, 0x08, 1], None),
            (&[0, 0, 0, 0, 2, 0x08], None),
            (&[0, 0, 0, 0, 3, 0x1a, 0xff, 0x01], None),
            (&[0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], None),
            (b"HTTP/1.1 400", None),
            (&[], None),
        ] {
            assert_eq!(status(bytes), expected, "{bytes:?}");
        }
    }
}
