//! The service types that are installed, known by the manifests beside their binaries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tcs_wire::{CONTRACT_VERSION, Manifest, ServiceType};
use thiserror::Error;

/// Where service binaries lie, the first that has a type wins; `TCS_SERVICE_PATH` comes after them.
pub const SERVICE_PATH: [&str; 2] = ["/usr/local/lib/tcs/services", "/usr/lib/tcs/services"];

/// Why an installed binary cannot be declared.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// There is no manifest beside the binary.
    #[error("there is no manifest `{manifest}` beside the service binary")]
    Missing {
        /// The file that should be there.
        manifest: String,
    },
    /// The manifest cannot be read.
    #[error("the manifest `{manifest}` cannot be read")]
    Read {
        /// The file.
        manifest: String,
        /// Why.
        source: io::Error,
    },
    /// The manifest is not what `describe` writes.
    #[error("the manifest `{manifest}` is not what `describe` writes")]
    Format {
        /// The file.
        manifest: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The manifest is of a binary that speaks another contract.
    #[error(
        "the manifest `{manifest}` is of contract version {found}, and this program speaks {CONTRACT_VERSION}"
    )]
    Contract {
        /// The file.
        manifest: String,
        /// The version that it names.
        found: u32,
    },
}

/// A service binary on the service path.
#[derive(Debug)]
pub struct InstalledType {
    /// The binary, as seen inside the root.
    pub binary: PathBuf,
    /// What it says of itself.
    pub manifest: Result<Manifest, ManifestError>,
}

/// The service types that are installed on a host.
#[derive(Debug, Default)]
pub struct TypeCatalog {
    types: BTreeMap<ServiceType, InstalledType>,
    directories: Vec<PathBuf>,
}

impl TypeCatalog {
    /// Reads the service path below `root` (`/` for this host) and the folders of `service_path`, colons between
    /// them. Nothing is executed (design decision 20).
    pub fn installed(root: &Path, service_path: Option<&str>) -> Self {
        let extra = service_path
            .unwrap_or_default()
            .split(':')
            .filter(|folder| !folder.is_empty());
        let directories: Vec<PathBuf> = SERVICE_PATH.into_iter().chain(extra).map(PathBuf::from).collect();
        let mut types = BTreeMap::new();
        for directory in &directories {
            for (service_type, installed) in read_directory(root, directory) {
                types.entry(service_type).or_insert(installed);
            }
        }
        Self { types, directories }
    }

    /// Returns a catalog of one type, for a service that reads its own configuration.
    pub fn of(binary: PathBuf, manifest: Manifest) -> Self {
        let service_type = manifest.service_type.clone();
        let installed = InstalledType {
            binary,
            manifest: Ok(manifest),
        };
        Self {
            types: BTreeMap::from([(service_type, installed)]),
            directories: Vec::new(),
        }
    }

    /// Returns an installed type.
    pub fn get(&self, service_type: &ServiceType) -> Option<&InstalledType> {
        self.types.get(service_type)
    }

    /// Returns all installed types, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceType, &InstalledType)> {
        self.types.iter()
    }

    /// Returns the folders that were looked into.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

/// Finds the binaries of one folder; a folder that is not there has none.
fn read_directory(root: &Path, directory: &Path) -> Vec<(ServiceType, InstalledType)> {
    let on_disk = below(root, directory);
    let Ok(entries) = fs::read_dir(&on_disk) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
        .iter()
        .filter_map(|name| read_type(root, &directory.join(name), name))
        .collect()
}

fn read_type(root: &Path, binary: &Path, name: &str) -> Option<(ServiceType, InstalledType)> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(below(root, binary)).ok()?;
    if name.ends_with(".json") || !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return None;
    }
    let manifest = read_manifest(root, binary);
    let service_type = match &manifest {
        Ok(manifest) => manifest.service_type.clone(),
        Err(_) => ServiceType::from_binary_name(name).ok()?,
    };
    Some((
        service_type,
        InstalledType {
            binary: binary.to_owned(),
            manifest,
        },
    ))
}

fn read_manifest(root: &Path, binary: &Path) -> Result<Manifest, ManifestError> {
    let path = below(root, &manifest_path(binary));
    let manifest = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ManifestError::Missing { manifest });
        }
        Err(source) => return Err(ManifestError::Read { manifest, source }),
    };
    match serde_json::from_str::<Manifest>(&text) {
        Ok(known) if known.contract == CONTRACT_VERSION => Ok(known),
        Ok(other) => Err(ManifestError::Contract {
            manifest,
            found: other.contract,
        }),
        Err(source) => Err(ManifestError::Format { manifest, source }),
    }
}

/// Returns the manifest's path: the binary's with `.json` behind.
pub(crate) fn manifest_path(binary: &Path) -> PathBuf {
    let mut path = binary.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// Returns where an absolute path lies when `root` stands for `/`.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
