//! Importing archives, built-in images, and what a crash leaves. Needs root, for layers are unpacked with their owners.

mod common;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Blob, INDEX, MANIFEST, Packing, TestImage, collect, gzip, image, layer};
use stead_image::{ImageConfig, ImageStore, ImportError, RegistryConfig};
use tempfile::TempDir;

fn store(dir: &TempDir) -> ImageStore {
    ImageStore::open(&dir.path().join("images"), RegistryConfig::default()).expect("opens")
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_slice()).expect("written");
    }
    builder.into_inner().expect("written")
}

fn written(dir: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("archive.tar");
    fs::write(&path, bytes).expect("written");
    path
}

fn two_layers() -> TestImage {
    image(vec![layer(&[("bin/app", "program")], Packing::Plain), layer(&[("x", "x")], Packing::Plain)])
}

/// As `docker save` of old wrote it.
fn docker_save(image: &TestImage, tags: &[&str]) -> Vec<(String, Vec<u8>)> {
    let layer_name = |n: usize| format!("{n}/layer.tar");
    let layers: Vec<String> = (0..image.layers.len()).map(layer_name).collect();
    let config = format!("{}.json", image.config.hex());
    let manifest = serde_json::json!([{"Config": config, "RepoTags": tags, "Layers": layers}]);
    let mut members: Vec<(String, Vec<u8>)> =
        image.layers.iter().enumerate().map(|(n, layer)| (layer_name(n), layer.blob.bytes.clone())).collect();
    members.extend([
        (config, image.config.bytes.clone()),
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
    ]);
    members
}

fn oci_archive(image: &TestImage, annotation: &str, name: &str) -> Vec<(String, Vec<u8>)> {
    let member = |blob: &Blob| (format!("blobs/sha256/{}", blob.hex()), blob.bytes.clone());
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": image.manifest.digest, "size": image.manifest.bytes.len(), "annotations": {annotation: name}},
    ]});
    let mut members: Vec<_> = image.layers.iter().map(|layer| member(&layer.blob)).collect();
    members.extend([
        member(&image.config),
        member(&image.manifest),
        ("./index.json".to_owned(), index.to_string().into_bytes()),
        ("oci-layout".to_owned(), b"{}".to_vec()),
    ]);
    members
}

fn names(imported: Result<Vec<stead_image::ImageName>, ImportError>) -> Vec<String> {
    imported.expect("imported").iter().map(ToString::to_string).collect()
}

#[test]
fn a_docker_save_archive_is_imported_even_in_gzip() {
    let saved = two_layers();
    let plain = archive(&docker_save(&saved, &["app:v1", "registry.example/app:v1"]));
    for bytes in [gzip(&plain), plain] {
        let dir = temp();
        let running = store(&dir);
        let imported = names(store(&dir).import(&written(&dir, &bytes)));
        assert_eq!(imported, ["docker.io/library/app:v1", "registry.example/app:v1"]);
        let image = running.get("app:v1").expect("seen at once by the other store on the directory");
        assert_eq!((image.id.0.as_str(), image.digest.as_deref()), (saved.config.digest.as_str(), None));
        assert_eq!(fs::read_to_string(image.layers[0].join("bin/app")).expect("readable"), "program");
        assert_eq!(fs::read_dir(dir.path().join("images/draft")).expect("readable").count(), 0);
    }
}

#[test]
fn an_oci_archive_is_imported() {
    let image = image(vec![layer(&[("bin/app", "program")], Packing::Gzip), layer(&[("x", "x")], Packing::Zstd)]);
    for (annotation, name) in
        [("io.containerd.image.name", "docker.io/library/app:v1"), ("org.opencontainers.image.ref.name", "app:v1")]
    {
        let dir = temp();
        let imported = names(store(&dir).import(&written(&dir, &archive(&oci_archive(&image, annotation, name)))));
        assert_eq!(imported, ["docker.io/library/app:v1"]);
        let found = store(&dir).get("app:v1").expect("present");
        assert_eq!(fs::read_to_string(found.layers[1].join("x")).expect("readable"), "x");
        assert_eq!(found.config.entrypoint, ["/bin/app"]);
    }
}

#[test]
fn an_archive_that_cannot_be_used_says_why_and_leaves_nothing() {
    let image = two_layers();
    let without = |end: &str| {
        docker_save(&image, &["app:v1"]).into_iter().filter(|(path, _)| !path.ends_with(end)).collect::<Vec<_>>()
    };
    let damaged = |end: &str, members: Vec<(String, Vec<u8>)>| {
        members
            .into_iter()
            .map(|(path, bytes)| if path.ends_with(end) { (path, two_other_bytes(bytes)) } else { (path, bytes) })
            .collect::<Vec<_>>()
    };
    let last_layer = image.layers[1].blob.hex().to_owned();
    let cases = [
        (archive(&without("manifest.json")), "neither manifest.json nor index.json"),
        (archive(&without("1/layer.tar")), "1/layer.tar is missing"),
        (archive(&docker_save(&image, &[])), "no image in it has a name"),
        (archive(&oci_archive(&image, "org.opencontainers.image.ref.name", "latest")), "no image in it has a name"),
        (archive(&damaged("1/layer.tar", docker_save(&image, &["app:v1"]))), "layer 1/layer.tar"),
        (archive(&damaged(&last_layer, oci_archive(&image, "io.containerd.image.name", "app:v1"))), &last_layer),
        (
            archive(&damaged(image.manifest.hex(), oci_archive(&image, "io.containerd.image.name", "app:v1"))),
            "is damaged",
        ),
        (b"no tar at all".repeat(100), "not a tar file"),
    ];
    for (bytes, expected) in cases {
        let dir = temp();
        let store = store(&dir);
        let refused = store.import(&written(&dir, &bytes)).expect_err(expected).to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(store.list().expect("listed"), []);
        assert_eq!(fs::read_dir(dir.path().join("images/draft")).expect("readable").count(), 0);
    }
    let dir = temp();
    let refused = store(&dir).import(Path::new("/no/such/archive")).expect_err("absent");
    assert_eq!(refused.to_string(), "cannot read /no/such/archive");
}

/// The same length, another content.
fn two_other_bytes(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    bytes
}

#[test]
fn a_builtin_image_is_one_program_and_what_it_needs() {
    let dir = temp();
    let store = store(&dir);
    let program = dir.path().join("program");
    fs::write(&program, "v1").expect("written");
    let config = ImageConfig { entrypoint: vec!["/bin/stead".to_owned(), "demo".to_owned()], ..ImageConfig::default() };
    let first = store.install_builtin("stead.local/demo:v1", &program, config.clone()).expect("installed");
    let again = store.install_builtin("stead.local/demo:v2", &program, config.clone()).expect("installed");
    assert_eq!((&first.id, &first.layers), (&again.id, &again.layers));
    let root = &first.layers[0];
    assert_eq!(fs::read_to_string(root.join("bin/stead")).expect("readable"), "v1");
    let mode = |path: &str| fs::metadata(root.join(path)).expect("is there").permissions().mode() & 0o7777;
    assert_eq!([mode("bin/stead"), mode("tmp"), mode("etc/passwd")], [0o755, 0o1777, 0o644]);

    fs::write(&program, "v2").expect("written");
    assert_eq!(
        fs::read_to_string(root.join("bin/stead")).expect("readable"),
        "v1",
        "a rebuilt program does not change the image"
    );
    let rebuilt = store.install_builtin("stead.local/demo:v2", &program, config.clone()).expect("installed");
    assert_ne!(rebuilt.id, first.id);
    let listed: Vec<String> = store.list().expect("listed").iter().map(|image| image.reference.clone()).collect();
    assert_eq!(listed, ["stead.local/demo:v1", "stead.local/demo:v2"]);

    let nowhere = ImageConfig { entrypoint: vec!["../up".to_owned()], ..config };
    assert!(
        store
            .install_builtin("stead.local/demo:v3", &program, nowhere)
            .expect_err("refused")
            .to_string()
            .contains("absolute path")
    );
}

#[test]
fn what_a_crash_left_is_cleared_and_what_it_did_not_finish_is_not_seen() {
    let dir = temp();
    drop(store(&dir));
    let images = dir.path().join("images");
    fs::create_dir_all(images.join("draft/1-0/fs/half")).expect("made");
    fs::write(images.join("names/torn.draft-1"), "{").expect("written");
    let store = store(&dir);
    assert_eq!(fs::read_dir(images.join("draft")).expect("readable").count(), 0);
    assert_eq!(store.list().expect("listed"), []);
    assert_eq!(collect(&store, &HashSet::new()).layers, Vec::<PathBuf>::new());
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let dir = temp();
    drop(store(&dir));
    fs::write(dir.path().join("images/format"), "2\n").expect("written");
    let refused =
        ImageStore::open(&dir.path().join("images"), RegistryConfig::default()).err().expect("refused").to_string();
    assert!(refused.contains("format 2") && refused.contains("newer version"), "{refused}");
}
