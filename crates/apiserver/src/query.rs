//! Query parameters: decoding, and the option sets Kubernetes reads from them (contract
//! `defaults-validation.md`, 1.2 "Options"). Meaning of the options is the handlers'.

use stead_api::{FieldError, FieldErrors};

use crate::status::StatusError;

/// The decoded query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `a=b&c=d`; never fails, as servers of this kind never do.
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter unless it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A boolean parameter: absent, `0` and `false` are false, anything else is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// A boolean parameter that knows absent from false.
    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// An integer parameter; anything but digits answers 400.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, StatusError> {
        self.filled(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    let shown = crate::status::quoted(text);
                    StatusError::bad_request(format!("strconv.ParseInt: parsing {shown}: invalid syntax"))
                })
            })
            .transpose()
    }
}

/// How a list or watch relates to the named revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    /// Exactly that revision.
    Exact,
    /// That revision or any newer one.
    NotOlderThan,
}

/// The options of list, watch and deletecollection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    /// Label selector text.
    pub labels: String,
    /// Field selector text.
    pub fields: String,
    /// Whether this is a watch.
    pub watch: bool,
    /// Whether the watcher understands bookmarks.
    pub bookmarks: bool,
    /// The named revision; none when absent or empty.
    pub revision: Option<u64>,
    /// How the named revision is meant.
    pub revision_match: Option<RevisionMatch>,
    /// Seconds after which a watch ends.
    pub timeout_s: Option<u64>,
    /// Entries per page; 0 is all.
    pub limit: usize,
    /// Where to go on.
    pub continue_token: Option<String>,
    /// Whether a watch starts with the present state (WatchList).
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the options; 400 for what cannot be read, 422 for what contradicts itself.
    pub(crate) fn read(query: &Query) -> Result<Self, StatusError> {
        let revision_text = query.filled("resourceVersion");
        let mut options = Self {
            labels: query.get("labelSelector").unwrap_or_default().to_owned(),
            fields: query.get("fieldSelector").unwrap_or_default().to_owned(),
            watch: query.flag("watch"),
            bookmarks: query.flag("allowWatchBookmarks"),
            revision: None,
            revision_match: None,
            timeout_s: query
                .number("timeoutSeconds")?
                .and_then(|seconds| u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)),
            limit: query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
            continue_token: query.filled("continue").map(str::to_owned),
            send_initial_events: query.optional_flag("sendInitialEvents"),
        };
        let mut errors = FieldErrors::default();
        if let Some(text) = revision_text {
            match text.parse() {
                Ok(revision) => options.revision = Some(revision),
                Err(_) if options.continue_token.is_some() => {}
                Err(_) => errors.push(FieldError::invalid("resourceVersion", text, "must be a decimal number")),
            }
        }
        options.check_match(query.filled("resourceVersionMatch"), revision_text, &mut errors);
        if errors.is_empty() {
            return Ok(options);
        }
        Err(StatusError::invalid_kind("meta.k8s.io", "ListOptions", "", &errors))
    }

    fn check_match(&mut self, text: Option<&str>, revision: Option<&str>, errors: &mut FieldErrors) {
        const FIELD: &str = "resourceVersionMatch";
        let forbidden = |detail: &str| FieldError::forbidden(FIELD, detail);
        if self.watch {
            match (self.send_initial_events, text) {
                (Some(_), Some("NotOlderThan")) => self.revision_match = Some(RevisionMatch::NotOlderThan),
                (Some(_), _) => {
                    errors.push(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
                }
                (None, Some(_)) => {
                    errors.push(forbidden(
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    ));
                }
                (None, None) => {}
            }
            return;
        }
        if self.send_initial_events.is_some() {
            errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        let Some(text) = text else { return };
        if revision.is_none() {
            errors.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if self.continue_token.is_some() {
            errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        match text {
            "Exact" if revision == Some("0") => {
                errors.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
            "Exact" => self.revision_match = Some(RevisionMatch::Exact),
            "NotOlderThan" => self.revision_match = Some(RevisionMatch::NotOlderThan),
            other => errors.push(FieldError::not_supported(FIELD, other, &["Exact", "NotOlderThan", ""])),
        }
    }
}

/// What to do about fields a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Say nothing.
    Ignore,
    /// Say so in `Warning:` headers.
    Warn,
    /// Refuse with 400.
    Strict,
}

/// The options of create, update and patch.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
}

impl WriteOptions {
    /// Reads and checks the options; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(crate) fn read(query: &Query, kind: &'static str) -> Result<Self, StatusError> {
        const MANAGER_BYTES_MAX: usize = 128;
        let mut errors = FieldErrors::default();
        let dry_run = read_dry_run(query.all("dryRun"), &mut errors);
        let field_validation = match query.get("fieldValidation").unwrap_or_default() {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &supported));
                FieldValidation::Warn
            }
        };
        // Who writes is checked and not kept: ownership of fields is not tracked yet.
        if query.get("fieldManager").is_some_and(|manager| manager.len() > MANAGER_BYTES_MAX) {
            errors.push(FieldError::too_long("fieldManager", MANAGER_BYTES_MAX));
        }
        if errors.is_empty() {
            return Ok(Self { dry_run, field_validation });
        }
        Err(StatusError::invalid_kind("meta.k8s.io", kind, "", &errors))
    }
}

/// Whether `dryRun=All` was asked for; anything but `All` is an error.
pub(crate) fn read_dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut FieldErrors) -> bool {
    let mut dry_run = false;
    for value in values.filter(|value| !value.is_empty()) {
        match value {
            "All" => dry_run = true,
            other => errors.push(FieldError::not_supported("dryRun", [other], &["All"])),
        }
    }
    dry_run
}
