//! Services forward: cluster addresses, node ports, sessions, refusals; by name and by address, from pods and
//! from the node.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use stead_testkit::{Cluster, Leftovers, Netns, busybox, eventually};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(40);
/// Connections in which each of three replicas answers, but for one run in a thousand million.
const ROUNDS: usize = 60;

const SERVE: &str = "mkdir -p /www; hostname > /www/name; touch /www/ready; \
    trap 'kill $!; exit 0' TERM; httpd -f -p 8080 -h /www & wait $!";

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 3
  serviceName: web-headless
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: services/web:1
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {exec: {command: [test, -e, /www/ready]}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: client, image: "services/web:1", command: [sh, -c, "trap 'exit 0' TERM; sleep 1000 & wait $!"]}
---
apiVersion: v1
kind: Service
metadata: {name: web-headless}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-sticky}
spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-node}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {type: NodePort, selector: {app: nobody}, ports: [{port: 80, nodePort: 30081}]}
---
# The cluster's name server once more, under an address of its own and without a selector.
apiVersion: v1
kind: Service
metadata: {name: names}
spec: {ports: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names-1, labels: {kubernetes.io/service-name: names}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: [10.96.0.10]}]
"#;

const ALL: [&str; 3] = ["web-0", "web-1", "web-2"];

#[test]
fn services_forward() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    let mut image = busybox();
    image.command(&["/bin/sh", "-c", SERVE]);
    let archive = cluster.scratch().join("web.tar");
    image.save("docker.io/services/web:1", &archive);
    cluster.stead(&["image", "import", &archive.display().to_string()]);
    cluster.apply(MANIFEST);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    cluster.wait_for("pod/client", "condition=Ready", STEP_MAX);

    all_replicas_answer_by_name_and_by_address(&cluster);
    a_client_stays_with_its_replica(&cluster);
    the_node_reaches_services_too(&cluster);
    nobody_is_refused_at_once(&cluster);
    the_api_and_a_udp_port_are_reached(&cluster);
    a_replica_that_turns_unready_leaves_and_comes_back(&cluster);
    rules_outlive_the_server(&mut cluster);

    let netns = Netns::of(&cluster);
    assert!(netns.content().contains("chain services"), "{}", netns.content());
    let (data, root) = (cluster.data_dir(), cluster.cgroup_root());
    cluster.purge();
    netns.assert_as_new();
    assert_eq!(Leftovers::of(&data, &root), Leftovers::default());
}

/// Asks a Service for the name of the replica that answers.
fn ask(cluster: &Cluster, pod: &str, host: &str) -> String {
    cluster.exec(pod, &format!("wget -q -O - http://{host}/name"))
}

/// The replicas that answer a pod, over many connections.
fn answering(cluster: &Cluster, pod: &str, host: &str) -> BTreeSet<String> {
    let ask = format!("i=0; while [ $i -lt {ROUNDS} ]; do wget -q -O - http://{host}/name; i=$((i+1)); done");
    cluster.exec(pod, &ask).lines().map(str::to_owned).collect()
}

fn cluster_ip(cluster: &Cluster, service: &str) -> String {
    cluster.field(&format!("service/{service}"), "/spec/clusterIP")
}

fn all_replicas_answer_by_name_and_by_address(cluster: &Cluster) {
    let all: BTreeSet<String> = ALL.map(str::to_owned).into();
    for host in ["web", "web.default.svc.cluster.local", &cluster_ip(cluster, "web")] {
        assert_eq!(answering(cluster, "client", host), all, "through {host}");
    }
    // Replicas reach their own Service, themselves included.
    assert_eq!(answering(cluster, "web-0", "web"), all);
}

fn a_client_stays_with_its_replica(cluster: &Cluster) {
    for pod in ["client", "web-0", "web-1"] {
        assert_eq!(answering(cluster, pod, "web-sticky").len(), 1, "{pod} has one replica");
    }
    let mine = ask(cluster, "client", "web-sticky");
    cluster.kubectl(&["scale", "statefulset", "web", "--replicas=5"]);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    // The new ones serve, and take nobody away.
    eventually("a new replica serves", STEP_MAX, || {
        answering(cluster, "client", "web").contains("web-4").then_some(())
    });
    assert_eq!(answering(cluster, "client", "web-sticky"), [mine].into());
    cluster.kubectl(&["scale", "statefulset", "web", "--replicas=3"]);
    for pod in ["pod/web-3", "pod/web-4"] {
        cluster.wait_for(pod, "delete", STEP_MAX);
    }
}

/// What `wget` on the node hears from there.
fn wget(cluster: &Cluster, url: &str) -> Command {
    let mut command = cluster.inside("busybox");
    command.args(["wget", "-O", "-", url]);
    command
}

fn the_node_reaches_services_too(cluster: &Cluster) {
    let node = cluster.field("node/stead-test", "/status/addresses/0/address");
    for address in [format!("{node}:30080"), cluster_ip(cluster, "web-node")] {
        let heard = wget(cluster, &format!("http://{address}/name")).output().expect("busybox can be run");
        let name = String::from_utf8_lossy(&heard.stdout).trim().to_owned();
        assert!(ALL.contains(&name.as_str()), "{address}: {heard:?}");
    }
    let from_pod = ask(cluster, "client", &format!("{node}:30080"));
    assert!(ALL.contains(&from_pod.as_str()), "{from_pod}");
}

fn nobody_is_refused_at_once(cluster: &Cluster) {
    let address = cluster_ip(cluster, "nobody");
    let node = cluster.field("node/stead-test", "/status/addresses/0/address");
    for host in ["nobody".to_owned(), address.clone(), format!("{node}:30081")] {
        let refused = cluster.kubectl_refused(&["exec", "client", "--", "wget", &format!("http://{host}/")]);
        assert!(refused.contains("Connection refused"), "{refused}");
    }
    let started = Instant::now();
    let refused = wget(cluster, &format!("http://{address}/")).output().expect("busybox can be run");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Connection refused"), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "told rather than left waiting");
}

fn the_api_and_a_udp_port_are_reached(cluster: &Cluster) {
    // Busybox and the API know no cipher in common: that the API's door opens must do.
    cluster.exec("client", "true | nc -w 5 kubernetes.default 443");
    cluster.kubectl_refused(&["exec", "client", "--", "nc", "-w", "5", "kubernetes.default", "444"]);
    let names = cluster_ip(cluster, "names");
    let heard = cluster.exec("client", &format!("nslookup web.default.svc.cluster.local {names}"));
    assert!(heard.contains(&cluster_ip(cluster, "web")), "{heard}");
}

fn a_replica_that_turns_unready_leaves_and_comes_back(cluster: &Cluster) {
    cluster.exec("web-1", "rm /www/ready");
    cluster.wait_for("pod/web-1", "condition=Ready=false", STEP_MAX);
    let without: BTreeSet<String> = ["web-0", "web-2"].map(str::to_owned).into();
    eventually("web-1 has left", STEP_MAX, || (answering(cluster, "client", "web") == without).then_some(()));
    cluster.exec("web-1", "touch /www/ready");
    cluster.wait_for("pod/web-1", "condition=Ready", STEP_MAX);
    eventually("web-1 is back", STEP_MAX, || answering(cluster, "client", "web").contains("web-1").then_some(()));
}

fn rules_outlive_the_server(cluster: &mut Cluster) {
    let address = cluster_ip(cluster, "web");
    let reached = |cluster: &Cluster| {
        let heard = wget(cluster, &format!("http://{address}/name")).output().expect("busybox can be run");
        heard.status.success()
    };
    cluster.kill_server();
    assert!(reached(cluster), "nothing but the server has gone");
    cluster.up();
    assert!(reached(cluster));
}
