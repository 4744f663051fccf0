//! One cluster: `stead up --isolated` on a temporary data directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::Table;
use crate::processes::{started, supervisor_of};
use crate::run::{both, output, run, within};

/// Longest wait for a server to be ready or to end.
const STATE_CHANGE_MAX: Duration = Duration::from_secs(60);

/// A cluster that a test owns. Dropping it takes everything away, also after a panic.
pub struct Cluster {
    stead: PathBuf,
    kubectl: String,
    dir: TempDir,
    args: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// Starts a cluster with the `stead` binary at `stead`, e.g. `env!("CARGO_BIN_EXE_stead")`.
    pub fn start(stead: &str) -> Self {
        let mut cluster = Self::prepare(stead);
        cluster.up();
        cluster
    }

    /// A cluster that is not started yet, so that flags can be given first.
    pub fn prepare(stead: &str) -> Self {
        Self {
            stead: PathBuf::from(stead),
            kubectl: crate::kubectl_binary(),
            dir: tempfile::Builder::new().prefix("stead-e2e-").tempdir().expect("a temporary directory"),
            args: Vec::new(),
            server: None,
        }
    }

    /// Adds a flag to every `up` from now on.
    pub fn flag(&mut self, name: &str, value: &str) {
        self.args.extend([name.to_owned(), value.to_owned()]);
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A directory for the test's own files, gone with the cluster.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server and waits until it is ready; gives the line it prints then.
    pub fn up(&mut self) -> String {
        assert!(self.server.is_none(), "the server is running already");
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("server.log"));
        let mut child = Command::new(&self.stead)
            .args(["up", "--isolated", "--listen", "127.0.0.1:0", "--node-name", "stead-test", "--data-dir"])
            .arg(self.data_dir())
            .args(&self.args)
            .env("STEAD_LOG", std::env::var("STEAD_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("stead can be run");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("stead's output can be read");
        if !line.starts_with("stead: ready in ") {
            let status = child.wait();
            panic!("stead up did not become ready ({status:?}): {line}\n{}", self.log());
        }
        self.server = Some(child);
        line.trim().to_owned()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// Kills the server with SIGKILL; pods go on.
    pub fn kill_server(&mut self) {
        let mut child = self.server.take().expect("the server is running");
        child.kill().expect("the server can be killed");
        child.wait().expect("the server can be waited for");
    }

    /// Kills the supervisor of the containers with SIGKILL, and waits until it is gone.
    pub fn kill_supervisor(&self) {
        let pid = supervisor_of(&self.data_dir()).expect("a supervisor runs");
        let since = started(pid);
        let raw = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id");
        rustix::process::kill_process(raw, rustix::process::Signal::KILL).expect("it can be killed");
        crate::eventually("the supervisor is gone", STATE_CHANGE_MAX, || (started(pid) != since).then_some(()));
    }

    /// Asks the server to end with SIGTERM and waits; pods go on.
    pub fn stop_server(&mut self) {
        let mut child = self.server.take().expect("the server is running");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the server can be signalled");
        let ended = crate::eventually("the server ends on SIGTERM", STATE_CHANGE_MAX, || {
            child.try_wait().expect("the server can be waited for")
        });
        assert!(ended.success(), "stead up ended with {ended}:\n{}", self.log());
    }

    /// Runs `stead VERB --data-dir …`; gives its output.
    pub fn stead(&self, args: &[&str]) -> String {
        run(Command::new(&self.stead).args(args).arg("--data-dir").arg(self.data_dir()))
    }

    /// `stead down`: takes everything but the data away.
    pub fn down(&mut self) {
        if self.server.is_some() {
            self.stop_server();
        }
        self.stead(&["down"]);
    }

    /// `stead down --purge`, on a server that runs: takes everything away.
    pub fn purge(&mut self) {
        self.stead(&["down", "--purge"]);
        if let Some(mut child) = self.server.take() {
            let ended = crate::eventually("the server ends after down", STATE_CHANGE_MAX, || {
                child.try_wait().expect("the server can be waited for")
            });
            assert!(ended.success(), "stead up ended with {ended}:\n{}", self.log());
        }
    }

    /// A kubectl command for this cluster.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .env("KUBECONFIG", self.data_dir().join("kubeconfig"))
            // Discovery is cached per cluster, not shared with other tests.
            .env("KUBECACHEDIR", self.dir.path().join("kubectl-cache"))
            .env("HOME", self.dir.path())
            .args(args);
        command
    }

    /// Runs kubectl; gives what it printed on standard output. Panics when it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        run(&mut self.kubectl_command(args))
    }

    /// Runs a command line as a document prints it, quotes and all; it may start with `kubectl`.
    pub fn shell(&self, line: &str) -> String {
        let mut command = Command::new("sh");
        let template = self.kubectl_command(&[]);
        for (name, value) in template.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let script = format!("kubectl() {{ command {} \"$@\"; }}; {line}", self.kubectl);
        run(command.current_dir(self.dir.path()).args(["-c", &script]))
    }

    /// Runs kubectl, which must fail; gives everything it printed.
    pub fn kubectl_refused(&self, args: &[&str]) -> String {
        let mut command = self.kubectl_command(args);
        let output = output(&mut command);
        assert!(!output.status.success(), "{command:?} should have failed:\n{}", both(&output));
        both(&output)
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) -> String {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(self.dir.path()).expect("a temporary file");
        std::fs::write(file.path(), manifest).expect("a manifest can be written");
        self.kubectl(&["apply", "-f", &file.path().display().to_string()])
    }

    /// What `kubectl get WHAT` gives, as JSON; `what` may have several words.
    pub fn get(&self, what: &str) -> serde_json::Value {
        let words: Vec<&str> = ["get"].into_iter().chain(what.split(' ')).chain(["-o", "json"]).collect();
        let text = self.kubectl(&words);
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// A field by JSON pointer, as text; empty when absent.
    pub fn field(&self, what: &str, pointer: &str) -> String {
        match self.get(what).pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// What kubectl prints as a table.
    pub fn table(&self, args: &[&str]) -> Table {
        Table::parse(&self.kubectl(args))
    }

    /// Runs a shell script in the first container of a pod; gives its output.
    pub fn exec(&self, pod: &str, script: &str) -> String {
        self.kubectl(&["exec", pod, "--", "sh", "-c", script]).trim_end().to_owned()
    }

    /// Waits with `kubectl rollout status` until a roll-out is complete; gives what it printed.
    pub fn rolled_out(&self, what: &str, at_most: Duration) -> String {
        let timeout = format!("--timeout={}s", at_most.as_secs());
        self.kubectl(&["rollout", "status", what, &timeout])
    }

    /// Waits with `kubectl wait` until `condition` holds, e.g. `condition=Ready` or `delete`.
    pub fn wait_for(&self, what: &str, condition: &str, at_most: Duration) {
        let timeout = format!("--timeout={}s", at_most.as_secs());
        self.kubectl(&["wait", what, &format!("--for={condition}"), &timeout]);
    }

    /// A command inside the cluster's network namespace.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.data_dir().join("netns").display())).arg(program);
        command
    }

    /// Shows what a person would look at first, on a failing test's output.
    fn show(&self) {
        for what in ["pods,statefulsets,pvc", "events"] {
            match self.kubectl_command(&["get", what, "-o", "wide", "--request-timeout=5s"]).output() {
                Ok(output) => eprintln!("--- {what}\n{}", both(&output)),
                Err(error) => eprintln!("--- {what}: {error}"),
            }
        }
    }

    /// The cgroup that everything of the cluster is below, as its record has it.
    pub fn cgroup_root(&self) -> String {
        let record = std::fs::read(self.data_dir().join("cluster.json")).expect("the cluster has a record");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("a record is JSON");
        record["cgroup_root"].as_str().expect("the record names its cgroups").to_owned()
    }

    /// The path of the cluster's network namespace.
    pub fn netns(&self) -> PathBuf {
        self.data_dir().join("netns")
    }
}

/// Waits for a server that was asked to stop; one that does not in time is killed, so that a failed test ends.
fn reap(child: &mut Child) -> std::io::Result<()> {
    match within(STATE_CHANGE_MAX, || child.try_wait().transpose()) {
        Some(ended) => ended.map(drop),
        None => {
            child.kill()?;
            child.wait()?;
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() && self.server.is_some() {
            self.show();
        }
        if let Some(mut child) = self.server.take() {
            // `down` stops it as well; this one is ours to reap.
            let pid = rustix::process::Pid::from_child(&child);
            if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
                eprintln!("cannot stop the server: {error}");
            }
            if let Err(error) = reap(&mut child) {
                eprintln!("the server did not stop: {error}");
            }
        }
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.log());
        }
        if !self.data_dir().exists() {
            return;
        }
        let down = Command::new(&self.stead)
            .args(["down", "--purge", "--grace-period", "1", "--data-dir"])
            .arg(self.data_dir())
            .output();
        match down {
            Ok(output) if output.status.success() => {}
            Ok(output) if !std::thread::panicking() => panic!("stead down --purge failed: {}", both(&output)),
            other => eprintln!("stead down --purge failed: {other:?}"),
        }
    }
}
