//! The flags of the verbs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use stead_cli::sets::SetName;
use stead_cli::simulate::Addresses;

/// Where a cluster keeps its data.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDirOption {
    /// Directory of the cluster's data.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stead", global = true)]
    pub(crate) data_dir: PathBuf,
}

/// Flags of `stead up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) data: DataDirOption,
    /// Address and port the API is served on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) listen: SocketAddr,
    /// Addresses of Services; the first is the API's, the tenth cluster DNS.
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/12")]
    pub(crate) service_cidr: String,
    /// Addresses of pods.
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    pub(crate) pod_cidr: String,
    /// YAML file with registry mirrors and credentials.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_config: Option<PathBuf>,
    /// Name of the node; the host's name unless given.
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Keep the pod network in a network namespace of its own without a way out (DIR/netns). The API
    /// is still served here. For tests, demos and machines whose own network should not be touched.
    #[arg(long)]
    pub(crate) isolated: bool,
}

/// What to do with images.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ImageCommand {
    /// Import a docker-save tar or an OCI archive.
    Import {
        /// The archive.
        file: PathBuf,
    },
    /// List the images on this node.
    Ls,
    /// Remove an image by name.
    Rm {
        /// The image's name.
        name: String,
    },
}

/// Which StatefulSet, and how to reach it.
#[derive(Args, Clone, Debug)]
pub(crate) struct SetOptions {
    /// The StatefulSet.
    #[arg(value_name = "sts/NAME")]
    pub(crate) set: SetName,
    /// Its namespace; the kubeconfig's unless given.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig; those of $KUBECONFIG, or else of the data directory, unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDirOption,
}

/// The kubeconfigs to go by: the one given, those of `$KUBECONFIG`, or that of the data directory.
pub(crate) fn kubeconfig(given: Option<&PathBuf>, data: &DataDirOption) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.clone()];
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let of_environment: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if of_environment.is_empty() { vec![data.data_dir.join("kubeconfig")] } else { of_environment }
}

/// What to do with a rollout.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum RolloutCommand {
    /// Stop rolling. Lost replicas still come back, at the revision they had.
    Pause(SetOptions),
    /// Go on rolling.
    Resume(SetOptions),
}

/// What to simulate.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum SimulateCommand {
    /// Nodes without machines: they are registered and renew their leases, and every pod bound to them is
    /// said to run and to be Ready at once. No container is started, no volume holds anything, and nobody
    /// answers at the pods' addresses.
    ///
    /// It works against any Kubernetes. With Stead's storage class claims are bound as well; elsewhere
    /// that is up to the cluster's provisioner. Pods that are to run only on these nodes select the label
    /// stead.dev/simulated=true. Ctrl-C and SIGTERM take the nodes away; pods left on them are collected
    /// by the cluster.
    Nodes(NodesOptions),
}

/// Flags of `stead simulate nodes`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodesOptions {
    /// How many.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    /// The nodes are called PREFIX-0, PREFIX-1 and so on.
    #[arg(long, value_name = "PREFIX", default_value = "simulated")]
    pub(crate) prefix: String,
    /// Pods that fit on one node.
    #[arg(long, value_name = "N", default_value = "110")]
    pub(crate) pods_per_node: u32,
    /// Processors of one node.
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) cpus: u32,
    /// Memory of one node.
    #[arg(long, value_name = "GIB", default_value = "256")]
    pub(crate) memory: u32,
    /// Addresses said to be those of the nodes and their pods. The default lies in Stead's own pod range,
    /// whose addresses never leave the machine.
    #[arg(long, value_name = "CIDR", default_value = "10.244.128.0/17")]
    pub(crate) cidr: Addresses,
    /// The kubeconfig; those of $KUBECONFIG, or else of the data directory, unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDirOption,
}
