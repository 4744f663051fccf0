//! What honest and dishonest layers become on disk. Needs root, for whiteouts are device nodes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::tree::is_opaque;

/// A layer being written; names are taken as they are, however wrong.
struct Draft(Builder<Vec<u8>>);

impl Draft {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().expect("a GNU header");
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_600_000_000);
        header.set_cksum();
        self.0.append(&header, content).expect("written");
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes(), 0o644)
    }

    fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"", 0o750)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"", 0o777)
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"", 0o644)
    }

    fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.0.append_pax_extensions([(format!("SCHILY.xattr.{name}").as_str(), value)]).expect("written");
        self
    }

    /// The whole name of the next entry.
    fn path(mut self, path: &str) -> Self {
        self.0.append_pax_extensions([("path", path.as_bytes())]).expect("written");
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("written")
    }
}

/// Unpacks into `<somewhere>/layer`, with room beside it that must stay untouched.
fn unpacked_with(limits: &Limits, packed: &[u8]) -> (TempDir, Result<Unpacked, LayerError>) {
    let dir = tempfile::tempdir().expect("a directory");
    let layer = dir.path().join("layer");
    fs::create_dir(&layer).expect("made");
    let outcome = unpack(packed, &layer, limits);
    let beside: Vec<_> =
        fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(beside, ["layer"], "nothing is written outside the layer");
    (dir, outcome)
}

fn unpacked(draft: Draft) -> TempDir {
    let (dir, outcome) = unpacked_with(&LIMITS, &draft.bytes());
    outcome.expect("an honest layer");
    dir
}

fn refused(draft: Draft) -> String {
    unpacked_with(&LIMITS, &draft.bytes()).1.expect_err("refused").to_string()
}

fn read(dir: &TempDir, path: &str) -> String {
    fs::read_to_string(dir.path().join("layer").join(path)).expect("readable")
}

fn meta(dir: &TempDir, path: &str) -> fs::Metadata {
    fs::symlink_metadata(dir.path().join("layer").join(path)).expect("is there")
}

fn is_whiteout(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[test]
fn files_keep_content_owner_mode_and_time() {
    let dir = unpacked(
        Draft::new()
            .directory("./")
            .directory("a/")
            .file("a/plain", "plain")
            .entry(EntryType::Regular, "a/suid", "", b"", 0o4755)
            .symlink("a/link", "/absolute/../is/fine")
            .hard_link("b", "a/plain")
            .file("deep/er/still", "x")
            .entry(EntryType::Fifo, "a/pipe", "", b"", 0o600),
    );
    let plain = meta(&dir, "a/plain");
    assert_eq!(
        (read(&dir, "a/plain").as_str(), plain.uid(), plain.gid(), plain.mode() & 0o7777, plain.mtime()),
        ("plain", 1000, 1001, 0o644, 1_600_000_000)
    );
    assert_eq!(meta(&dir, "a/suid").mode() & 0o7777, 0o4755);
    assert_eq!((meta(&dir, "a").mode() & 0o7777, meta(&dir, "a").mtime()), (0o750, 1_600_000_000));
    assert_eq!(meta(&dir, "").mode() & 0o7777, 0o750, "the root takes its own attributes");
    assert_eq!(fs::read_link(dir.path().join("layer/a/link")).expect("a link"), Path::new("/absolute/../is/fine"));
    assert_eq!(meta(&dir, "a/link").uid(), 1000);
    assert_eq!(meta(&dir, "b").ino(), plain.ino());
    assert_eq!(meta(&dir, "deep").mode() & 0o7777, 0o755);
    assert!(meta(&dir, "a/pipe").file_type().is_fifo());
}

#[test]
fn gzip_and_zstd_give_the_same_layer_and_digest() {
    let plain = Draft::new().file("x", "content").bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("packed");
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).expect("packed");
    for packed in [plain.clone(), gzip.finish().expect("packed"), zstd] {
        let (dir, outcome) = unpacked_with(&LIMITS, &packed);
        let unpacked = outcome.expect("an honest layer");
        assert_eq!((unpacked.diff_id, unpacked.bytes), (Digest::of(&plain), 7));
        assert_eq!(read(&dir, "x"), "content");
    }
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let dir = unpacked(
        Draft::new()
            .file("a/.wh.gone", "")
            .file("b/.wh..wh..opq", "")
            .file("b/new", "new")
            .file("c/.wh.again", "")
            .directory("c/again/")
            .file("c/again/x", "x")
            .file("d/.wh.file", "")
            .file("d/file", "replaced")
            .file("e/.wh..wh.plnk", "")
            .directory("f/kept/")
            .file("f/.wh.kept", ""),
    );
    let layer = dir.path().join("layer");
    assert!(is_whiteout(&meta(&dir, "a/gone")) && !is_opaque(&layer.join("a")));
    assert!(is_opaque(&layer.join("b")));
    assert!(is_opaque(&layer.join("c/again")), "a directory made over its own whiteout hides the old one");
    assert_eq!(read(&dir, "d/file"), "replaced");
    assert!(fs::symlink_metadata(layer.join("e/plnk")).is_err());
    assert!(is_opaque(&layer.join("f/kept")));
}

#[test]
fn nothing_gets_out_of_the_layer() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), "secret").expect("written");
    let out = outside.path().to_str().expect("text");

    assert!(refused(Draft::new().file("../beside", "x")).contains("leads upwards"));
    assert!(refused(Draft::new().file("a/../../beside", "x")).contains("leads upwards"));
    assert!(refused(Draft::new().hard_link("stolen", "../../../etc/passwd")).contains("leads upwards"));
    refused(Draft::new().hard_link("stolen", &format!("{out}/secret")));
    refused(Draft::new().symlink("way", out).hard_link("stolen", "way/secret"));
    refused(Draft::new().symlink("way", "../..").hard_link("stolen", "way/etc/passwd"));
    assert!(refused(Draft::new().file(".wh...", "")).contains("hides no name"));

    // Links are followed as the container would see them: inside.
    let dir = unpacked(
        Draft::new()
            .directory("real/")
            .symlink("way", "/real")
            .file("way/x", "x")
            .symlink("up", "../../../real")
            .file("up/y", "y")
            .file("/absolute", "z"),
    );
    assert_eq!(
        (read(&dir, "real/x"), read(&dir, "real/y"), read(&dir, "absolute")),
        ("x".to_owned(), "y".to_owned(), "z".to_owned())
    );
    refused(
        Draft::new()
            .symlink("way", out)
            .file("way/new", "x")
            .file("way/secret", "overwritten")
            .hard_link("x", "nothing"),
    );
    assert_eq!(fs::read_dir(outside.path()).expect("readable").count(), 1);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("readable"), "secret");
}

#[test]
fn no_layer_is_deeper_than_the_bound_by_paths_or_by_links() {
    let path = "d/".repeat(DEPTH_MAX);
    unpacked(Draft::new().path(&path).directory("named before"));
    assert!(refused(Draft::new().path(&format!("{path}d")).directory("named before")).contains("deeper than 512"));

    // No path in here is long.
    let chain = |links: usize| {
        (1..=links).fold(Draft::new().directory("l0/"), |draft, link| {
            let deeper = format!("l{}{}", link - 1, "/d".repeat(40));
            draft.directory(&deeper).symlink(&format!("l{link}"), &deeper)
        })
    };
    unpacked(chain(12));
    assert!(refused(chain(13)).contains("deeper than 512"));
}

#[test]
fn a_link_replaced_by_an_archive_is_not_followed_any_more() {
    let dir = unpacked(
        Draft::new()
            .directory("one/")
            .directory("two/")
            .symlink("way", "one")
            .file("way/x", "x")
            .symlink("way", "two")
            .file("way/x", "y"),
    );
    assert_eq!((read(&dir, "one/x"), read(&dir, "two/x")), ("x".to_owned(), "y".to_owned()));
}

#[test]
fn places_the_runtime_mounts_over_must_be_directories() {
    for name in MOUNTED_OVER {
        assert!(refused(Draft::new().symlink(name, "/etc")).contains("must be a directory"), "{name}");
    }
    unpacked(Draft::new().directory("dev/").directory("proc/"));
}

#[test]
fn attributes_that_speak_to_overlayfs_are_not_taken_over_and_capabilities_are() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let dir = unpacked(
        Draft::new()
            .xattr("trusted.overlay.opaque", b"y")
            .directory("a/")
            .xattr("security.capability", &capability)
            .file("ping", "x"),
    );
    assert!(!is_opaque(&dir.path().join("layer/a")));
    let mut value = [0_u8; 32];
    let length = rustix::fs::lgetxattr(dir.path().join("layer/ping"), "security.capability", &mut value).expect("kept");
    assert_eq!(&value[..length], capability);
}

#[test]
fn devices_are_left_out() {
    let dir = unpacked(
        Draft::new()
            .entry(EntryType::Block, "disk", "", b"", 0o666)
            .entry(EntryType::Char, "mem", "", b"", 0o666)
            .file("x", ""),
    );
    assert_eq!(fs::read_dir(dir.path().join("layer")).expect("readable").count(), 1);
}

#[test]
fn every_limit_holds() {
    let small =
        Limits { bytes_max: 1000, entries_max: 3, ratio_max: 20, ratio_free_bytes: 1 << 16, header_bytes_max: 8 << 10 };
    let check = |packed: &[u8], expected: &str| {
        let refused = unpacked_with(&small, packed).1.expect_err("too much").to_string();
        assert!(refused.contains(expected), "{refused}");
    };
    check(&Draft::new().file("x", &"x".repeat(1001)).bytes(), "more than 1000 bytes");
    check(&Draft::new().file("a", "").file("b", "").file("c", "").file("d", "").bytes(), "more than 3 entries");
    let bomb = zstd::stream::encode_all(
        Draft::new().entry(EntryType::Char, "x", "", &vec![0; 1 << 20], 0).bytes().as_slice(),
        1,
    )
    .expect("packed");
    check(&bomb, "more than 20 times its packed size");
    check(
        &Draft::new().xattr("user.large", &vec![b'x'; 16 << 10]).file("x", "").bytes(),
        "more than 8192 bytes of headers",
    );
}

#[test]
fn a_torn_archive_is_an_error() {
    let whole = Draft::new().file("x", &"x".repeat(5000)).bytes();
    let torn = unpacked_with(&LIMITS, &whole[..2000]).1.expect_err("torn");
    assert!(matches!(torn, LayerError::Io { .. }), "{torn}");
}
