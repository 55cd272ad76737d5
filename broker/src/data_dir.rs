//! The data directory: who this node is. The log part locks it, so that only one process uses it.
//!
//! ```text
//! <data>/.lock                    held by the process that runs on the directory
//! <data>/meta.properties          version=1, cluster.id, node.id, directory.id (Kafka's file)
//! <data>/.kafka_cleanshutdown     present only after a clean shutdown
//! <data>/__cluster_metadata-0/    the metadata log
//! <data>/<topic>-<partition>/     one partition's log
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use moldau_log::{FileStorage, LogDirectory, LogError};
use moldau_protocol::Uuid;

/// An open and locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) logs: LogDirectory<FileStorage>,
    pub(crate) identity: Identity,
}

/// What `meta.properties` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster_id: String,
    pub(crate) node_id: i32,
    pub(crate) directory_id: Uuid,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory cannot be opened or written, or another process has it open.
    #[error("data directory {}: {source}", path.display())]
    Log {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: LogError,
    },
    /// The directory belongs to another node.
    #[error("data directory {} belongs to node {found}, not to node {configured}\nhint: set node.id to {found}, or choose another directory", path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node that it belongs to.
        found: i32,
        /// The node that was configured.
        configured: i32,
    },
    /// `meta.properties` cannot be understood.
    #[error("data directory {}: meta.properties: {problem}\nhint: the file says which cluster and node the data belongs to; restore it from a backup", path.display())]
    Meta {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
}

impl DataDir {
    /// Opens `path` for node `node_id`; formats it when it is new.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written, is in use, or belongs to another node.
    pub(crate) fn open(path: &Path, node_id: i32) -> Result<Self, DataDirError> {
        let log_error = |source| DataDirError::Log {
            path: path.to_owned(),
            source,
        };
        let logs = LogDirectory::open(FileStorage, path.to_owned()).map_err(log_error)?;
        let identity = match logs.read_properties().map_err(log_error)? {
            Some(properties) => {
                Identity::parse(&properties).map_err(|problem| DataDirError::Meta {
                    path: path.to_owned(),
                    problem,
                })?
            }
            None => {
                let identity = Identity::fresh(node_id);
                logs.write_properties(&identity.to_properties())
                    .map_err(log_error)?;
                identity
            }
        };
        if identity.node_id != node_id {
            return Err(DataDirError::OtherNode {
                path: path.to_owned(),
                found: identity.node_id,
                configured: node_id,
            });
        }
        Ok(Self { logs, identity })
    }
}

impl Identity {
    fn fresh(node_id: i32) -> Self {
        Self {
            cluster_id: random_uuid().to_string(),
            node_id,
            directory_id: random_uuid(),
        }
    }

    fn to_properties(&self) -> BTreeMap<String, String> {
        let text = |name: &str, value: String| (name.to_owned(), value);
        BTreeMap::from([
            text("version", "1".to_owned()),
            text("cluster.id", self.cluster_id.clone()),
            text("node.id", self.node_id.to_string()),
            text("directory.id", self.directory_id.to_string()),
        ])
    }

    fn parse(properties: &BTreeMap<String, String>) -> Result<Self, String> {
        let value = |name: &str| {
            properties
                .get(name)
                .ok_or_else(|| format!("`{name}` is missing"))
        };
        let version = value("version")?;
        if version != "1" {
            return Err(format!("version is `{version}`, expected 1"));
        }
        let node_id = value("node.id")?;
        let directory_id = value("directory.id")?;
        Ok(Self {
            cluster_id: value("cluster.id")?.clone(),
            node_id: node_id
                .parse()
                .map_err(|_| format!("node.id is `{node_id}`, expected a number"))?,
            directory_id: directory_id
                .parse()
                .map_err(|_| format!("directory.id is `{directory_id}`, expected a base64 uuid"))?,
        })
    }
}

/// A random (version 4) uuid whose text does not start with a dash, so that it can be given to command-line tools.
pub(crate) fn random_uuid() -> Uuid {
    loop {
        let mut bytes: [u8; 16] = rand::random();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let uuid = Uuid(bytes);
        if !uuid.to_string().starts_with('-') {
            return uuid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity() {
        let dir = tempfile::tempdir().expect("tempdir");
        let first = DataDir::open(dir.path(), 3).expect("open").identity;
        let second = DataDir::open(dir.path(), 3).expect("open").identity;
        assert_eq!(first, second);
        assert_eq!(first.cluster_id.len(), 22);
    }

    #[test]
    fn a_directory_serves_one_process_and_one_node() {
        let dir = tempfile::tempdir().expect("tempdir");
        let open = DataDir::open(dir.path(), 1).expect("open");
        assert!(matches!(
            DataDir::open(dir.path(), 1),
            Err(DataDirError::Log { .. })
        ));
        drop(open);
        assert!(matches!(
            DataDir::open(dir.path(), 2),
            Err(DataDirError::OtherNode { found: 1, .. })
        ));
    }

    #[test]
    fn a_meta_file_without_an_entry_or_of_another_version_is_refused() {
        let identity = Identity::fresh(7);
        assert_eq!(
            Identity::parse(&identity.to_properties()),
            Ok(identity.clone())
        );
        let mut properties = identity.to_properties();
        properties.remove("node.id");
        assert_eq!(
            Identity::parse(&properties).expect_err("cut"),
            "`node.id` is missing"
        );
        properties.insert("version".to_owned(), "0".to_owned());
        assert_eq!(
            Identity::parse(&properties).expect_err("old"),
            "version is `0`, expected 1"
        );
    }
}
