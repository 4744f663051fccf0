//! `/healthz`, `/livez`, `/readyz` and `/version`. A server that answers at all is healthy: it opened
//! its store before it listened, and a store that stops taking writes says so on each write.

use http::{Response, StatusCode};

use crate::negotiate::Form;
use crate::query::Query;
use crate::respond::{self, Answer, Body};

/// The release whose behaviour is served.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

const CHECKS: &[&str] = &["ping", "log", "store"];

/// Answers a health endpoint, or one check below it.
pub(crate) fn check(endpoint: &str, check: Option<&str>, query: &Query) -> Response<Body> {
    match check {
        None if query.get("verbose").is_some() => {
            let mut text: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
            text.push_str(endpoint);
            text.push_str(" check passed\n");
            respond::text(StatusCode::OK, text)
        }
        None => respond::text(StatusCode::OK, "ok"),
        Some(check) if CHECKS.contains(&check) => respond::text(StatusCode::OK, "ok"),
        Some(_) => respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

/// Answers `/version`.
pub(crate) fn version() -> Answer {
    let version = serde_json::json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": format!("{KUBERNETES_VERSION}+stead.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    });
    respond::value(StatusCode::OK, &version, Form::JSON)
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
