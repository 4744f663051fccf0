//! Label and field selectors: parsing the query strings, matching, and the canonical text that ends
//! up in `status.selector` and in tables.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

mod field;
mod label;

pub use field::{FieldSelector, FieldSelectorError, FieldTerm};
pub use label::SelectorParseError;

/// A label selector in one form, whether it came as a query string or as a `LabelSelector`.
///
/// Requirements are kept sorted by key; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    matches_nothing: bool,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold.
    pub test: Test,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `k=v`
    Equals(String),
    /// `k!=v`: also true without the label.
    NotEquals(String),
    /// `k in (a,b)`, values sorted.
    In(Vec<String>),
    /// `k notin (a,b)`: also true without the label; values sorted.
    NotIn(Vec<String>),
    /// `k`
    Exists,
    /// `!k`
    DoesNotExist,
    /// `k>n`: the label is a whole number above n.
    GreaterThan(i64),
    /// `k<n`: the label is a whole number below n.
    LessThan(i64),
}

/// Why a `LabelSelector` cannot be used (contract `defaults-validation.md`, 1.5, label selector).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// An operator other than the four.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// `In` or `NotIn` without values.
    #[error("for 'in', 'notin' operators, values set can't be empty")]
    MissingValues,
    /// `Exists` or `DoesNotExist` with values.
    #[error("values set must be empty for exists and does not exist")]
    UnexpectedValues,
}

impl Selector {
    /// Reads a query string such as `a=b,c in (x,y),!z,k!=v`. An empty string selects everything.
    /// Errors carry Kubernetes' own words, for a 400 answer.
    pub fn parse(text: &str) -> Result<Self, SelectorParseError> {
        label::parse(text).map(Self::of)
    }

    /// What matches exactly these labels, e.g. the `spec.selector` of a Service. An empty or absent
    /// map selects nothing there, so callers check for that first.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let exact =
            |(key, value): (&String, &String)| Requirement { key: key.clone(), test: Test::Equals(value.clone()) };
        Self::of(labels.iter().map(exact).collect())
    }

    /// The selector that selects no object: what an absent `LabelSelector` means.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), matches_nothing: true }
    }

    /// [`Selector::nothing`] for an absent selector, else as `TryFrom`.
    pub fn from_optional(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        selector.map_or_else(|| Ok(Self::nothing()), Self::try_from)
    }

    /// Whether it says nothing, and so selects every object.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.matches_nothing
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
        self.matches_with(value)
    }

    /// Whether an object is selected whose labels `value` looks up.
    pub fn matches_with<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.matches_nothing && self.requirements.iter().all(|required| required.test.holds(value(&required.key)))
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, matches_nothing: false }
    }
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = SelectorError;

    /// An empty selector selects everything.
    fn try_from(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement { key: key.clone(), test: Test::Equals(value.clone()) });
        }
        for expression in selector.match_expressions.iter().flatten() {
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            values.dedup();
            let test = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Test::In(values),
                ("NotIn", false) => Test::NotIn(values),
                ("In" | "NotIn", true) => return Err(SelectorError::MissingValues),
                ("Exists", true) => Test::Exists,
                ("DoesNotExist", true) => Test::DoesNotExist,
                ("Exists" | "DoesNotExist", false) => return Err(SelectorError::UnexpectedValues),
                (other, _) => return Err(SelectorError::Operator(other.to_owned())),
            };
            requirements.push(Requirement { key: expression.key.clone(), test });
        }
        Ok(Self::of(requirements))
    }
}

impl Test {
    /// Whether a label of this value (none: the label is absent) passes.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = |value: &str| value.parse::<i64>().ok();
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::NotEquals(unwanted) => value != Some(unwanted),
            Self::In(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
            Self::NotIn(unwanted) => !value.is_some_and(|value| unwanted.iter().any(|one| one == value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => value.and_then(number).is_some_and(|value| value > *bound),
            Self::LessThan(bound) => value.and_then(number).is_some_and(|value| value < *bound),
        }
    }
}

impl fmt::Display for Selector {
    /// Requirements sorted by key, joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            Test::Equals(value) => write!(f, "{key}={value}"),
            Test::NotEquals(value) => write!(f, "{key}!={value}"),
            Test::In(values) => write!(f, "{key} in ({})", values.join(",")),
            Test::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            Test::Exists => f.write_str(key),
            Test::DoesNotExist => write!(f, "!{key}"),
            Test::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Test::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_operator_selects_as_kubernetes_does() {
        let web = labels(&[("app", "web"), ("tier", "db"), ("size", "7")]);
        let selected = [
            "",
            "app=web",
            "app==web",
            "app!=api",
            "app in (api, web)",
            "app notin (api)",
            "other notin (x)",
            "app",
            "!missing",
            "missing!=x",
            "size>6",
            "size<8",
            "app=web,tier in (db),!gone",
        ];
        let passed_over = [
            "app=api",
            "app!=web",
            "app in (api)",
            "app notin (web)",
            "!app",
            "missing",
            "size>7",
            "size<7",
            "app>1",
            "app=web,tier=cache",
            "app in ()",
            "app=",
        ];
        for text in selected {
            assert!(Selector::parse(text).unwrap().matches(Some(&web)), "{text:?} selects");
        }
        for text in passed_over {
            assert!(!Selector::parse(text).unwrap().matches(Some(&web)), "{text:?} does not select");
        }
    }

    #[test]
    fn canonical_text_is_sorted() {
        let text = "tier in (z,a,a),app=web,!old, new ,x!=1";
        assert_eq!(Selector::parse(text).unwrap().to_string(), "app=web,new,!old,tier in (a,z),x!=1");
    }

    #[test]
    fn a_label_selector_reads_as_its_text() {
        let expression = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).into()).collect()),
        };
        let selector = LabelSelector {
            match_labels: Some(labels(&[("app", "web")])),
            match_expressions: Some(vec![expression("b", "NotIn", &["y", "x"]), expression("a", "DoesNotExist", &[])]),
        };
        let selector = Selector::try_from(&selector).unwrap();
        assert_eq!(selector.to_string(), "!a,app=web,b notin (x,y)");
        assert!(!Selector::from_optional(None).unwrap().matches(None));
        assert!(Selector::from_optional(Some(&LabelSelector::default())).unwrap().matches(None));
    }

    proptest::proptest! {
        #[test]
        fn canonical_text_parses_back_to_the_same(
            keys in proptest::collection::btree_set("[a-z]{1,8}(/[a-z]{1,4})?", 0..6),
            values in proptest::collection::btree_set("[a-z0-9]{1,5}", 1..4),
            shape in 0usize..6,
        ) {
            let values: Vec<String> = values.into_iter().collect();
            let tests = [Test::Equals(values[0].clone()), Test::NotEquals(values[0].clone()), Test::In(values.clone()),
                Test::NotIn(values.clone()), Test::Exists, Test::DoesNotExist];
            let requirements = keys.into_iter().enumerate()
                .map(|(index, key)| Requirement { key, test: tests[(index + shape) % tests.len()].clone() }).collect();
            let selector = Selector::of(requirements);
            proptest::prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
