//! What hooks and probes do: run a command in a container, ask over HTTP, HTTPS or gRPC, open a TCP
//! connection.

mod grpc;
mod http;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use k8s_openapi::api::core::v1::{Container, ExecAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_net::Network;
use stead_runtime::{ContainerId, ExecSpec, ExecStdio, Runtime, RuntimeError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::agent::Inner;

pub(crate) use grpc::grpc_check;
pub(crate) use http::{Answer as HttpAnswer, http_get};

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
    /// The command ended with another code than 0.
    #[error("command exited with {code}: {output}")]
    Exit {
        /// Its code.
        code: i32,
        /// The first of what it wrote.
        output: String,
    },
    /// No handler, or one that is not for this place.
    #[error("unsupported handler type")]
    Handler,
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
