//! Where the checkout and its `target` directory are.

use std::path::{Path, PathBuf};

/// The root of the checkout that this crate was built from.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's target directory: `CARGO_TARGET_DIR` when set, else `target` of the checkout.
#[must_use]
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace_root().join(directory),
        None => workspace_root().join("target"),
    }
}

/// What the tests fetched for themselves: the NATS server, the Python environment.
#[must_use]
pub fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// Packages that the host lacks, installed into a layer for machines only.
#[must_use]
pub(crate) fn package_layer_dir() -> PathBuf {
    target_dir().join("machine-packages")
}
