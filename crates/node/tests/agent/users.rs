//! Who containers run as: numbers are numbers, whatever an image calls by them.

use serde_json::json;
use stead_runtime::User;

use crate::world::{World, status};

/// Gives an image an `/etc/passwd` in which root is called by numbers.
fn deceive(layer: &std::path::Path) {
    let passwd = "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/root:/bin/sh\napp:x:1000:1001::/app:/bin/sh\n";
    std::fs::write(layer.join("etc/passwd"), passwd).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_that_user_though_the_image_calls_root_by_it() {
    let world = World::start().await;
    deceive(&world.image("sly:1", None));
    deceive(&world.image("sly:1000", Some("1000")));
    let asked = json!({"runAsUser": 1000, "runAsNonRoot": true});
    let containers = json!([
        {"name": "asked", "image": "sly:1", "securityContext": asked},
        {"name": "image", "image": "sly:1000", "securityContext": {"runAsNonRoot": true}},
    ]);
    let uid = world.pod("web-0", json!({"containers": containers})).await;
    world.until_running("web-0", &uid).await;
    for name in ["asked", "image"] {
        let runs_as = world.container(&uid, name).await.expect("it runs").spec.user;
        let app = User { uid: 1000, gid: 1001, additional_gids: Vec::new(), home: Some("/app".to_owned()) };
        assert_eq!(runs_as, app, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_must_not_run_as_root_does_not() {
    let world = World::start().await;
    let text = "container has runAsNonRoot and image";
    for (name, user, asked, why) in [
        ("asks", None, Some(0), "container's runAsUser breaks non-root policy".to_owned()),
        ("says-nothing", None, None, format!("{text} will run as root")),
        ("says-0", Some("0:1000"), None, format!("{text} will run as root")),
        (
            "says-a-name",
            Some("nobody:0"),
            None,
            format!("{text} has non-numeric user (nobody), cannot verify user is non-root"),
        ),
    ] {
        let image = format!("{name}:1");
        world.image(&image, user);
        let security = json!({"runAsUser": asked, "runAsNonRoot": true});
        let container = json!({"name": "c", "image": image, "securityContext": security});
        let uid = world.pod(name, json!({"containers": [container]})).await;
        let waits = |pod: &k8s_openapi::api::core::v1::Pod| status(pod, "c")?.state.clone()?.waiting;
        let failed = |pod: Option<&_>| {
            pod.and_then(waits).is_some_and(|waits| waits.reason.as_deref() == Some("CreateContainerConfigError"))
        };
        let pod = world.until("refused", name, failed).await.expect("just seen");
        let message = waits(&pod).and_then(|waits| waits.message);
        assert_eq!(message, Some(format!("{why} (pod: \"{name}_default({uid})\", container: c)")));
    }
}
