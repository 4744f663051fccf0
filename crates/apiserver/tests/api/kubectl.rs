//! The real `kubectl` against the real listener: TLS, client certificates, discovery, OpenAPI,
//! tables, strategic patches.

use std::process::Stdio;

use serde_json::json;
use stead_apiserver::pki::write_private;

use crate::common::{PODS, pod};
use crate::served::Served;

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  serviceName: nginx
  replicas: 3
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx:1.27
        ports:
        - containerPort: 80
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_reads_changes_and_deletes() {
    let served = Served::start().await;
    let applied = served.kubectl(&["apply", "-f", "-"], MANIFEST).await.unwrap();
    assert_eq!(applied, "statefulset.apps/web created\n");
    let again = served.kubectl(&["apply", "-f", "-"], MANIFEST).await.unwrap();
    assert_eq!(again, "statefulset.apps/web unchanged\n");
    let changed = served.kubectl(&["apply", "-f", "-"], &MANIFEST.replace("1.27", "1.28")).await.unwrap();
    assert_eq!(changed, "statefulset.apps/web configured\n");

    let table = served.ok(&["get", "sts", "-o", "wide"]).await;
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "READY", "AGE", "CONTAINERS", "IMAGES"]);
    assert_eq!((words[1][0], words[1][1], words[1][4]), ("web", "0/3", "nginx:1.28"));

    assert_eq!(served.ok(&["scale", "sts/web", "--replicas=5"]).await, "statefulset.apps/web scaled\n");
    let image = served.ok(&["set", "image", "sts/web", "nginx=nginx:1.29"]).await;
    assert_eq!(image, "statefulset.apps/web image updated\n");
    let patch = r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}"#;
    assert_eq!(served.ok(&["patch", "sts", "web", "-p", patch]).await, "statefulset.apps/web patched\n");
    let query = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image} \
        {.spec.updateStrategy.rollingUpdate.partition}";
    assert_eq!(served.ok(&["get", "sts", "web", "-o", query]).await, "5 nginx:1.29 2");

    let explained = served.ok(&["explain", "statefulset.spec.replicas"]).await;
    assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
    let misspelt = MANIFEST.replace("serviceName", "serviceNmae");
    let refused = served.kubectl(&["apply", "-f", "-"], &misspelt).await.unwrap_err();
    assert!(refused.contains("unknown field \"spec.serviceNmae\""), "{refused}");

    let deleted = served.ok(&["delete", "sts", "web"]).await;
    assert_eq!(deleted, "statefulset.apps \"web\" deleted\n");
    let gone = served.kubectl(&["get", "sts", "web"], "").await.unwrap_err();
    assert_eq!(gone, "Error from server (NotFound): statefulsets.apps \"web\" not found\n");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_sees_the_cluster() {
    let served = Served::start().await;
    let version = served.ok(&["version"]).await;
    assert!(version.contains("Server Version: v1.36.2+stead."), "{version}");
    let resources = served.ok(&["api-resources", "--api-group=apps"]).await;
    assert!(resources.contains("statefulsets"), "{resources}");
    served.cluster.create(PODS, pod("p")).await.ok();
    let described = served.ok(&["describe", "pod", "p"]).await;
    assert!(described.contains("Service Account:  default"), "{described}");
    let diff = served.kubectl(&["apply", "--dry-run=server", "-f", "-"], MANIFEST).await.unwrap();
    assert_eq!(diff, "statefulset.apps/web created (server dry run)\n");
    served.ok(&["label", "pod", "p", "tier=db"]).await;
    served.ok(&["annotate", "pod", "p", "note=x"]).await;
    assert!(served.ok(&["get", "pods", "-l", "tier=db", "--show-labels"]).await.contains("tier=db"));
    served.ok(&["delete", "pod", "p", "--force", "--grace-period=0"]).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_watches_follow_a_rollout_and_wait_for_deletion() {
    let served = Served::start().await;
    served.kubectl(&["apply", "-f", "-"], MANIFEST).await.unwrap();
    let status = json!({"status": {"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
        "currentReplicas": 3, "availableReplicas": 3, "currentRevision": "web-1", "updateRevision": "web-1"}});
    let path = "/apis/apps/v1/namespaces/default/statefulsets/web";
    let rollout = served.command(&["rollout", "status", "sts/web"]).stdout(Stdio::piped()).spawn().unwrap();
    served.cluster.merge(&format!("{path}/status"), status).await.ok();
    let output = rollout.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("partitioned roll out complete: 3 new pods have been updated..."), "{text}");
    // Held by a finalizer, the set goes only once kubectl has begun to wait for it.
    served.cluster.merge(path, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await.ok();
    let mut watch = served.cluster.watch("/apis/apps/v1/namespaces/default/statefulsets?watch=1").await;
    assert_eq!(watch.change().await.0, "ADDED");
    let deletion = served.command(&["delete", "sts", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(watch.change().await.0, "MODIFIED");
    served.cluster.merge(path, json!({"metadata": {"finalizers": null}})).await.ok();
    assert!(deletion.wait_with_output().await.unwrap().status.success());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_see_nothing_but_health() {
    let served = Served::start().await;
    let stranger = served.directory.path().join("stranger");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("https://127.0.0.1:{}", served.port),
            "insecure-skip-tls-verify": true}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "made-up"}}]});
    write_private(&stranger, &config.to_string()).unwrap();
    let ask = async |path: &str| {
        let output = served.command(&["--kubeconfig", stranger.to_str().unwrap(), "get", "--raw", path]).output().await;
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(ask("/livez").await, (true, "ok".to_owned()));
    let (allowed, text) = ask("/api/v1/namespaces").await;
    assert!(!allowed && text.contains("Unauthorized"), "{text}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_open_watches() {
    let served = Served::start().await;
    let mut watching = served.command(&["get", "configmaps", "--watch-only"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(watching.stdout.take().unwrap()));
    // The watch is open once something written after it began comes through.
    let mut round = 0;
    loop {
        let map = crate::common::config_map(&format!("m{round}"));
        served.cluster.create(crate::common::CONFIG_MAPS, map).await.ok();
        round += 1;
        let next = tokio::time::timeout(std::time::Duration::from_millis(200), lines.next_line());
        if let Ok(line) = next.await {
            assert!(line.unwrap().is_some());
            break;
        }
        assert!(round < 100, "the watch never opened");
    }
    served.shutdown.cancel();
    served.serving.await.unwrap().unwrap();
    while lines.next_line().await.unwrap().is_some() {}
    watching.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_does_its_daily_work() {
    let served = Served::start().await;
    served.kubectl(&["apply", "-f", "-"], MANIFEST).await.unwrap();
    served.cluster.create("/api/v1/nodes", json!({"metadata": {"name": "one"}})).await.ok();
    let recorded = served.ok(&["set", "image", "sts/web", "nginx=nginx:1.29", "--record"]).await;
    assert_eq!(recorded, "statefulset.apps/web image updated\n");
    let cause = "jsonpath={.metadata.annotations.kubernetes\\.io/change-cause}";
    let cause = served.ok(&["get", "sts", "web", "-o", cause]).await;
    assert!(cause.starts_with("kubectl set image sts/web") && cause.ends_with("--record=true"), "{cause}");
    assert_eq!(served.ok(&["rollout", "restart", "sts/web"]).await, "statefulset.apps/web restarted\n");
    assert_eq!(served.ok(&["run", "q", "--image=nginx"]).await, "pod/q created\n");
    assert_eq!(served.ok(&["cordon", "one"]).await, "node/one cordoned\n");
    assert_eq!(served.ok(&["taint", "nodes", "one", "a=b:NoSchedule"]).await, "node/one tainted\n");
    for described in [["describe", "sts", "web"], ["describe", "node", "one"], ["describe", "ns", "default"]] {
        served.ok(&described).await;
    }
    let all = served.ok(&["get", "all"]).await;
    assert!(all.contains("pod/q") && all.contains("statefulset.apps/web"), "{all}");
    assert!(served.ok(&["drain", "one", "--ignore-daemonsets"]).await.ends_with("node/one drained\n"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_explains_what_is_served() {
    let served = Served::start().await;
    for kind in ["sts", "pods", "services", "endpointslices.discovery.k8s.io", "roles", "pdb", "pc", "leases"] {
        let explained = served.ok(&["explain", kind]).await;
        assert!(explained.contains("\n  apiVersion\t<string>\n"), "{kind}: {explained}");
    }
    let tree = served.ok(&["explain", "sts.spec.template.spec.containers", "--recursive"]).await;
    for line in [
        "FIELD: containers <[]Container>",
        "  livenessProbe\t<Probe>",
        "      port\t<IntOrString> -required-",
        "    limits\t<map[string]Quantity>",
        "  ports\t<[]ContainerPort>",
    ] {
        assert!(tree.contains(line), "{line} is in {tree}");
    }
    served.stop().await;
}
