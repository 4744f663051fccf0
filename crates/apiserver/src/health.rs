//! `/healthz`, `/livez`, `/readyz` and `/version`. A server that answers at all has opened its store;
//! it is healthy as long as that store takes writes.

use http::{Response, StatusCode};

use crate::negotiate::Form;
use crate::query::Query;
use crate::respond::{self, Answer, Body};

/// The release whose behaviour is served.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

const STORE: &str = "store";
const CHECKS: &[&str] = &["ping", "log", STORE];

/// Answers a health endpoint, or one check below it. `failure` is why the store takes no more writes.
pub(crate) fn check(endpoint: &str, check: Option<&str>, query: &Query, failure: Option<&str>) -> Response<Body> {
    let checks = match check {
        None => CHECKS,
        Some(check) => match CHECKS.iter().position(|known| *known == check) {
            Some(index) => &CHECKS[index..=index],
            None => return respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    };
    let failure = failure.filter(|_| checks.contains(&STORE));
    let code = if failure.is_some() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    if failure.is_none() && (check.is_some() || query.get("verbose").is_none()) {
        return respond::text(code, "ok");
    }
    let mut text = String::new();
    for check in checks {
        match failure.filter(|_| *check == STORE) {
            Some(reason) => text.push_str(&format!("[-]{check} failed: {reason}\n")),
            None => text.push_str(&format!("[+]{check} ok\n")),
        }
    }
    let outcome = if failure.is_some() { "failed" } else { "passed" };
    text.push_str(&format!("{endpoint} check {outcome}\n"));
    respond::text(code, text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_takes_no_more_writes_is_not_healthy_and_says_why() {
        let ask = |one: Option<&str>, failure| check("readyz", one, &Query::default(), failure).status().as_u16();
        assert_eq!((ask(None, None), ask(Some("store"), None), ask(Some("nonsense"), None)), (200, 200, 404));
        let failure = Some("no space left");
        assert_eq!((ask(None, failure), ask(Some("store"), failure), ask(Some("ping"), failure)), (500, 500, 200));
    }
}
