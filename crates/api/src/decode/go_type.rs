//! The Go name of a Rust type, for error texts that clients know: `Vec<Container>` is
//! `[]v1.Container`.

/// Translates what `std::any::type_name` prints. Only for texts: unknown shapes come out as they are.
pub(super) fn go_type(rust: &str) -> String {
    let (path, arguments) = match rust.split_once('<') {
        Some((path, rest)) => (path, rest.strip_suffix('>').unwrap_or(rest)),
        None => (rust, ""),
    };
    match path.rsplit("::").next().unwrap_or(path) {
        "Option" | "PhantomData" | "Box" => go_type(arguments),
        "Vec" => format!("[]{}", go_type(arguments)),
        "BTreeMap" => {
            let (key, value) = arguments.split_once(", ").unwrap_or((arguments, ""));
            format!("map[{}]{}", go_type(key), go_type(value))
        }
        "String" | "str" => "string".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "f64" => "float64".to_owned(),
        "bool" => "bool".to_owned(),
        "ByteString" => "[]uint8".to_owned(),
        "Quantity" => "resource.Quantity".to_owned(),
        "IntOrString" => "intstr.IntOrString".to_owned(),
        "RawExtension" => "runtime.RawExtension".to_owned(),
        name => {
            let is_version =
                |segment: &&str| segment.starts_with('v') && segment[1..].starts_with(|c: char| c.is_ascii_digit());
            match path.rsplit("::").find(is_version) {
                Some(version) => format!("{version}.{name}"),
                None => name.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::go_type;
    use k8s_openapi::api::core::v1::Container;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_those_of_go() {
        assert_eq!(go_type(std::any::type_name::<Option<Vec<Container>>>()), "[]v1.Container");
        assert_eq!(go_type(std::any::type_name::<Option<BTreeMap<String, String>>>()), "map[string]string");
        assert_eq!(go_type(std::any::type_name::<i32>()), "int32");
    }
}
