//! The id of this process in the application, kept in the state directory.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::runtime::error::StreamsError;

/// The file's content, as Kafka Streams writes it.
#[derive(Serialize, Deserialize)]
struct ProcessFile {
    #[serde(rename = "processId")]
    process_id: String,
}

/// The id in the state directory; a new one if there is none, or no directory.
pub(super) fn process_id(
    state_dir: Option<&Path>,
    application_id: &str,
) -> Result<String, StreamsError> {
    let Some(state_dir) = state_dir else {
        return Ok(random_uuid());
    };
    let directory = state_dir.join(application_id);
    let path = directory.join(FILE);
    let failed = |error: io::Error| StreamsError::Config {
        setting: "state_dir",
        reason: format!("{} cannot be read or written: {error}", path.display()),
    };
    match fs::read(&path) {
        Ok(bytes) => {
            if let Ok(file) = serde_json::from_slice::<ProcessFile>(&bytes) {
                return Ok(file.process_id);
            }
            tracing::warn!(path = %path.display(), "the process id cannot be read, taking a new one");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let file = ProcessFile {
        process_id: random_uuid(),
    };
    fs::create_dir_all(&directory).map_err(failed)?;
    let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
    fs::write(&path, bytes).map_err(failed)?;
    Ok(file.process_id)
}

/// A random UUID (version 4), from the randomness of the standard library's hash maps.
fn random_uuid() -> String {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    let bits = (random() << 64 | random()) & !(0xf << 76) & !(0x3 << 62);
    let bits = bits | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

const FILE: &str = "kafka-streams-process-metadata";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_with_the_state_directory_and_is_random_without_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = |path| process_id(path, "app").expect("an id");
        assert_eq!(id(Some(directory.path())), id(Some(directory.path())));
        assert_ne!(id(None), id(None));
        let random = id(None);
        assert_eq!(random.len(), 36);
        assert_eq!(&random[14..15], "4", "{random}");
        assert!("89ab".contains(&random[19..20]), "{random}");
    }
}
