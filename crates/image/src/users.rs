//! Users that images name: `user[:group]` to numbers, by the image's own `/etc/passwd` and `/etc/group`
//! (contract/pods.md 6.2, 6.4). Reads two small files of a stack of layers, changes nothing.

use std::path::PathBuf;

use crate::UserError;

/// A user as a process has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Groups that `/etc/group` adds the user to, ascending, without the primary one.
    pub additional_gids: Vec<u32>,
    /// Home directory from `/etc/passwd`, if it names an absolute path.
    pub home: Option<String>,
}

/// Something that has the files of an image.
pub trait RootReader {
    /// The content of a file, by its absolute path; none where it is absent or unreadable.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

/// The files of a stack of layers, lowest first, as their overlay would show them.
pub struct Layers<'a>(pub &'a [PathBuf]);

impl RootReader for Layers<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let relative = path.trim_start_matches('/');
        for layer in self.0.iter().rev() {
            if let Found::Answer(content) = find(layer, relative) {
                return content;
            }
        }
        None
    }
}

/// The largest passwd or group file that is read.
const USER_FILE_BYTES_MAX: u64 = 4 << 20;

enum Found {
    Answer(Option<Vec<u8>>),
    LookBelow,
}

/// Looks for a file in one layer; a whiteout, or an opaque directory without it, ends the search.
fn find(layer: &std::path::Path, relative: &str) -> Found {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let mut at = layer.to_owned();
    let mut opaque = false;
    for component in relative.split('/') {
        at.push(component);
        match std::fs::symlink_metadata(&at) {
            Err(_) => return if opaque { Found::Answer(None) } else { Found::LookBelow },
            Ok(meta) if meta.file_type().is_char_device() && meta.rdev() == 0 => return Found::Answer(None),
            Ok(meta) if meta.is_dir() => opaque |= crate::tree::is_opaque(&at),
            Ok(_) => {}
        }
    }
    let beneath = rustix::fs::ResolveFlags::IN_ROOT;
    let opened =
        rustix::fs::open(layer, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .and_then(|root| {
                rustix::fs::openat2(
                    root,
                    relative,
                    rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC,
                    rustix::fs::Mode::empty(),
                    beneath,
                )
            });
    let Ok(fd) = opened else { return Found::Answer(None) };
    let mut content = Vec::new();
    let read = std::fs::File::from(fd).take(USER_FILE_BYTES_MAX).read_to_end(&mut content);
    Found::Answer(read.ok().map(|_| content))
}

/// The largest user or group id: beyond are those that the kernel takes for "leave it as it is", which is root.
const ID_MAX: u32 = i32::MAX as u32;

/// A user or group id in decimal.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= ID_MAX)
}

/// Resolves `user[:group]`, each a name or a number; the empty string is root. A number is that id, whatever
/// the image calls by it: its files only add what they know of the id.
///
/// # Errors
/// A name that the image does not know. Unknown numbers are taken as they are, with group 0.
pub fn resolve(root: &impl RootReader, user: &str) -> Result<ResolvedUser, UserError> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = root.read("/etc/passwd").unwrap_or_default();
    let groups = root.read("/etc/group").unwrap_or_default();
    let number = id(user);
    let meant = |entry: &PasswdEntry<'_>| number.map_or(entry.name == user, |uid| entry.uid == uid);
    let entry = lines(&passwd).filter_map(PasswdEntry::parse).find(meant);
    let mut resolved = match (&entry, number) {
        (Some(entry), _) => ResolvedUser {
            uid: entry.uid,
            gid: entry.gid,
            additional_gids: Vec::new(),
            home: entry.home.map(str::to_owned),
        },
        (None, Some(uid)) => ResolvedUser { uid, ..ResolvedUser::default() },
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        resolved.gid = gid_of(&groups, group)?;
    }
    if let Some(entry) = entry {
        let mut gids: Vec<u32> = lines(&groups)
            .filter_map(GroupEntry::parse)
            .filter(|group| group.has(entry.name))
            .map(|group| group.gid)
            .collect();
        gids.retain(|gid| *gid != resolved.gid);
        gids.sort_unstable();
        gids.dedup();
        resolved.additional_gids = gids;
    }
    Ok(resolved)
}

fn gid_of(groups: &[u8], group: &str) -> Result<u32, UserError> {
    let named = || lines(groups).filter_map(GroupEntry::parse).find(|entry| entry.name == group);
    id(group).or_else(|| named().map(|entry| entry.gid)).ok_or_else(|| UserError::NoGroup(group.to_owned()))
}

fn lines(content: &[u8]) -> impl Iterator<Item = &str> {
    content.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: Option<&'a str>,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, uid, gid, rest @ ..] => {
                let home = rest.get(1).copied().filter(|home| home.starts_with('/'));
                Some(Self { name, uid: id(uid)?, gid: id(gid)?, home })
            }
            [] | [_] | [_, _] | [_, _, _] => None,
        }
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(4, ':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { name, gid: id(gid)?, members: fields.next().unwrap_or("") })
    }

    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member.trim() == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `/etc/passwd` and an `/etc/group`.
    struct Files(&'static str, &'static str);

    impl RootReader for Files {
        fn read(&self, path: &str) -> Option<Vec<u8>> {
            match path {
                "/etc/passwd" => Some(self.0.into()),
                "/etc/group" => Some(self.1.into()),
                _ => None,
            }
        }
    }

    const QDRANT: Files = Files(
        "root:x:0:0:root:/root:/bin/sh\nqdrant:x:1000:1001::/qdrant:/bin/false\nbroken\n",
        "root:x:0:\nqdrant:x:1001:\ndata:x:70:other,qdrant\nmore:x:60:qdrant\n",
    );

    fn resolved_in(files: &Files, user: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        resolve(files, user).map(|user| (user.uid, user.gid, user.additional_gids))
    }

    fn resolved(user: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        resolved_in(&QDRANT, user)
    }

    #[test]
    fn names_and_numbers_become_what_the_image_says() {
        assert_eq!(resolved(""), Ok((0, 0, vec![])));
        assert_eq!(resolved("qdrant"), Ok((1000, 1001, vec![60, 70])));
        assert_eq!(resolved("1000"), Ok((1000, 1001, vec![60, 70])));
        assert_eq!(resolved("qdrant:data"), Ok((1000, 70, vec![60])));
        assert_eq!(resolved("4711"), Ok((4711, 0, vec![])));
        assert_eq!(resolved("4711:4712"), Ok((4711, 4712, vec![])));
        assert_eq!(resolved("nobody"), Err(UserError::NoUser("nobody".to_owned())));
        assert_eq!(resolved("0:staff"), Err(UserError::NoGroup("staff".to_owned())));
    }

    #[test]
    fn a_home_is_an_absolute_path_or_none() {
        let files = Files("svc:x:10:10::/var/svc:/bin/false\nodd:x:11:11::relative:\nshort:x:12:12\n", "");
        let home = |user: &str| resolve(&files, user).expect("known, or a number").home;
        assert_eq!(home("svc").as_deref(), Some("/var/svc"));
        assert_eq!(home("10:4711").as_deref(), Some("/var/svc"));
        assert_eq!([home("odd"), home("short"), home("13")], [None, None, None]);
    }

    #[test]
    fn a_number_is_that_id_though_the_image_calls_another_by_it() {
        let files = Files(
            "1000:x:0:0::/root:/bin/sh\napp:x:1000:1001::/app:/bin/sh\n4711:x:0:0::/root:/bin/sh\n",
            "1001:x:0:\napp:x:1001:\nroots:x:5:1000\ndata:x:70:app\n",
        );
        assert_eq!(resolved_in(&files, "1000"), Ok((1000, 1001, vec![70])));
        assert_eq!(resolved_in(&files, "4711"), Ok((4711, 0, vec![])));
        assert_eq!(resolved_in(&files, "app:1001"), Ok((1000, 1001, vec![70])));
    }

    #[test]
    fn an_id_that_the_kernel_would_take_for_no_change_is_none() {
        let files = Files("wide:x:4294967295:0::/:/bin/sh\n", "wide:x:4294967295:\n");
        assert_eq!(resolved_in(&files, "4294967295"), Err(UserError::NoUser("4294967295".to_owned())));
        assert_eq!(resolved_in(&files, "wide"), Err(UserError::NoUser("wide".to_owned())));
        assert_eq!(resolved_in(&files, "7:4294967295"), Err(UserError::NoGroup("4294967295".to_owned())));
    }
}
