//! What label keys and values may look like (contract `defaults-validation.md`, 1.5, QNAME and LABELVAL).

const NAME_MAX: usize = 63;
const PREFIX_MAX: usize = 253;
const NAME_FORM: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Everything wrong with a label key.
pub(super) fn key_faults(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            return vec![format!(
                "a valid label key {NAME_FORM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut faults = Vec::new();
    match prefix {
        Some("") => faults.push("prefix part must be non-empty".to_owned()),
        Some(prefix) if prefix.len() > PREFIX_MAX => {
            faults.push(format!("prefix part must be no more than {PREFIX_MAX} bytes"));
        }
        Some(prefix) if !prefix.split('.').all(is_dns_label) => faults.push(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        ),
        Some(_) | None => {}
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    }
    if name.len() > NAME_MAX {
        faults.push(format!("name part must be no more than {NAME_MAX} bytes"));
    }
    if !is_word(name) {
        faults.push(format!("name part {NAME_FORM}"));
    }
    faults
}

/// Everything wrong with a label value.
pub(super) fn value_faults(value: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if value.len() > NAME_MAX {
        faults.push(format!("must be no more than {NAME_MAX} bytes"));
    }
    if !value.is_empty() && !is_word(value) {
        faults.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    faults
}

fn is_word(text: &str) -> bool {
    let is_edge = |c: u8| c.is_ascii_alphanumeric();
    match text.as_bytes() {
        [] => false,
        [only] => is_edge(*only),
        [first, middle @ .., last] => {
            is_edge(*first)
                && is_edge(*last)
                && middle.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    is_word(text) && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}
