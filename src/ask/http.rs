//! A GET with two headers.

use super::{BODY_LIMIT, Reply, USER_AGENT, beside, words};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, LOCATION, USER_AGENT as AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Asks over a fresh connection, and drops it: the status, and where it says to look instead.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
) -> Result<(StatusCode, Option<String>), Reply> {
    let request = Request::get(path).header(HOST, authority).header(AGENT, USER_AGENT).body(Empty::<Bytes>::new());
    let request = match request {
        Ok(request) => request,
        Err(why) => return Err(Reply::Broken(why.to_string())),
    };
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(why) => return Err(Reply::Broken(words(&why))),
    };
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        let mut body = response.into_body();
        let mut read = 0;
        while read < BODY_LIMIT {
            match body.frame().await {
                Some(frame) => read += frame?.data_ref().map_or(0, Bytes::len),
                None => break,
            }
        }
        Ok::<_, hyper::Error>((status, location))
    };
    beside(connection, answer).await.map_err(|why| Reply::Broken(words(&why)))
}
