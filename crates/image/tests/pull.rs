//! Pulling from a registry over real HTTP on loopback. Needs root, for layers are unpacked with their owners.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use common::{Access, Blob, Layer, Packing, Registry, TestImage, collect, image, layer, manifest_of};
use futures::future::join_all;
use stead_image::{Credential, ImageStore, LayerError, Mirror, Progress, PullError, RegistryConfig, Secret, users};
use tempfile::TempDir;

fn store(dir: &TempDir) -> ImageStore {
    ImageStore::open(dir.path(), RegistryConfig::default()).expect("opens")
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

async fn pull(store: &ImageStore, name: &str) -> Result<std::sync::Arc<stead_image::Image>, PullError> {
    store.pull(name, &[], |_| {}).await
}

/// Three layers, each packed another way.
fn three_layers() -> TestImage {
    image(vec![
        layer(
            &[("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/data:/bin/sh\n"), ("bin/app", "program")],
            Packing::Gzip,
        ),
        layer(&[("bin/more", "more")], Packing::Zstd),
        layer(&[("data/x", "x")], Packing::Plain),
    ])
}

fn files_of(dir: &Path) -> usize {
    fs::read_dir(dir).expect("readable").count()
}

fn assert_nothing_half_done(dir: &TempDir) {
    assert_eq!(files_of(&dir.path().join("draft")), 0);
    assert_eq!(files_of(&dir.path().join("names")), 0);
}

#[tokio::test]
async fn an_image_is_pulled_unpacked_and_remembered() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let served = three_layers();
    registry.push("team/app", "v1", &served);
    let name = format!("{}/team/app:v1", registry.host);
    assert_eq!(store(&dir).get(&name), None);

    let heard = Mutex::new(Vec::new());
    let pulled = store(&dir)
        .pull(&name, &[], |progress| heard.lock().expect("not poisoned").push(progress))
        .await
        .expect("pulled");
    assert_eq!((pulled.reference.as_str(), pulled.id.0.as_str()), (name.as_str(), served.config.digest.as_str()));
    assert_eq!(pulled.digest, Some(format!("{}/team/app@{}", registry.host, served.manifest.digest)));
    let bytes_total: u64 = served.layers.iter().map(|layer| layer.blob.bytes.len() as u64).sum();
    assert_eq!(pulled.size_bytes, bytes_total + served.config.bytes.len() as u64);
    assert_eq!(fs::read_to_string(pulled.layers[0].join("bin/app")).expect("readable"), "program");
    assert_eq!(fs::read_to_string(pulled.layers[1].join("bin/more")).expect("readable"), "more");
    assert_eq!(fs::read_to_string(pulled.layers[2].join("data/x")).expect("readable"), "x");

    let config = &pulled.config;
    assert_eq!((config.entrypoint.concat(), config.cmd.concat()), ("/bin/app".to_owned(), "serve".to_owned()));
    assert_eq!((config.working_dir.as_deref(), config.stop_signal.as_deref()), (Some("/data"), Some("SIGQUIT")));
    assert_eq!(
        (config.env.join(" "), config.exposed_ports.join(" ")),
        ("PATH=/bin A=b".to_owned(), "6333/tcp".to_owned())
    );
    let user = users::resolve(&users::Layers(&pulled.layers), config.user.as_deref().unwrap_or(""))
        .expect("a user of the image");
    assert_eq!((user.uid, user.gid, user.home.as_deref()), (1000, 1001, Some("/data")));

    let heard = heard.into_inner().expect("not poisoned");
    assert_eq!(heard[0], Progress::Resolved { layers: 3, layers_present: 0, bytes_total });
    assert!(heard.contains(&Progress::Fetched { bytes: bytes_total, bytes_total }));
    assert!(heard.contains(&Progress::LayerReady { layers_ready: 3, layers: 3 }));

    let reopened = store(&dir);
    assert_eq!(reopened.get(&name), Some(pulled.clone()));
    assert_eq!(reopened.list().expect("listed").len(), 1);
    let pinned = pulled.digest.clone().expect("a digest");
    assert_eq!(pull(&reopened, &pinned).await.expect("pulled by digest").id, pulled.id);
}

#[tokio::test]
async fn docker_hub_names_are_served_by_a_mirror() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    registry.push("qdrant/qdrant", "v1.7.0", &three_layers());
    registry.push("library/redis", "latest", &three_layers());
    let mirror = Mirror { url: format!("http://{}", registry.host) };
    let config =
        RegistryConfig { mirrors: [("docker.io".to_owned(), vec![mirror])].into(), ..RegistryConfig::default() };
    let store = ImageStore::open(dir.path(), config).expect("opens");
    let pulled = pull(&store, "qdrant/qdrant:v1.7.0").await.expect("pulled");
    assert_eq!(pulled.name.to_string(), "docker.io/qdrant/qdrant:v1.7.0");
    assert!(pulled.digest.as_ref().is_some_and(|digest| digest.starts_with("docker.io/qdrant/qdrant@sha256:")));
    pull(&store, "redis").await.expect("pulled");
    let asked_as = store.get("docker.io/redis").expect("present under every spelling");
    assert_eq!(asked_as.reference, "docker.io/redis");
}

#[tokio::test]
async fn a_mirror_that_is_down_or_does_not_have_it_is_passed_over() {
    let (empty, registry, dir) = (Registry::start(Access::Anyone).await, Registry::start(Access::Anyone).await, temp());
    registry.push("app", "v1", &three_layers());
    let mirrors = ["127.0.0.1:1", &empty.host].map(|host| Mirror { url: format!("http://{host}") }).into();
    let config = RegistryConfig { mirrors: [(registry.host.clone(), mirrors)].into(), ..RegistryConfig::default() };
    let store = ImageStore::open(dir.path(), config).expect("opens");
    pull(&store, &format!("{}/app:v1", registry.host)).await.expect("pulled");
    assert_eq!(empty.requests("/v2/app/manifests/v1"), 1);
}

#[tokio::test]
async fn the_image_for_this_machine_is_chosen_from_an_index() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let here = format!("linux/{}", if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    let (ours, other) =
        (image(vec![layer(&[("us", "")], Packing::Gzip)]), image(vec![layer(&[("them", "")], Packing::Gzip)]));
    let index = registry.push_index("app", "v1", &[("linux/s390x", &other), (&here, &ours)]);
    let pulled = pull(&store(&dir), &format!("{}/app:v1", registry.host)).await.expect("pulled");
    assert_eq!(pulled.id.0, ours.config.digest);
    assert_eq!(pulled.digest, Some(format!("{}/app@{index}", registry.host)), "the digest is the index's");

    registry.push_index("app", "v2", &[("linux/s390x", &other)]);
    let refused = pull(&store(&dir), &format!("{}/app:v2", registry.host)).await.expect_err("not for us");
    assert!(matches!(&refused, PullError::Platform { platform, .. } if *platform == here), "{refused}");
}

#[tokio::test]
async fn credentials_are_tried_until_one_opens() {
    for access in [Access::Basic("reader:secret"), Access::Token("reader:secret")] {
        let (registry, dir) = (Registry::start(access).await, temp());
        registry.push("private/app", "v1", &three_layers());
        let name = format!("{}/private/app:v1", registry.host);
        let credential = |path: &str, password: &str| Credential {
            scope: format!("{}{path}", registry.host),
            secret: Secret::Basic { username: "reader".to_owned(), password: password.to_owned() },
        };
        let store = store(&dir);
        for too_little in [
            vec![],
            vec![credential("", "wrong")],
            vec![Credential { scope: "elsewhere.example".to_owned(), ..credential("", "secret") }],
        ] {
            let refused = store.pull(&name, &too_little, |_| {}).await.expect_err("refused");
            assert!(matches!(refused, PullError::Unauthorized { .. }), "{refused}");
        }
        store.pull(&name, &[credential("/private", "wrong"), credential("", "secret")], |_| {}).await.expect("pulled");

        let text = format!("auths:\n  {}: {{username: reader, password: secret}}\n", registry.host);
        let file = dir.path().join("registries.yaml");
        fs::write(&file, text).expect("written");
        let configured = ImageStore::open(dir.path(), RegistryConfig::load(&file).expect("valid")).expect("opens");
        pull(&configured, &name).await.expect("pulled with the configured credentials");
    }
}

#[tokio::test]
async fn what_cannot_be_pulled_says_why() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let store = store(&dir);
    let name = format!("{}/app:nope", registry.host);
    let error = pull(&store, &name).await.expect_err("there is none");
    assert!(matches!(error, PullError::NotFound { .. }));
    assert_eq!(error.to_string(), format!("{name}: not found"));

    let error = pull(&store, "127.0.0.1:1/app:v1").await.expect_err("nobody listens there");
    assert!(matches!(&error, PullError::Unreachable { host, .. } if host == "127.0.0.1:1"), "{error}");

    let error = pull(&store, "no:such:name").await.expect_err("no name");
    assert_eq!(
        error.to_string(),
        r#"Failed to apply default image tag "no:such:name": couldn't parse image name "no:such:name": invalid reference format"#
    );
    assert_nothing_half_done(&dir);
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let (good, other) = (layer(&[("x", "x")], Packing::Gzip), layer(&[("x", "other")], Packing::Gzip));
    let digest_error =
        async |tag: &str| match pull(&store(&dir), &format!("{}/app:{tag}", registry.host)).await.expect_err("refused")
        {
            PullError::Layer { source: LayerError::Digest { expected, actual }, .. } => (expected, actual),
            error => panic!("{error}"),
        };

    registry.push("app", "blob", &image(vec![good.clone()]));
    registry.spoil(&good.blob.digest, &other.blob.bytes);
    assert_eq!(digest_error("blob").await, (good.blob.digest.clone(), other.blob.digest.clone()));

    // The manifest names the blob rightly, but the configuration promised another content.
    let wrong_inside = image(vec![Layer { diff_id: good.diff_id.clone(), ..other.clone() }]);
    registry.push("app", "inside", &wrong_inside);
    assert_eq!(digest_error("inside").await, (good.diff_id.clone(), other.diff_id.clone()));

    let spoilt_config = image(vec![layer(&[("y", "y")], Packing::Gzip)]);
    registry.push("app", "config", &spoilt_config);
    registry.spoil(&spoilt_config.config.digest, b"{}");
    assert_eq!(digest_error("config").await.0, spoilt_config.config.digest);
    assert_nothing_half_done(&dir);
}

#[tokio::test]
async fn a_manifest_that_goes_on_and_on_is_refused_and_not_held() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let sound = image(vec![layer(&[("x", "x")], Packing::Gzip)]);
    let padded = |bytes: usize| {
        let mut manifest = sound.manifest.bytes.clone();
        manifest.resize(bytes, b' ');
        TestImage { manifest: Blob::new(manifest), ..sound.clone() }
    };
    registry.push("app", "long", &padded(4 << 20));
    registry.push("app", "longer", &padded((4 << 20) + 1));
    let refused = pull(&store(&dir), &format!("{}/app:longer", registry.host)).await.expect_err("too large");
    assert!(matches!(refused, PullError::Registry { .. }), "{refused}");
    assert!(refused.to_string().ends_with("manifest is larger than 4194304 bytes"), "{refused}");
    pull(&store(&dir), &format!("{}/app:long", registry.host)).await.expect("just not too large");
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let sound = image(vec![layer(&[("x", "x")], Packing::Gzip)]);
    let chart = String::from_utf8(sound.manifest.bytes.clone()).expect("text").replace(
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    );
    registry.push("chart", "v1", &TestImage { manifest: Blob::new(chart.into_bytes()), ..sound.clone() });
    let error = pull(&store(&dir), &format!("{}/chart:v1", registry.host)).await.expect_err("a chart");
    assert!(matches!(error, PullError::Layer { source: LayerError::MediaType(_), .. }), "{error}");

    let missing_layer = TestImage { manifest: manifest_of(&sound.config, &[]), ..sound };
    registry.push("short", "v1", &missing_layer);
    let error = pull(&store(&dir), &format!("{}/short:v1", registry.host)).await.expect_err("a layer is missing");
    assert!(error.to_string().contains("configuration has 1 layers, manifest 0"), "{error}");
    assert_nothing_half_done(&dir);
}

#[tokio::test]
async fn pulls_of_one_image_at_the_same_time_are_one_pull() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let served = three_layers();
    registry.push("app", "v1", &served);
    let (store, name) = (store(&dir), format!("{}/app:v1", registry.host));
    let pulled = join_all((0..10).map(|_| pull(&store, &name))).await;
    assert!(pulled.iter().all(Result::is_ok));
    assert_eq!(registry.requests("/manifests/v1"), 1);
    for layer in &served.layers {
        assert_eq!(registry.requests(&layer.blob.digest), 1);
    }
    pull(&store, &name).await.expect("pulled");
    assert_eq!(registry.requests("/manifests/v1"), 2, "a later pull asks again");
}

#[tokio::test]
async fn shared_layers_are_fetched_once_and_unused_ones_collected() {
    let (registry, dir) = (Registry::start(Access::Anyone).await, temp());
    let base = layer(&[("base", "base")], Packing::Gzip);
    let (old, new) = (layer(&[("app", "old")], Packing::Zstd), layer(&[("app", "new")], Packing::Zstd));
    registry.push("app", "latest", &image(vec![base.clone(), old.clone()]));
    registry.push("other", "latest", &image(vec![base.clone()]));
    let (store, app) = (store(&dir), format!("{}/app", registry.host));
    let both = join_all([pull(&store, &app), pull(&store, &format!("{}/other", registry.host))].map(Box::pin)).await;
    let before = both[0].as_ref().expect("pulled").clone();
    assert!(both[1].is_ok());
    assert_eq!(registry.requests(&base.blob.digest), 1);

    registry.push("app", "latest", &image(vec![base, new]));
    let after = pull(&store, &app).await.expect("pulled");
    assert_ne!(after.id, before.id);
    assert_eq!(after.layers[0], before.layers[0]);
    assert!(before.layers[1].is_dir(), "the old layer stays until it is collected");

    let in_use: HashSet<_> = before.layers.iter().cloned().collect();
    assert_eq!(collect(&store, &in_use).layers, Vec::<std::path::PathBuf>::new());
    let collected = collect(&store, &HashSet::new());
    assert_eq!((collected.layers.as_slice(), collected.bytes), (&before.layers[1..], 3));
    assert!(!before.layers[1].exists() && after.layers.iter().all(|layer| layer.is_dir()));

    assert!(store.remove(&app).expect("removed") && !store.remove(&app).expect("removed already"));
    assert_eq!(store.get(&app), None);
    assert_eq!(collect(&store, &HashSet::new()).layers, after.layers[1..]);
    assert_eq!(files_of(&dir.path().join("draft")), 0);
}
