//! What revisions of a pod template have in common, whoever keeps them: canonical form, equality
//! and hashes. It knows no controller.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Characters of generated names and hashes: no vowels and no look-alikes, so that no word appears.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// FNV-1, 32 bits: multiply, then mix in.
pub fn fnv1(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(FNV_OFFSET, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u32::from(byte))
}

/// FNV-1a, 32 bits: mix in, then multiply.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME))
}

/// `number` in decimal, each digit mapped into the safe alphabet (contract H3, controllers 1.2).
pub fn safe_decimal(number: u32) -> String {
    let digits = number.to_string().into_bytes();
    digits.iter().map(|digit| char::from(ALPHABET[usize::from(*digit) % ALPHABET.len()])).collect()
}

/// The template as JSON with sorted keys. Templates hold nothing that cannot be serialised.
pub fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).expect("API types always serialise");
    value.sort_all_objects();
    value
}

/// Whether two templates mean the same: absent and empty lists and maps are equal.
pub fn alike(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    if one == other {
        return true;
    }
    let (mut one, mut other) = (canonical(one), canonical(other));
    prune(&mut one);
    prune(&mut other);
    one == other
}

/// Fields of a pod template whose value is a plain map, where empty means absent. Other empty
/// objects mean something: `emptyDir: {}`.
const PLAIN_MAPS: &[&str] =
    &["annotations", "labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests", "securityContext"];

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|key, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !PLAIN_MAPS.contains(&key.as_str()),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, PodSpec, Volume};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(fnv1(*b""), 0x811c_9dc5);
        assert_eq!(fnv1(*b"a"), 0x050c_5d7e);
        assert_eq!(fnv1a(*b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(*b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn encoded_numbers_use_one_safe_letter_per_digit() {
        assert_eq!(safe_decimal(1_234_567_890), "56789bcdf4");
    }

    #[test]
    fn empty_and_absent_are_alike_but_an_empty_volume_source_is_not_nothing() {
        let template = |container: Container, volumes: Option<Vec<Volume>>| PodTemplateSpec {
            spec: Some(PodSpec { containers: vec![container], volumes, ..PodSpec::default() }),
            ..PodTemplateSpec::default()
        };
        let plain = template(Container::default(), None);
        let spelled = template(Container { args: Some(vec![]), ..Container::default() }, Some(vec![]));
        assert!(alike(&plain, &spelled));
        let volume = |empty_dir| Volume { name: "v".to_owned(), empty_dir, ..Volume::default() };
        let with = template(Container::default(), Some(vec![volume(Some(EmptyDirVolumeSource::default()))]));
        let without = template(Container::default(), Some(vec![volume(None)]));
        assert!(!alike(&with, &without));
        let args = |args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            template(Container { args: Some(args), ..Container::default() }, None)
        };
        assert!(!alike(&args(&["a"]), &args(&["b"])), "what is in a list counts");
        let labelled = |value: Option<&str>| PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(value.map(|value| ("tier".to_owned(), value.to_owned())).into_iter().collect()),
                ..ObjectMeta::default()
            }),
            ..plain.clone()
        };
        assert!(!alike(&labelled(Some("a")), &labelled(Some("b"))), "what is in a map counts");
        let absent = PodTemplateSpec { metadata: Some(ObjectMeta::default()), ..plain.clone() };
        assert!(alike(&labelled(None), &absent));
    }
}
