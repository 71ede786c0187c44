//! Working in a machine's network namespace from a thread of this process.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Result, TestkitError};
use crate::machine::{Machine, namespace};

/// Where sockets are opened: the host's own network, or a machine's.
#[derive(Clone, Debug)]
pub struct Network(Option<Arc<Place>>);

#[derive(Debug)]
struct Place {
    // An open namespace file keeps meaning that namespace, whatever becomes of the process number.
    namespace: File,
    leader: u32,
}

impl Network {
    /// The network of this process.
    #[must_use]
    pub fn host() -> Self {
        Self(None)
    }

    pub(crate) fn of_process(leader: u32) -> Result<Self> {
        Ok(Self(Some(Arc::new(Place {
            namespace: namespace(leader, "net")?,
            leader,
        }))))
    }

    /// The argument for `nsenter --net=`, `None` for the host's.
    pub(crate) fn namespace_path(&self) -> Option<String> {
        self.0
            .as_ref()
            .map(|place| format!("/proc/{}/ns/net", place.leader))
    }

    /// Runs `work` on a fresh thread that is in this network; the threads it starts are so too.
    ///
    /// # Errors
    /// When the kernel refuses the move.
    ///
    /// # Panics
    /// When `work` panics, with the same payload.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let moved_and_done = || {
            if let Some(place) = &self.0 {
                move_into_link_name_space(place.namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| {
                        TestkitError::io_from("cannot move into the machine's network", error)
                    })?;
            }
            Ok(work())
        };
        std::thread::scope(|scope| {
            scope
                .spawn(moved_and_done)
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Runs an async block in a machine's network, on a thread and a current-thread runtime of its own: a client in it
/// reaches the machine's `127.0.0.1`.
///
/// # Errors
/// When the thread cannot be moved there or has no runtime.
///
/// # Panics
/// When the block panics, with the same payload.
pub fn inside<T, Work, Running>(machine: &Machine, work: Work) -> Result<T>
where
    T: Send,
    Work: FnOnce() -> Running + Send,
    Running: Future<Output = T>,
{
    in_network(machine.network(), work)
}

/// As [`inside`], for any network.
///
/// # Errors
/// When the thread cannot be moved there or has no runtime.
///
/// # Panics
/// When the block panics, with the same payload.
pub fn in_network<T, Work, Running>(network: &Network, work: Work) -> Result<T>
where
    T: Send,
    Work: FnOnce() -> Running + Send,
    Running: Future<Output = T>,
{
    network.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TestkitError::io("cannot start an async runtime"))?;
        Ok(runtime.block_on(work()))
    })?
}
