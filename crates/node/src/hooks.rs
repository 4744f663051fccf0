//! Lifecycle hooks and the checks that probes share with them: run a command in a container, ask over
//! HTTP, open a TCP connection.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_net::Network;
use stead_runtime::{ContainerId, ExecSpec, ExecStdio, Runtime, RuntimeError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::agent::Inner;
use crate::worker::Worker;

/// Most output of a command or body of an answer that is kept.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// Why a check could not be made, or what it found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// The runtime could not run the command.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A pipe could not be made or read.
    #[error("cannot read output: {0}")]
    Pipe(#[from] std::io::Error),
    /// The port is not declared.
    #[error("port {0:?} not found")]
    Port(String),
    /// The request could not be sent, or not be answered.
    #[error("Get \"{url}\": {reason}")]
    Http {
        /// What was asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// HTTPS is not supported by this version.
    #[error("scheme HTTPS is not supported by this version")]
    Https,
}

/// Runs a lifecycle hook to its end.
pub(crate) async fn run<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &Container,
    id: &ContainerId,
    hook: &LifecycleHandler,
) -> Result<(), CheckError> {
    if let Some(exec) = &hook.exec {
        let (code, output) = exec_output(inner.as_ref(), id, exec).await?;
        if code == 0 {
            Ok(())
        } else {
            Err(CheckError::Runtime(RuntimeError::Other(format!("command exited with {code}: {output}"))))
        }
    } else if let Some(get) = &hook.http_get {
        let ip = worker.state().sandbox.as_ref().map(|sandbox| sandbox.ip);
        // Any answer is success.
        http_get(container, get, ip, "kube-lifecycle/1.36").await.map(|_| ())
    } else {
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        }
        Ok(())
    }
}

/// Runs a command in a container; gives its exit code and the first of what it wrote.
pub(crate) async fn exec_output<R: Runtime, N: Network>(
    inner: &Inner<R, N>,
    id: &ContainerId,
    exec: &ExecAction,
) -> Result<(i32, String), CheckError> {
    let (reader, writer) = std::io::pipe()?;
    let second: OwnedFd = writer.try_clone()?.into();
    let stdio = ExecStdio { stdin: None, stdout: Some(writer.into()), stderr: Some(second) };
    let spec = ExecSpec { args: exec.command.clone().unwrap_or_default(), tty: false };
    let handle = inner.runtime.exec(id, spec, stdio).await?;
    let mut output = Vec::new();
    let reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
    let mut kept = reader.take(OUTPUT_BYTES_MAX as u64);
    kept.read_to_end(&mut output).await?;
    // What is beyond the limit is read and thrown away, so that the command is not held up.
    tokio::io::copy(&mut kept.into_inner(), &mut tokio::io::sink()).await?;
    let code =
        handle.exit.await.map_err(|_| RuntimeError::Unreachable("exec ended without an exit code".to_owned()))?;
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}

/// Resolves a port that may be named.
pub(crate) fn port_number(container: &Container, port: &IntOrString) -> Result<u16, CheckError> {
    let number = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let declared = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            declared.and_then(|port| u16::try_from(port.container_port).ok()).or_else(|| name.parse().ok())
        }
    };
    number.ok_or_else(|| match port {
        IntOrString::Int(number) => CheckError::Port(number.to_string()),
        IntOrString::String(name) => CheckError::Port(name.clone()),
    })
}

/// Asks over HTTP; gives the status code and the first of the body.
pub(crate) async fn http_get(
    container: &Container,
    get: &HTTPGetAction,
    pod_ip: Option<IpAddr>,
    user_agent: &str,
) -> Result<(u16, String), CheckError> {
    if get.scheme.as_deref() == Some("HTTPS") {
        return Err(CheckError::Https);
    }
    let port = port_number(container, &get.port)?;
    let host = get
        .host
        .clone()
        .filter(|host| !host.is_empty())
        .or_else(|| pod_ip.map(|ip| ip.to_string()))
        .unwrap_or_default();
    let path = get.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let url = format!("http://{host}:{port}{path}");
    let failed = |reason: String| CheckError::Http { url: url.clone(), reason };
    let stream = TcpStream::connect(format!("{host}:{port}")).await;
    let stream = stream.map_err(|error| failed(format!("dial tcp {host}:{port}: connect: {}", go_error(&error))))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = http::Request::get(&path)
        .header("User-Agent", user_agent)
        .header("Accept", "*/*")
        .header("Connection", "close");
    let mut has_host = false;
    for header in get.http_headers.iter().flatten() {
        has_host |= header.name.eq_ignore_ascii_case("host");
        request = request.header(&header.name, &header.value);
    }
    if !has_host {
        request = request.header("Host", format!("{host}:{port}"));
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| failed(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    let status = answer.status().as_u16();
    // A longer body than is kept changes nothing about the answer.
    let body = Limited::new(answer.into_body(), OUTPUT_BYTES_MAX).collect().await;
    drop(driver);
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Opens a TCP connection and closes it.
pub(crate) async fn tcp_connect(host: &str, port: u16) -> Result<(), CheckError> {
    let address: Result<SocketAddr, _> = format!("{host}:{port}").parse();
    let connected = match address {
        Ok(address) => TcpStream::connect(address).await,
        Err(_) => TcpStream::connect((host, port)).await,
    };
    connected.map(drop).map_err(|error| CheckError::Http {
        url: format!("{host}:{port}"),
        reason: format!("dial tcp {host}:{port}: connect: {}", go_error(&error)),
    })
}

/// The words Go prints for the usual refusals.
fn go_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}
