//! Writes of whose answer only the metadata is read: what was written is known, and the caches show it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::core::{Request, request};
use kube::{Api, Resource};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

/// Creates `object`.
pub(crate) async fn create<K: Resource + Clone + Serialize>(api: &Api<K>, object: &K) -> kube::Result<ObjectMeta> {
    let body = encoded(object)?;
    ask(api, Request::new(api.resource_url()).create(&PostParams::default(), body)).await
}

/// Writes `object` over the state of `name` with its resourceVersion.
pub(crate) async fn replace<K>(api: &Api<K>, name: &str, object: &K) -> kube::Result<ObjectMeta>
where
    K: Resource + Clone + Serialize,
{
    let body = encoded(object)?;
    ask(api, Request::new(api.resource_url()).replace(name, &PostParams::default(), body)).await
}

/// The same of its status.
pub(crate) async fn replace_status<K>(api: &Api<K>, name: &str, object: &K) -> kube::Result<ObjectMeta>
where
    K: Resource + Clone + Serialize,
{
    let body = encoded(object)?;
    ask(api, Request::new(api.resource_url()).replace_subresource("status", name, &PostParams::default(), body)).await
}

fn encoded(object: &impl Serialize) -> kube::Result<Vec<u8>> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

async fn ask<K>(api: &Api<K>, request: Result<http::Request<Vec<u8>>, request::Error>) -> kube::Result<ObjectMeta>
where
    K: Resource + Clone,
{
    let request = request.map_err(kube::Error::BuildRequest)?;
    let answer: Answer = api.clone().into_client().request(request).await?;
    Ok(answer.metadata)
}
