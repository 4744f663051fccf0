//! A write whose answer never came, while the cache does not show it: the API is asked before anything is
//! planned, and that may fail, too.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use stead_apiserver::{BoxError, LocalService};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;

const PODS: &str = "/api/v1/namespaces/default/pods";
const ALL_PODS: &str = "/api/v1/pods";

/// The way to the server. It loses the answer to the first pod created and to the first list of pods, and
/// holds back what watches of pods say from then on until it is told to go on.
struct Trouble {
    service: LocalService<Embedded>,
    created: AtomicUsize,
    listed: AtomicUsize,
    /// How many times somebody has come back about pods.
    attempts: watch::Sender<usize>,
    held: watch::Sender<bool>,
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl Trouble {
    async fn pass(self: Arc<Self>, request: Request<kube::client::Body>) -> Result<Answer, BoxError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        let creates = method == Method::POST && path == PODS;
        let lists = method == Method::GET && path == PODS;
        let first = match (creates, lists) {
            (true, _) => self.created.fetch_add(1, Ordering::SeqCst) == 0,
            (_, true) => self.listed.fetch_add(1, Ordering::SeqCst) == 0,
            (false, false) => false,
        };
        if creates && first {
            self.held.send_replace(true);
        } else if creates || lists {
            self.attempts.send_modify(|attempts| *attempts += 1);
        }
        let response = self.service.clone().oneshot(request).await?;
        if first {
            return Err("connection reset by peer".into());
        }
        let (head, body) = response.into_parts();
        let body = body.map_err(Into::into).boxed_unsync();
        if !(watches && path == ALL_PODS) {
            return Ok(Response::from_parts(head, body));
        }
        let held = self.held.subscribe();
        let frames = stream::unfold((body, held), |(mut body, mut held)| async move {
            let frame: Result<Frame<Bytes>, BoxError> = body.frame().await?;
            held.wait_for(|held| !held).await.ok()?;
            Some((frame, (body, held)))
        });
        Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_creation_was_not_answered_is_looked_for_before_another_is_made() {
    let mut trouble = None;
    let cluster = Cluster::start_over(|service| {
        let lossy = Arc::new(Trouble {
            service,
            created: AtomicUsize::new(0),
            listed: AtomicUsize::new(0),
            attempts: watch::Sender::new(0),
            held: watch::Sender::new(false),
        });
        trouble = Some(Arc::clone(&lossy));
        Client::new(tower::service_fn(move |request| Arc::clone(&lossy).pass(request)), "default")
    })
    .await;
    let trouble = trouble.expect("made with the cluster");
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
    });
    create(&cluster.api::<ReplicaSet>(), set).await;

    // The failed look is repeated; nothing is made in between.
    let mut attempts = trouble.attempts.subscribe();
    let twice = tokio::time::timeout(PATIENCE, attempts.wait_for(|attempts| *attempts >= 2)).await;
    assert_eq!(trouble.created.load(Ordering::SeqCst), 1, "another pod was made before the first was seen");
    assert!(twice.is_ok(), "nobody came back");
    trouble.held.send_replace(false);
    cluster.until("the pod is up", |pods| pods.iter().any(|pod| pods::is_ready(pod))).await;
    assert_eq!(trouble.created.load(Ordering::SeqCst), 1, "one is enough");
    cluster.stop().await;
}

#[tokio::test]
async fn controllers_end_though_no_question_is_ever_answered() {
    let silence =
        tower::service_fn(|_: Request<kube::client::Body>| std::future::pending::<Result<Answer, BoxError>>());
    let ctx = Context::start(Client::new(silence, "default"));
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(statefulset::run(ctx.clone(), shutdown.clone()));
    tasks.spawn(replicaset::run(ctx.clone(), shutdown.clone()));
    tasks.spawn(deployment::run(ctx, shutdown.clone()));
    shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, async { while tasks.join_next().await.is_some() {} }).await;
    assert!(ended.is_ok(), "{} still wait for their caches", tasks.len());
}
