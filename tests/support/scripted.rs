//! An API server that answers as a script says and notes down what it was asked.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// One answer of the script.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status code, headers and a body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Hang,
}

/// An object.
pub fn ok(object: Value) -> Answer {
    Answer::Say(200, vec![], object.to_string())
}

/// A refusal without causes, as RBAC, a failed `test` and a missing object are.
pub fn refuse(code: u16, message: &str) -> Answer {
    refuse_because(code, message, &[])
}

/// A refusal with causes, as admission policies and validation give.
pub fn refuse_because(code: u16, message: &str, causes: &[&str]) -> Answer {
    let causes: Vec<Value> = causes.iter().map(|c| json!({"message": c})).collect();
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message, "reason": "Forbidden", "details": {"causes": causes}});
    Answer::Say(code, vec![], status.to_string())
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `GET /path?query`.
    pub line: String,
    /// Of the body.
    pub content: Option<String>,
    /// The body, or null.
    pub body: Value,
}

/// How each request is answered.
type Rule = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// The rule and what was asked so far.
#[derive(Clone)]
pub struct Server {
    rule: Rule,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// A server that gives these answers in this order, and 500 when they are used up.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Server {
        let answers: Mutex<VecDeque<Answer>> = Mutex::new(answers.into_iter().collect());
        Server::answering(move |_| {
            let next = answers.lock().expect("no test panics here").pop_front();
            next.unwrap_or_else(|| refuse(500, "the script is at its end"))
        })
    }

    /// A server that answers each request by this rule.
    pub fn answering(rule: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
        Server { rule: Arc::new(rule), seen: Arc::default() }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let content = head.headers.get("content-type").map(|v| v.to_str().expect("ASCII").to_owned());
        let line = format!("{} {}", head.method, head.uri);
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let seen = Seen { line, content, body };
        let answer = (self.rule)(&seen);
        self.seen.lock().expect("no test panics here").push(seen);
        match answer {
            Answer::Hang => std::future::pending().await,
            Answer::Say(code, headers, body) => {
                let mut response = Response::builder().status(code);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Full::new(Bytes::from(body))).expect("a response")
            }
        }
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics here").clone()
    }

    /// The first lines of what was asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.line).collect()
    }
}
