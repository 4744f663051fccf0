//! The grammars of names, labels, ports and paths, each as a list of what is wrong with a text
//! (contract `defaults-validation.md`, 1.5).

use super::path::Path;
use crate::errors::{FieldError, FieldErrors};

/// What is wrong with a text; empty when it is fine.
pub(super) type Messages = Vec<String>;

/// Longest label value and DNS label.
pub(super) const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const PORT_NAME_MAX: usize = 15;

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_TAIL: &str = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const PERCENT_RULE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
const ENV_RULE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Says every message about `value` as an invalid value at `path`.
pub(super) fn check(errors: &mut FieldErrors, path: &Path, value: &str, rule: fn(&str) -> Messages) {
    for message in rule(value) {
        errors.push(FieldError::invalid(path, value, message));
    }
}

/// [`check`] for a text that may be absent; an empty one counts as absent.
pub(super) fn check_optional(
    errors: &mut FieldErrors,
    path: &Path,
    value: Option<&String>,
    rule: fn(&str) -> Messages,
) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        check(errors, path, value, rule);
    }
}

/// A DNS-1123 label.
pub(super) fn label(value: &str) -> Messages {
    let mut messages = too_long(value, LABEL_MAX, "characters");
    if !is_label(value) {
        let dotted = is_subdomain(value);
        messages.push(if dotted { "must not contain dots".to_owned() } else { LABEL_RULE.to_owned() });
    }
    messages
}

/// A DNS-1123 subdomain.
pub(super) fn subdomain(value: &str) -> Messages {
    subdomain_in(value, "characters")
}

fn subdomain_in(value: &str, unit: &str) -> Messages {
    let mut messages = too_long(value, SUBDOMAIN_MAX, unit);
    if !is_subdomain(value) {
        messages.push(SUBDOMAIN_RULE.to_owned());
    }
    messages
}

/// A name with an optional domain prefix: label keys, finalizers, conditions, resources.
pub(crate) fn qualified(value: &str) -> Messages {
    let mut messages = Vec::new();
    let name = match value.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                messages.extend(subdomain_in(prefix, "bytes").into_iter().map(|text| format!("prefix part {text}")));
            }
            *name
        }
        _ => return vec![format!("a valid label key {QUALIFIED_RULE}{QUALIFIED_TAIL}")],
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else {
        messages.extend(too_long(name, LABEL_MAX, "bytes").into_iter().map(|text| format!("name part {text}")));
    }
    if !is_qualified_part(name) {
        messages.push(format!("name part {QUALIFIED_RULE}"));
    }
    messages
}

/// The value of a label.
pub(crate) fn label_value(value: &str) -> Messages {
    let mut messages = too_long(value, LABEL_MAX, "bytes");
    if !value.is_empty() && !is_qualified_part(value) {
        messages.push(LABEL_VALUE_RULE.to_owned());
    }
    messages
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(value: &str) -> Messages {
    let mut messages = too_long(value, SUBDOMAIN_MAX, "characters");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.is_empty() || !value.bytes().all(fits) {
        messages.push(CONFIG_KEY_RULE.to_owned());
    }
    match value {
        "." => messages.push("must not be '.'".to_owned()),
        ".." => messages.push("must not be '..'".to_owned()),
        _ if value.starts_with("..") => messages.push("must not start with '..'".to_owned()),
        _ => {}
    }
    messages
}

/// The name of a container port.
pub(super) fn port_name(value: &str) -> Messages {
    let mut messages = too_long(value, PORT_NAME_MAX, "characters");
    let mut complain = |text: &str| messages.push(text.to_owned());
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if value.is_empty() || !value.bytes().all(fits) {
        complain("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        complain("must contain at least one letter (a-z)");
    }
    if value.contains("--") {
        complain("must not contain consecutive hyphens");
    }
    if value.starts_with('-') || value.ends_with('-') {
        complain("must not begin or end with a hyphen");
    }
    messages
}

/// A share such as `25%`.
pub(super) fn percent(value: &str) -> Messages {
    match value.strip_suffix('%') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Vec::new(),
        Some(_) | None => vec![PERCENT_RULE.to_owned()],
    }
}

/// The name of an environment variable.
pub(super) fn environment_variable(value: &str) -> Messages {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned(), ENV_RULE.to_owned()];
    }
    let fits = value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    if fits { Vec::new() } else { vec![ENV_RULE.to_owned()] }
}

/// What can be one segment of a URL path.
pub(super) fn path_segment(value: &str) -> Messages {
    match value {
        "." => return vec!["may not be '.'".to_owned()],
        ".." => return vec!["may not be '..'".to_owned()],
        _ => {}
    }
    let mut messages = Vec::new();
    for illegal in ['/', '%'] {
        if value.contains(illegal) {
            messages.push(format!("may not contain '{illegal}'"));
        }
    }
    messages
}

/// A qualified name in lower case, as class provisioners are checked.
pub(super) fn qualified_lower_case(value: &str) -> Messages {
    qualified(&value.to_lowercase())
}

fn too_long(value: &str, max: usize, unit: &str) -> Messages {
    if value.len() > max { vec![format!("must be no more than {max} {unit}")] } else { Vec::new() }
}

fn is_label(value: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = value.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| *byte == b'-' || alphanumeric(Some(byte)))
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_qualified_part(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(rule: fn(&str) -> Messages, values: &[&str], expected: Expect) {
        let lines: Vec<_> = values
            .iter()
            .map(|value| {
                let messages: Vec<_> =
                    rule(value).iter().map(|text| text.chars().take(60).collect::<String>()).collect();
                format!("{:.20}: {}\n", value, messages.join(" | "))
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn dns_names() {
        check(
            label,
            &["web-0", "0a", "Web", "a.b", "-a", "", &"a".repeat(64)],
            expect![[r#"
            web-0: 
            0a: 
            Web: a lowercase RFC 1123 label must consist of lower case alphan
            a.b: must not contain dots
            -a: a lowercase RFC 1123 label must consist of lower case alphan
            : a lowercase RFC 1123 label must consist of lower case alphan
            aaaaaaaaaaaaaaaaaaaa: must be no more than 63 characters
        "#]],
        );
        check(
            subdomain,
            &["web.example", "a..b", "A.b", &"a".repeat(254)],
            expect![[r#"
            web.example: 
            a..b: a lowercase RFC 1123 subdomain must consist of lower case al
            A.b: a lowercase RFC 1123 subdomain must consist of lower case al
            aaaaaaaaaaaaaaaaaaaa: must be no more than 253 characters
        "#]],
        );
    }

    #[test]
    fn label_keys_and_values() {
        check(
            qualified,
            &["app", "a.io/App_1", "", "/x", "x/", "a/b/c", "-x", "A.io/x", &"k".repeat(64)],
            expect![[r#"
            app: 
            a.io/App_1: 
            : name part must be non-empty | name part must consist of alphanumeric characters, '-', '_' 
            /x: prefix part must be non-empty
            x/: name part must be non-empty | name part must consist of alphanumeric characters, '-', '_' 
            a/b/c: a valid label key must consist of alphanumeric characters, '
            -x: name part must consist of alphanumeric characters, '-', '_' 
            A.io/x: prefix part a lowercase RFC 1123 subdomain must consist of l
            kkkkkkkkkkkkkkkkkkkk: name part must be no more than 63 bytes
        "#]],
        );
        check(
            label_value,
            &["", "x.Y_z-1", "-", "a b", &"v".repeat(64)],
            expect![[r#"
            : 
            x.Y_z-1: 
            -: a valid label must be an empty string or consist of alphanum
            a b: a valid label must be an empty string or consist of alphanum
            vvvvvvvvvvvvvvvvvvvv: must be no more than 63 bytes
        "#]],
        );
    }

    #[test]
    fn keys_ports_and_shares() {
        check(
            config_key,
            &["a.b-C_1", "", "a/b", ".", "..", "..x"],
            expect![[r#"
            a.b-C_1: 
            : a valid config key must consist of alphanumeric characters, 
            a/b: a valid config key must consist of alphanumeric characters, 
            .: must not be '.'
            ..: must not be '..'
            ..x: must not start with '..'
        "#]],
        );
        check(
            port_name,
            &["http", "80", "HTTP", "a--b", "-a", "sixteen-letters-", ""],
            expect![[r#"
            http: 
            80: must contain at least one letter (a-z)
            HTTP: must contain only alpha-numeric characters (a-z, 0-9), and h | must contain at least one letter (a-z)
            a--b: must not contain consecutive hyphens
            -a: must not begin or end with a hyphen
            sixteen-letters-: must be no more than 15 characters | must not begin or end with a hyphen
            : must contain only alpha-numeric characters (a-z, 0-9), and h | must contain at least one letter (a-z)
        "#]],
        );
        check(
            percent,
            &["25%", "%", "x%", "25"],
            expect![[r#"
            25%: 
            %: a valid percent string must be a numeric string followed by 
            x%: a valid percent string must be a numeric string followed by 
            25: a valid percent string must be a numeric string followed by 
        "#]],
        );
        check(
            environment_variable,
            &["A B", "", "A=B", "é"],
            expect![[r#"
            A B: 
            : environment variable name must be non-empty | a valid environment variable name must consist only of print
            A=B: a valid environment variable name must consist only of print
            é: a valid environment variable name must consist only of print
        "#]],
        );
        check(
            path_segment,
            &["a:b", ".", "..", "a/b%"],
            expect![[r#"
            a:b: 
            .: may not be '.'
            ..: may not be '..'
            a/b%: may not contain '/' | may not contain '%'
        "#]],
        );
    }
}
