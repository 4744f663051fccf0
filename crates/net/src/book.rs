//! The address book of a node: which pod has which address, kept on disk so that it survives the agent.
//! Addresses are handed out in rotation, so one that was given back is used again as late as possible.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use stead_disk::{Durability, replace};

use crate::{Cidr, NetError, PodKey};

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    /// The address last given to a new pod; the search for the next starts behind it.
    last_given: Option<Ipv4Addr>,
    pods: BTreeMap<PodKey, Ipv4Addr>,
}

/// The page in memory, and how many changes it has seen.
struct Open {
    page: Page,
    changes: u64,
}

/// The open address book. Changes are made in memory first; [`AddressBook::save`] makes them durable.
pub(crate) struct AddressBook {
    path: PathBuf,
    cidr: Cidr,
    gateway: Ipv4Addr,
    open: Mutex<Open>,
    /// Changes that are on disk; held while writing.
    saved: Mutex<u64>,
}

impl AddressBook {
    /// Opens the book at `path`, empty where there is none. Entries outside `cidr` are dropped with a warning: the
    /// node's network was changed.
    pub(crate) fn open(path: &Path, cidr: Cidr, gateway: Ipv4Addr) -> Result<Self, NetError> {
        let mut page = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Page>(&bytes)
                .map_err(|error| book_error(path, io::Error::new(io::ErrorKind::InvalidData, error)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Page::default(),
            Err(error) => return Err(book_error(path, error)),
        };
        page.pods.retain(|pod, ip| {
            let keep = cidr.contains(*ip);
            if !keep {
                tracing::warn!(pod = %pod.0, %ip, %cidr, "address is outside the node's network, forgotten");
            }
            keep
        });
        Ok(Self {
            path: path.to_owned(),
            cidr,
            gateway,
            open: Mutex::new(Open { page, changes: 0 }),
            saved: Mutex::new(0),
        })
    }

    /// The pod's address, a new one where it has none yet.
    pub(crate) fn assign(&self, pod: &PodKey) -> Result<Ipv4Addr, NetError> {
        let mut open = lock(&self.open);
        if let Some(ip) = open.page.pods.get(pod) {
            return Ok(*ip);
        }
        let ip = next_free(&open.page, self.cidr, self.gateway)
            .ok_or_else(|| NetError::Exhausted { cidr: self.cidr.to_string() })?;
        open.page.pods.insert(pod.clone(), ip);
        open.page.last_given = Some(ip);
        open.changes += 1;
        Ok(ip)
    }

    /// Gives the pod's address back.
    pub(crate) fn release(&self, pod: &PodKey) {
        let mut open = lock(&self.open);
        if open.page.pods.remove(pod).is_some() {
            open.changes += 1;
        }
    }

    /// Addresses in use, by pod.
    pub(crate) fn entries(&self) -> Vec<(PodKey, Ipv4Addr)> {
        lock(&self.open).page.pods.iter().map(|(pod, ip)| (pod.clone(), *ip)).collect()
    }

    /// Makes every change made so far durable. Blocks; callers that wait share one write.
    pub(crate) fn save(&self) -> Result<(), NetError> {
        let mut saved = lock(&self.saved);
        let (page, changes) = {
            let open = lock(&self.open);
            if open.changes == *saved {
                return Ok(());
            }
            (open.page.clone(), open.changes)
        };
        write_durably(&self.path, &page).map_err(|error| book_error(&self.path, error))?;
        *saved = changes;
        Ok(())
    }
}

fn next_free(page: &Page, cidr: Cidr, gateway: Ipv4Addr) -> Option<Ipv4Addr> {
    let taken: HashSet<Ipv4Addr> = page.pods.values().copied().chain([gateway]).collect();
    let behind = |ip: &Ipv4Addr| page.last_given.is_none_or(|last| *ip > last);
    let free = |ip: &Ipv4Addr| !taken.contains(ip);
    cidr.hosts().filter(behind).find(free).or_else(|| cidr.hosts().find(free))
}

fn write_durably(path: &Path, page: &Page) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    replace(path, &serde_json::to_vec_pretty(page)?, 0o644, Durability::Machine)
}

fn book_error(path: &Path, source: io::Error) -> NetError {
    NetError::Book { path: path.display().to_string(), source }
}

/// A panic while the lock was held leaves a page that is whole: every change to it is one statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(path: &Path) -> AddressBook {
        let cidr: Cidr = "10.1.0.0/29".parse().expect("a network");
        AddressBook::open(path, cidr, Ipv4Addr::new(10, 1, 0, 1)).expect("opens")
    }

    fn give(book: &AddressBook, pod: &str) -> u8 {
        book.assign(&PodKey(pod.to_owned())).expect("a free address").octets()[3]
    }

    #[test]
    fn a_pod_created_again_gets_a_fresh_address_and_a_freed_one_comes_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let book = book(&dir.path().join("book.json"));
        assert_eq!([give(&book, "a"), give(&book, "b"), give(&book, "a")], [2, 3, 2]);
        book.release(&PodKey("a".to_owned()));
        assert_eq!([give(&book, "a2"), give(&book, "c"), give(&book, "d"), give(&book, "e")], [4, 5, 6, 2]);
        let full = book.assign(&PodKey("f".to_owned())).expect_err("no address is left");
        assert_eq!(full.to_string(), "no free address in 10.1.0.0/29");
    }

    #[test]
    fn what_was_saved_is_there_after_a_crash_and_what_was_half_written_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("net/book.json");
        let before = book(&path);
        give(&before, "a");
        give(&before, "b");
        before.release(&PodKey("a".to_owned()));
        before.save().expect("saved");
        give(&before, "never saved");
        fs::write(stead_disk::draft_of(&path), b"{ torn").expect("written");
        drop(before);

        let after = book(&path);
        assert_eq!(after.entries(), [(PodKey("b".to_owned()), Ipv4Addr::new(10, 1, 0, 3))]);
        assert_eq!(give(&after, "c"), 4, "rotation goes on where it was");
    }

    #[test]
    fn a_damaged_book_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("book.json");
        fs::write(&path, b"{").expect("written");
        let refused = AddressBook::open(&path, "10.1.0.0/29".parse().expect("a network"), Ipv4Addr::new(10, 1, 0, 1))
            .err()
            .expect("refused");
        assert!(refused.to_string().contains("book.json"), "{refused}");
    }
}
