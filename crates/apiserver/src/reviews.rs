//! Kinds that are questions: answered at once from who asks, never stored.

use http::{HeaderMap, StatusCode};
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceRule, ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview,
    SubjectAccessReview, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::auth::{Identity, MASTERS};
use crate::body;
use crate::negotiate::{self, Form, Offer};
use crate::respond::{self, Answer};
use crate::status::StatusError;
use crate::world::World;

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewKind {
    /// Whose token is this?
    Token,
    /// Who am I?
    SelfSubject,
    /// May someone do this?
    SubjectAccess,
    /// May I do this?
    SelfSubjectAccess,
    /// May someone do this in this namespace?
    LocalSubjectAccess,
    /// What may I do?
    SelfSubjectRules,
}

impl ReviewKind {
    /// Every kind of question, in discovery order.
    pub(crate) const ALL: [Self; 6] = [
        Self::SelfSubject,
        Self::Token,
        Self::LocalSubjectAccess,
        Self::SelfSubjectAccess,
        Self::SelfSubjectRules,
        Self::SubjectAccess,
    ];

    /// The kind's name.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Token => "TokenReview",
            Self::SelfSubject => "SelfSubjectReview",
            Self::SubjectAccess => "SubjectAccessReview",
            Self::SelfSubjectAccess => "SelfSubjectAccessReview",
            Self::LocalSubjectAccess => "LocalSubjectAccessReview",
            Self::SelfSubjectRules => "SelfSubjectRulesReview",
        }
    }

    /// The path segment.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Token => "tokenreviews",
            Self::SelfSubject => "selfsubjectreviews",
            Self::SubjectAccess => "subjectaccessreviews",
            Self::SelfSubjectAccess => "selfsubjectaccessreviews",
            Self::LocalSubjectAccess => "localsubjectaccessreviews",
            Self::SelfSubjectRules => "selfsubjectrulesreviews",
        }
    }

    /// The API group; the version is always v1.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Token | Self::SelfSubject => "authentication.k8s.io",
            Self::SubjectAccess | Self::SelfSubjectAccess | Self::LocalSubjectAccess | Self::SelfSubjectRules => {
                "authorization.k8s.io"
            }
        }
    }

    /// Whether the path names a namespace.
    pub(crate) fn namespaced(self) -> bool {
        self == Self::LocalSubjectAccess
    }

    /// The question a path segment names.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| version == "v1" && kind.group() == group && kind.plural() == plural)
    }
}

/// Answers a question.
pub(crate) fn answer(
    kind: ReviewKind,
    identity: &Identity,
    world: &dyn World,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let form = match negotiate::accepted(headers, Offer::Plain) {
        // A client that would rather have a table is told that there is none.
        Ok(_) if negotiate::wants_table(headers) => return Err(StatusError::no_table(kind.plural())),
        Ok(form) => form,
        Err(_) if negotiate::wants_table(headers) => return Err(StatusError::no_table(kind.plural())),
        Err(error) => return Err(error),
    };
    match kind {
        ReviewKind::Token => {
            let mut review: TokenReview = body::plain(kind.kind(), headers, body)?;
            let error = Some("tokens are not issued by this server".to_owned());
            review.status = Some(TokenReviewStatus { authenticated: Some(false), error, ..Default::default() });
            created(&review, form)
        }
        ReviewKind::SelfSubject => {
            let mut review: SelfSubjectReview = body::plain(kind.kind(), headers, body)?;
            review.metadata.creation_timestamp = Some(Time(world.now()));
            review.status = Some(SelfSubjectReviewStatus { user_info: Some(user_info(identity)) });
            created(&review, form)
        }
        ReviewKind::SubjectAccess => {
            let mut review: SubjectAccessReview = body::plain(kind.kind(), headers, body)?;
            review.status = Some(access(review.spec.groups.iter().flatten().any(|group| group == MASTERS)));
            created(&review, form)
        }
        ReviewKind::LocalSubjectAccess => {
            let mut review: LocalSubjectAccessReview = body::plain(kind.kind(), headers, body)?;
            review.status = Some(access(review.spec.groups.iter().flatten().any(|group| group == MASTERS)));
            created(&review, form)
        }
        ReviewKind::SelfSubjectAccess => {
            let mut review: SelfSubjectAccessReview = body::plain(kind.kind(), headers, body)?;
            review.status = Some(access(identity.is_in(MASTERS)));
            created(&review, form)
        }
        ReviewKind::SelfSubjectRules => {
            let mut review: SelfSubjectRulesReview = body::plain(kind.kind(), headers, body)?;
            review.status = Some(rules(identity.is_in(MASTERS)));
            created(&review, form)
        }
    }
}

fn created(review: &impl serde::Serialize, form: Form) -> Answer {
    respond::value(StatusCode::CREATED, review, form)
}

fn access(allowed: bool) -> SubjectAccessReviewStatus {
    let reason = (!allowed).then(|| format!("only members of {MASTERS} are granted anything"));
    SubjectAccessReviewStatus { allowed, reason, ..Default::default() }
}

fn rules(everything: bool) -> SubjectRulesReviewStatus {
    let star = || vec!["*".to_owned()];
    let mut status = SubjectRulesReviewStatus::default();
    if everything {
        status.resource_rules.push(ResourceRule {
            api_groups: Some(star()),
            resources: Some(star()),
            verbs: star(),
            resource_names: None,
        });
        status.non_resource_rules.push(NonResourceRule { non_resource_urls: Some(star()), verbs: star() });
    }
    status
}

fn user_info(identity: &Identity) -> UserInfo {
    UserInfo { username: Some(identity.user.clone()), groups: Some(identity.groups.clone()), ..Default::default() }
}
