//! What `kubectl` and typed clients send as protobuf: the imperative `create` commands, questions, deletions.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cluster, JSON, PODS, Reply, pod, stateful_set};
use crate::served::Served;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A field of text or of fields; with numbers below 16 and lengths below 128 the bytes are ASCII.
fn field(number: u8, content: &str) -> String {
    format!("{}{}{content}", char::from(number << 3 | 2), char::from(u8::try_from(content.len()).unwrap()))
}

fn number(number: u8, value: u8) -> String {
    format!("{}{}", char::from(number << 3), char::from(value))
}

fn body(api_version: &str, kind: &str, fields: &[String]) -> String {
    let type_meta = field(1, &[field(1, api_version), field(2, kind)].concat());
    ["k8s\0", &type_meta, &field(2, &fields.concat()), &field(3, ""), &field(4, "")].concat()
}

async fn send(cluster: &Cluster, method: Method, path: &str, body: String) -> Reply {
    cluster.ask(method, path, PROTOBUF, &format!("{PROTOBUF},{JSON}"), body).await
}

#[tokio::test]
async fn typed_clients_bind_evict_scale_and_delete() {
    let cluster = Cluster::start().await;
    cluster.create("/api/v1/nodes", json!({"metadata": {"name": "one"}})).await.ok();
    cluster.create(PODS, pod("p")).await.ok();
    let named = field(1, &[field(1, "p"), field(5, "")].concat());
    let target = field(2, &[field(1, "Node"), field(3, "one"), field(4, "")].concat());
    let binding = body("v1", "Binding", &[named.clone(), target]);
    send(&cluster, Method::POST, &format!("{PODS}/p/binding"), binding).await.ok();
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.ok()["spec"]["nodeName"], "one");
    let eviction = body("policy/v1", "Eviction", &[named, field(2, &number(1, 0))]);
    send(&cluster, Method::POST, &format!("{PODS}/p/eviction"), eviction).await.ok();
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 404, "evicted without grace");

    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    cluster.create(sets, stateful_set("web")).await.ok();
    for replicas in [7, 0] {
        let spec = field(2, &number(1, replicas));
        let scale = body("autoscaling/v1", "Scale", &[field(1, &field(1, "web")), spec]);
        send(&cluster, Method::PUT, &format!("{sets}/web/scale"), scale).await.ok();
        assert_eq!(cluster.get(&format!("{sets}/web")).await.ok()["spec"]["replicas"], replicas);
    }
    let options = |uid: &str| body("apps/v1", "DeleteOptions", &[field(2, &field(1, uid)), field(4, "Background")]);
    let refusal = send(&cluster, Method::DELETE, &format!("{sets}/web"), options("another")).await.refusal();
    assert_eq!(refusal.0, 409, "{refusal:?}");
    let uid = cluster.get(&format!("{sets}/web")).await.ok()["metadata"]["uid"].clone();
    send(&cluster, Method::DELETE, &format!("{sets}/web"), options(uid.as_str().unwrap())).await.ok();
    assert_eq!(cluster.get(&format!("{sets}/web")).await.code, 404);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_bad_request() {
    let cluster = Cluster::start().await;
    for (body, text) in [
        (
            body("v1", "Pod", &[number(1, 7)]),
            "Pod in version \"v1\" cannot be handled as a Pod: proto: wrong wireType = 0",
        ),
        ("{}".to_owned(), "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (body("v1", "ConfigMap", &[]), "converting (v1.ConfigMap) to (core.Pod): unknown conversion"),
    ] {
        let (code, reason, message) = send(&cluster, Method::POST, PODS, body).await.refusal();
        assert_eq!((code, reason.as_str()), (400, "BadRequest"));
        assert!(message.contains(text), "{message}");
    }
}

async fn object(served: &Served, path: &str) -> Value {
    served.cluster.get(path).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_creates_configuration() {
    let served = Served::start().await;
    // Should kubectl turn to another format one day, these tests would no longer say anything.
    let chatty = served.command(&["create", "namespace", "shop", "-v=8"]).output().await.unwrap();
    let chatter = String::from_utf8(chatty.stderr).unwrap();
    assert!(chatter.contains(&format!("Content-Type: {PROTOBUF}")), "{chatter}");
    assert_eq!(String::from_utf8(chatty.stdout).unwrap(), "namespace/shop created\n");
    let ns = ["-n", "shop"];
    let create = async |arguments: &[&str]| served.ok(&[&["create"], arguments, &ns].concat()).await;
    assert_eq!(
        create(&["configmap", "cfg", "--from-literal=a=1", "--from-literal=b="]).await,
        "configmap/cfg created\n"
    );
    assert_eq!(create(&["secret", "generic", "key", "--from-literal=password=s3cret"]).await, "secret/key created\n");
    assert_eq!(create(&["serviceaccount", "robot"]).await, "serviceaccount/robot created\n");
    assert_eq!(create(&["quota", "limits", "--hard=pods=10,cpu=1500m"]).await, "resourcequota/limits created\n");
    let token = ["create", "configmap", "cfg", "--from-literal=a=1", "-n", "shop"];
    let refused = served.kubectl(&token, "").await.unwrap_err();
    assert_eq!(refused, "error: failed to create configmap: configmaps \"cfg\" already exists\n");

    let config = object(&served, "/api/v1/namespaces/shop/configmaps/cfg").await;
    assert_eq!(config["data"], json!({"a": "1", "b": ""}));
    let secret = object(&served, "/api/v1/namespaces/shop/secrets/key").await;
    assert_eq!((&secret["data"], &secret["type"]), (&json!({"password": "czNjcmV0"}), &json!("Opaque")));
    let quota = object(&served, "/api/v1/namespaces/shop/resourcequotas/limits").await;
    assert_eq!(quota["spec"]["hard"], json!({"pods": "10", "cpu": "1500m"}));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_creates_workloads() {
    let served = Served::start().await;
    for (arguments, answer) in [
        ("deployment web --image=nginx:1.27 --replicas=0 --port=80", "deployment.apps/web created\n"),
        ("service clusterip web --tcp=80:8080", "service/web created\n"),
        ("job once --image=busybox -- true", "job.batch/once created\n"),
        ("cronjob nightly --image=busybox --schedule=0_*_*_*_* -- true", "cronjob.batch/nightly created\n"),
        ("poddisruptionbudget web --selector=app=web --min-available=0", "poddisruptionbudget.policy/web created\n"),
        ("ingress web --rule=example.com/*=web:80", "ingress.networking.k8s.io/web created\n"),
        ("priorityclass high --value=1000", "priorityclass.scheduling.k8s.io/high created\n"),
    ] {
        let words: Vec<String> = arguments.split(' ').map(|word| word.replace('_', " ")).collect();
        let words: Vec<&str> = ["create"].into_iter().chain(words.iter().map(String::as_str)).collect();
        assert_eq!(served.ok(&words).await, answer);
    }
    let deployment = object(&served, "/apis/apps/v1/namespaces/default/deployments/web").await;
    assert_eq!(deployment["spec"]["replicas"], 0);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
    assert_eq!((&pod["restartPolicy"], pod.get("hostNetwork")), (&json!("Always"), None));
    let service = object(&served, "/api/v1/namespaces/default/services/web").await;
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}])
    );
    let budget = object(&served, "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web").await;
    assert_eq!(budget["spec"]["minAvailable"], 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_grants_and_asks() {
    let served = Served::start().await;
    let role = ["create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps"];
    assert_eq!(served.ok(&role).await, "role.rbac.authorization.k8s.io/reader created\n");
    let urls = ["create", "clusterrole", "probes", "--verb=get", "--non-resource-url=/livez"];
    assert_eq!(served.ok(&urls).await, "clusterrole.rbac.authorization.k8s.io/probes created\n");
    let binding = ["create", "rolebinding", "readers", "--role=reader", "--serviceaccount=default:default"];
    assert_eq!(served.ok(&binding).await, "rolebinding.rbac.authorization.k8s.io/readers created\n");
    let rules = object(&served, "/apis/rbac.authorization.k8s.io/v1/clusterroles/probes").await["rules"].clone();
    assert_eq!(rules, json!([{"nonResourceURLs": ["/livez"], "verbs": ["get"]}]));

    assert_eq!(served.ok(&["auth", "can-i", "create", "pods"]).await, "yes\n");
    let listed = served.ok(&["auth", "can-i", "--list"]).await;
    assert!(listed.contains("*.*"), "{listed}");
    let whoami = served.ok(&["auth", "whoami"]).await;
    assert!(whoami.contains("system:masters"), "{whoami}");
    served.stop().await;
}
