//! Where the checkout and its `target` directory are.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Cargo, to be run in this checkout as from a shell.
///
/// What an outer `cargo run` or `cargo test` says of its own package is taken out of the environment: build scripts look
/// at it (`ring`'s does), and everything above them would be compiled anew each time the caller changes.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| of_package.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace_root());
    command
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
