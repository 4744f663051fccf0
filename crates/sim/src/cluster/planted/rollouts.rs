//! Updates that nobody asked for, and replicas at revisions that are not theirs.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use stead_plan::statefulset::{REVISION_LABEL, wishes};

use super::{aftermath, api};
use crate::cluster::scenarios::{reached, web};
use crate::cluster::settle::View;
use crate::cluster::users::{NAMESPACE, User};
use crate::cluster::world::World;

/// Until nothing counts any more that was seen before.
const FORGOTTEN: Duration = Duration::from_secs(200);

/// A set whose newest revision is held back from replicas below a partition; it has three.
pub(super) async fn held_back(world: &World, partition: u64) -> User {
    let user = web(world).await;
    user.partition("web", partition).await;
    user.set_image("web", "app:v1").await;
    tokio::time::sleep(FORGOTTEN).await;
    user
}

/// The newest revision of the set.
pub(super) async fn newest(world: &World) -> Option<String> {
    let sets: Api<StatefulSet> = api(world);
    sets.get("web").await.ok()?.status?.update_revision
}

/// While no controllers look, web-2 is replaced by `pod`, which is that pod as it was once, by somebody who writes
/// to `pods`.
async fn replace(world: &World, user: &User, pods: Api<Pod>, mut pod: Pod) {
    world.kill_controllers();
    user.delete_pod("web-2", false).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    pod.metadata.resource_version = None;
    pod.metadata.uid = None;
    aftermath(pods.create(&PostParams::default(), &pod).await).await;
}

/// web-2 as it is, naming `revision`, if there is one.
fn web_2(world: &World, revision: Option<String>) -> Pod {
    let mut pod = View::of(world).pods().remove("web-2").unwrap_or_default();
    let named = revision.map(|revision| (REVISION_LABEL.to_owned(), revision));
    pod.metadata.labels.get_or_insert_default().extend(named);
    pod
}

/// `pod` with the image of the next version.
fn next_version(mut pod: Pod) -> Pod {
    let containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    containers.for_each(|container| container.image = Some("app:v1".to_owned()));
    pod
}

/// The update is due, but the node that can be asked to make ready for it was not.
pub(super) async fn unasked_update(world: World, _: Duration) {
    let user = held_back(&world, 3).await;
    world.kill_controllers();
    user.partition("web", 0).await;
    let prepares: Vec<&str> =
        world.machines().iter().filter(|machine| machine.prepares()).map(|machine| machine.name()).collect();
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let found = View::of(&world).pods().into_iter().find(|(_, pod)| prepares.contains(&&*node(pod)));
    if let Some((name, _)) = found {
        let pods: Api<Pod> = api(&world);
        aftermath(pods.delete(&name, &DeleteParams::default()).await).await;
    }
}

/// A replica below the partition comes back at the revision that is held back.
pub(super) async fn held_back_update(world: World, _: Duration) {
    let user = held_back(&world, 3).await;
    let pod = web_2(&world, newest(&world).await);
    replace(&world, &user, api(&world), pod).await;
}

/// A replica comes back at the revision that it was updated from.
pub(super) async fn old_revision(world: World, _: Duration) {
    let user = web(&world).await;
    let old = web_2(&world, None);
    user.set_image("web", "app:v1").await;
    reached(&world).await;
    tokio::time::sleep(FORGOTTEN).await;
    replace(&world, &user, api(&world), old).await;
}

/// A lost replica of a paused set comes back updated.
pub(super) async fn paused_update(world: World, _: Duration) {
    let user = web(&world).await;
    user.annotate("web", wishes::PAUSED, Some("true")).await;
    user.set_image("web", "app:v1").await;
    tokio::time::sleep(FORGOTTEN).await;
    let pod = web_2(&world, newest(&world).await);
    replace(&world, &user, api(&world), pod).await;
}

/// The template is written down once more, and so every replica is out of date.
pub(super) async fn unasked_revision(world: World, _: Duration) {
    web(&world).await;
    let revisions: Api<ControllerRevision> = api(&world);
    let deed = async {
        let twins = revisions.list(&ListParams::default()).await?;
        for mut twin in twins {
            twin.metadata.name = Some("web-twin".to_owned());
            twin.metadata.resource_version = None;
            twin.metadata.uid = None;
            twin.revision += 1;
            revisions.create(&PostParams::default(), &twin).await?;
        }
        Ok::<(), kube::Error>(())
    };
    aftermath(deed.await).await;
}

/// A template is changed by controllers.
pub(super) async fn unasked_template(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let template = json!({"spec": {"containers": [{"name": "c", "image": "app:v1"}]}});
    let change = Patch::Strategic(json!({"spec": {"template": template}}));
    aftermath(sets.patch("web", &PatchParams::default(), &change).await).await;
}

/// A replica that is below the partition now, and is to stay at what it was updated to, is taken back.
pub(super) async fn held_deletion(world: World, _: Duration) {
    let user = web(&world).await;
    user.annotate("web", wishes::IMAGE_PREFETCH, Some("off")).await;
    user.annotate("web", wishes::PARTITION_RAISE, Some("hold")).await;
    user.partition("web", 2).await;
    user.set_image("web", "app:v1").await;
    reached(&world).await;
    user.partition("web", 3).await;
    tokio::time::sleep(FORGOTTEN).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-2", &DeleteParams::default()).await).await;
}

/// An update that waits for people is carried out.
pub(super) async fn hasty_deletion(world: World, _: Duration) {
    let user = web(&world).await;
    user.on_delete("web").await;
    user.set_image("web", "app:v1").await;
    tokio::time::sleep(FORGOTTEN).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-2", &DeleteParams::default()).await).await;
}

/// A replica comes back updated and says that it was not.
pub(super) async fn mislabelled(world: World, _: Duration) {
    let user = held_back(&world, 3).await;
    let pod = next_version(web_2(&world, None));
    replace(&world, &user, api(&world), pod).await;
}

/// Somebody makes such a pod who may make pods; that it stays is seen at rest.
pub(super) async fn mislabelled_by_hand(world: World, _: Duration) {
    let user = held_back(&world, 3).await;
    let pod = next_version(web_2(&world, None));
    replace(&world, &user, Api::namespaced(world.user(), NAMESPACE), pod).await;
}
