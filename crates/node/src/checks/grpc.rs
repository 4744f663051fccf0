//! The health check of the gRPC protocol, `grpc.health.v1.Health/Check` (contract `pods.md` 3.12). The two
//! messages are small enough to be written and read here.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{OUTPUT_BYTES_MAX, go_error};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// A message is preceded by whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;
/// The key of field 1 as a string, in the request, and as an enumeration, in the answer.
const SERVICE_KEY: u8 = 0x0a;
const STATUS_KEY: u8 = 0x08;
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";

/// Asks a server whether `service` is served; the error is what the probe says.
pub(crate) async fn grpc_check(
    host: &str,
    port: u16,
    service: &str,
    user_agent: &str,
    timeout: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let (authority, seconds) = (format!("{host}:{port}"), timeout.as_secs());
    let late = |reason: String| format!("timeout: failed to connect service {authority:?} within {seconds}s: {reason}");
    let stream = match timeout_at(deadline, TcpStream::connect(&authority)).await {
        Ok(connected) => connected.map_err(|error| late(go_error(&error)))?,
        Err(_) => return Err(late("context deadline exceeded".to_owned())),
    };
    match timeout_at(deadline, ask(stream, &authority, service, user_agent)).await {
        Ok(answer) => judge(answer.map_err(|error| format!("error: health rpc failed: {error}"))?),
        Err(_) => Err(format!("timeout: health rpc did not complete within {seconds}s")),
    }
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    code: String,
    text: String,
    message: Bytes,
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

async fn ask(stream: TcpStream, authority: &str, service: &str, user_agent: &str) -> Result<Reply, Problem> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = http::Request::post(format!("http://{authority}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", user_agent)
        .body(Full::new(request(service)))?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, OUTPUT_BYTES_MAX).collect().await?;
    // A refusal may come with the head alone.
    let said = body.trailers().cloned().unwrap_or(head.headers);
    let field = |name: &str| said.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Reply { code: field("grpc-status"), text: field("grpc-message"), message: body.to_bytes() })
}

/// The request for a service, framed.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE_KEY);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn judge(reply: Reply) -> Result<(), String> {
    let Reply { code, text, message } = reply;
    match code.as_str() {
        OK => {}
        UNIMPLEMENTED => {
            let refusal = format!("rpc error: code = Unimplemented desc = {text}");
            return Err(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {refusal}"
            ));
        }
        _ => return Err(format!("error: health rpc failed: rpc error: code = {code} desc = {text}")),
    }
    let status = match message.get(PREFIX_BYTES..) {
        Some([STATUS_KEY, 1, ..]) => return Ok(()),
        Some([STATUS_KEY, 2, ..]) => "NOT_SERVING",
        Some([STATUS_KEY, 3, ..]) => "SERVICE_UNKNOWN",
        // Nothing is what the first value looks like.
        Some(_) | None => "UNKNOWN",
    };
    Err(format!("service unhealthy (responded with {status:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: &str, message: &'static [u8]) -> Result<(), String> {
        judge(Reply { code: code.to_owned(), text: "no".to_owned(), message: Bytes::from_static(message) })
    }

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request("db").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'd', b'b']);
        let long = request(&"x".repeat(200));
        assert_eq!((long.len(), &long[5..8]), (5 + 3 + 200, &[0x0a, 0xc8, 0x01][..]));
    }

    #[test]
    fn only_serving_is_healthy() {
        assert_eq!(judged("0", &[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert_eq!(
            judged("0", &[0, 0, 0, 0, 2, 8, 2]),
            Err(r#"service unhealthy (responded with "NOT_SERVING")"#.to_owned())
        );
        assert_eq!(judged("0", &[0, 0, 0, 0, 0]), Err(r#"service unhealthy (responded with "UNKNOWN")"#.to_owned()));
        assert_eq!(judged("5", &[]), Err("error: health rpc failed: rpc error: code = 5 desc = no".to_owned()));
        let refused = judged("12", &[]).expect_err("refused");
        assert!(refused.starts_with("error: this server does not implement the grpc health protocol"), "{refused}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_and_one_that_says_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let ask = || grpc_check("127.0.0.1", port, "", "kube-probe/1.36", Duration::from_secs(1));
        assert_eq!(ask().await, Err("timeout: health rpc did not complete within 1s".to_owned()));
        drop(listener);
        let refused = ask().await.expect_err("refused");
        assert!(refused.starts_with("timeout: failed to connect service \"127.0.0.1:"), "{refused}");
    }
}
