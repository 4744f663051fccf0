//! A real database: three etcd members that find each other by their StatefulSet names, written to all the
//! time while one is deleted, all are updated and `stead up` is killed. Not one acknowledged key is lost.
//!
//! The image is made from Debian's packages of etcd and stands in for etcd's own under the name that the
//! example has. It is imported, not pulled: one process less than a registry, and how a person without
//! one would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use stead_testkit::{
    Cluster, Identities, ImageBuilder, Leftovers, PodChange, PodWatch, State, busybox, debian_files, eventually,
    example, run,
};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(60);
const MEMBERS: [&str; 3] = ["etcd-0", "etcd-1", "etcd-2"];
const IMAGE: &str = "quay.io/coreos/etcd:v3.5.16";
const SELECTOR: &str = "app=etcd";
/// The image's programs are of no use without the C library they were built for.
const PACKAGES: [&str; 3] = ["etcd-server", "etcd-client", "libc6"];
/// Writes that must be acknowledged in each chapter, so that none goes by without a writer.
const WRITES_PER_CHAPTER: usize = 20;

#[test]
fn a_database_keeps_every_acknowledged_write() {
    let files = debian_files(&PACKAGES, Path::new(env!("CARGO_TARGET_TMPDIR")));
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    let archive = cluster.scratch().join("etcd.tar");
    etcd_image(&files).save(IMAGE, &archive);
    cluster.stead(&["image", "import", &archive.display().to_string()]);
    let identities = Identities::watch(&cluster);
    let mut story = Story { cluster: &mut cluster, etcdctl: files.join("usr/bin/etcdctl"), began: Instant::now() };

    story.members_form_a_quorum();
    let members = story.members();
    story.a_writer_begins();
    story.a_deleted_member_returns();
    story.a_killed_server_is_not_noticed();
    story.an_update_survives_a_kill();
    let acknowledged = story.the_writer_ends();
    story.every_member_has_every_key(&acknowledged);
    assert_eq!(story.members(), members, "the same members as in the beginning");

    let seen = identities.assert_one_at_a_time();
    assert_eq!(MEMBERS.map(|name| seen[name]), [2, 3, 2], "one start, one update, and the one deletion");
    nothing_is_left(cluster);
}

/// etcd and its client where etcd's own image has them, the C library, and a shell for the writer.
fn etcd_image(files: &Path) -> ImageBuilder {
    let mut image = busybox();
    // Distributions differ in whether these are below /usr; the loader looks in both places.
    for dir in ["lib", "lib64", "usr/lib", "usr/lib64"].iter().filter(|dir| files.join(dir).is_dir()) {
        image.tree(dir.trim_start_matches("usr/"), &files.join(dir));
    }
    for program in ["etcd", "etcdctl"] {
        image.copy(&format!("usr/local/bin/{program}"), &files.join("usr/bin").join(program));
    }
    image
}

/// The chapters, in their order.
struct Story<'a> {
    cluster: &'a mut Cluster,
    /// The client as a program of this machine.
    etcdctl: PathBuf,
    began: Instant,
}

impl Story<'_> {
    fn members_form_a_quorum(&self) {
        for file in ["etcd/etcd-service.yaml", "etcd/etcd-statefulset.yaml"] {
            self.cluster.kubectl(&["apply", "-f", &example(file).display().to_string()]);
        }
        self.cluster.rolled_out("statefulset/etcd", STEP_MAX);
        let peers: BTreeSet<String> = self.members().into_values().collect();
        assert_eq!(peers, MEMBERS.map(|name| format!("{name} at {}:2380", url(name))).into());
        self.all_members_are_healthy();
        self.say("three members form a quorum");
    }

    fn a_writer_begins(&self) {
        self.cluster.apply(&WRITER.replace("IMAGE", IMAGE));
        self.cluster.wait_for("pod/writer", "condition=Ready", STEP_MAX);
        self.more_is_written();
        self.say("a writer writes");
    }

    fn a_deleted_member_returns(&self) {
        let before = State::of_selected(self.cluster, SELECTOR);
        let pods = self.watch();
        self.cluster.kubectl(&["delete", "pod", "etcd-1"]);
        pods.wait_for("etcd-1 is back", STEP_MAX, |pod| pod.name == "etcd-1" && is_new(pod, &before) && pod.ready);
        self.all_members_are_healthy();
        let after = State::of_selected(self.cluster, SELECTOR);
        for other in ["etcd-0", "etcd-2"] {
            assert_eq!(after.pods[other], before.pods[other], "{other} is untouched");
        }
        assert_eq!((after.claims, after.revisions), (before.claims, before.revisions));
        pods.assert_one_down_at_a_time(MEMBERS.len());
        self.more_is_written();
        self.say("a deleted member is back, with its data");
    }

    fn a_killed_server_is_not_noticed(&mut self) {
        let before = State::of_selected(self.cluster, SELECTOR);
        let address = self.cluster.field("pod/etcd-0", "/status/podIP");
        self.cluster.kill_server();
        // The members go on without it, and agree on writes.
        let endpoint = format!("--endpoints=http://{address}:2379");
        let etcdctl = self.etcdctl.display().to_string();
        let put = run(self.cluster.inside(&etcdctl).args([&endpoint, "put", "written", "while stead was dead"]));
        assert_eq!(put, "OK\n");
        self.cluster.up();
        self.cluster.wait_for("node/stead-test", "condition=Ready", STEP_MAX);
        assert_eq!(State::of_selected(self.cluster, SELECTOR), before, "the same processes, not one restart");
        assert_eq!(self.cluster.exec("etcd-2", "etcdctl get written --print-value-only"), "while stead was dead");
        self.more_is_written();
        self.say("a killed and restarted server changed nothing");
    }

    /// A changed template goes through 2, 1, 0, each only while the others are Ready. The server is killed
    /// in the middle, as etcd-1 ends.
    fn an_update_survives_a_kill(&mut self) {
        let before = State::of_selected(self.cluster, SELECTOR);
        let pods = self.watch();
        self.cluster.kubectl(&["set", "env", "statefulset/etcd", "ETCD_SNAPSHOT_COUNT=5000"]);
        pods.wait_for("etcd-1 ends", STEP_MAX, |pod| pod.name == "etcd-1" && pod.terminating);
        self.cluster.kill_server();
        assert_eq!(pods.incarnations()[MEMBERS.len()], "etcd-2", "the highest came first");
        pods.assert_one_down_at_a_time(MEMBERS.len());
        drop(pods);
        self.cluster.up();

        let pods = self.watch();
        self.cluster.rolled_out("statefulset/etcd", STEP_MAX);
        pods.wait_for("etcd-0 is new", STEP_MAX, |pod| pod.name == "etcd-0" && is_new(pod, &before) && pod.ready);
        pods.assert_one_down_at_a_time(MEMBERS.len());
        let after = State::of_selected(self.cluster, SELECTOR);
        for (name, pod) in &after.pods {
            assert_ne!(pod.uid, before.pods[name].uid, "{name} was replaced");
            assert_eq!(pod.restarts, 0, "{name}");
            assert_eq!(self.cluster.exec(name, "echo $ETCD_SNAPSHOT_COUNT"), "5000");
        }
        let created = MEMBERS.map(|name| self.cluster.field(&format!("pod/{name}"), "/metadata/creationTimestamp"));
        assert!(created[2] <= created[1] && created[1] <= created[0], "from the highest down: {created:?}");
        assert_eq!(after.claims, before.claims, "the same claims");
        assert_eq!(after.revisions.len(), 2, "one revision per template: {:?}", after.revisions);
        self.all_members_are_healthy();
        self.more_is_written();
        self.say("an update went through all members, over a kill");
    }

    fn the_writer_ends(&self) -> Vec<u32> {
        self.cluster.exec("writer", "touch /tmp/stop");
        self.cluster.wait_for("pod/writer", "jsonpath={.status.phase}=Succeeded", STEP_MAX);
        let acknowledged = self.acknowledged();
        assert!(acknowledged.is_sorted(), "the log has what was written in its order");
        self.say(&format!("{} writes were acknowledged", acknowledged.len()));
        acknowledged
    }

    fn every_member_has_every_key(&self, acknowledged: &[u32]) {
        for name in MEMBERS {
            // A linearizable read is answered once this member has everything that was agreed on; the
            // serializable one that follows shows what it holds itself.
            for consistency in ["l", "s"] {
                let script = format!("etcdctl get --prefix write/ --print-value-only --consistency={consistency}");
                let read = self.cluster.exec(name, &script);
                let read: BTreeSet<u32> = read.lines().filter_map(|line| line.parse().ok()).collect();
                let lost: Vec<_> = acknowledged.iter().filter(|key| !read.contains(key)).collect();
                assert!(lost.is_empty(), "{name} has lost {lost:?} (consistency {consistency})");
            }
        }
        self.say("every member has all of them");
    }

    /// A watch of the members that has begun.
    fn watch(&self) -> PodWatch {
        let pods = PodWatch::start(self.cluster, SELECTOR);
        eventually("the watch shows the members", STEP_MAX, || {
            (pods.incarnations().len() >= MEMBERS.len()).then_some(())
        });
        pods
    }

    /// The members by ID, on which all of them agree.
    fn members(&self) -> BTreeMap<u64, String> {
        let [first, second, third] = MEMBERS.map(|name| members_seen_by(self.cluster, name));
        assert_eq!((&first, &first), (&second, &third));
        first
    }

    /// Every member has a write agreed on, asked by the name it goes by.
    fn all_members_are_healthy(&self) {
        let health = json(&self.cluster.exec("etcd-0", "etcdctl endpoint health --cluster -w json"));
        let members = health.as_array().into_iter().flatten().filter(|member| member["health"] == true);
        let healthy: BTreeSet<&str> = members.filter_map(|member| member["endpoint"].as_str()).collect();
        assert_eq!(healthy, MEMBERS.map(|name| format!("{}:2379", url(name))).each_ref().map(String::as_str).into());
    }

    fn acknowledged(&self) -> Vec<u32> {
        self.cluster.kubectl(&["logs", "writer"]).lines().map(|line| line.parse().expect("a number")).collect()
    }

    fn more_is_written(&self) {
        let before = self.acknowledged().len();
        eventually("the writer goes on", STEP_MAX, || {
            (self.acknowledged().len() >= before + WRITES_PER_CHAPTER).then_some(())
        });
    }

    fn say(&self, what: &str) {
        println!("etcd: {:5.1} s: {what}", self.began.elapsed().as_secs_f64());
    }
}

/// Numbered keys, one after the other, and a line for each that was acknowledged. It ends when it is asked to,
/// has tried enough, or four minutes are over.
const WRITER: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: writer
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: writer
    image: IMAGE
    env:
    - name: ETCDCTL_ENDPOINTS
      value: http://etcd-0.etcd:2379,http://etcd-1.etcd:2379,http://etcd-2.etcd:2379
    command:
    - sh
    - -c
    - |
      n=0; end=$(($(date +%s) + 240))
      while [ ! -e /tmp/stop ] && [ $n -lt 5000 ] && [ $(date +%s) -lt $end ]; do
        n=$((n + 1))
        etcdctl --command-timeout=3s put write/$n $n > /dev/null 2>&1 && echo $n
      done
"#;

/// Whether a pod is not the one of its name that there was before.
fn is_new(pod: &PodChange, before: &State) -> bool {
    pod.uid != before.pods[&pod.name].uid
}

/// A member's address, without a port.
fn url(member: &str) -> String {
    format!("http://{member}.etcd.default.svc.cluster.local")
}

/// What one member says about all of them: by ID, name and address.
fn members_seen_by(cluster: &Cluster, member: &str) -> BTreeMap<u64, String> {
    let list = json(&cluster.exec(member, "etcdctl member list -w json"));
    let members = list["members"].as_array().unwrap_or_else(|| panic!("no members in {list}"));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {list}")).to_owned();
    let describe = |member: &Value| format!("{} at {}", text(&member["name"]), text(&member["peerURLs"][0]));
    members.iter().map(|member| (member["ID"].as_u64().expect("a member has an ID"), describe(member))).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("etcdctl printed no JSON ({error}): {text}"))
}

fn nothing_is_left(cluster: Cluster) {
    let (data, root) = (cluster.data_dir(), cluster.cgroup_root());
    drop(cluster);
    assert_eq!(Leftovers::of(&data, &root), Leftovers::default());
}
