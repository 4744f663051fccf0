//! Why a step of a worker failed. Every failed step is tried again, so one enum serves them all.

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] stead_runtime::RuntimeError),
    /// The network refused.
    #[error(transparent)]
    Network(#[from] stead_net::NetError),
    /// A volume could not be taken away.
    #[error(transparent)]
    Volume(#[from] crate::volumes::VolumeError),
    /// The API refused.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// Blocking work was cancelled.
    #[error(transparent)]
    Join(#[from] tokio::task::JoinError),
    /// The host name that the pod asks for cannot be had.
    #[error("{0}")]
    Hostname(String),
    /// A file could not be written or removed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The outcome of a step.
pub(crate) type Outcome<T> = Result<T, StepError>;
