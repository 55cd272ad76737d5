//! Finds the files that the patterns name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use glob::Pattern;

use super::identity::FileId;

/// The files that match, by their identity; a file with two names has the first one.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: BTreeMap<FileId, PathBuf>,
    /// More matched than are read at once.
    pub(crate) too_many: bool,
}

/// Looks for files. Folders that cannot be read are passed over, as a shell does.
pub(crate) fn find(include: &[String], exclude: &[Pattern], limit: usize) -> Found {
    let mut found = Found::default();
    for pattern in include {
        // The patterns were checked when the document was read.
        let Ok(paths) = glob::glob(pattern) else {
            continue;
        };
        for path in paths.flatten().filter(|path| !is_excluded(path, exclude)) {
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            let id = FileId::of(&metadata);
            if found.files.len() >= limit && !found.files.contains_key(&id) {
                found.too_many = true;
            } else {
                found.files.entry(id).or_insert(path);
            }
        }
    }
    found
}

/// A renamed file: another name in the same folder for the same inode.
pub(crate) fn find_renamed(id: FileId, path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && FileId::of(&metadata) == id)
    })
}

fn is_excluded(path: &Path, exclude: &[Pattern]) -> bool {
    let name = path.file_name().map(Path::new);
    exclude.iter().any(|pattern| {
        pattern.matches_path(path) || name.is_some_and(|name| pattern.matches_path(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_in_and_leave_out() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.log", "b.log", "b.log.gz", "c.txt"] {
            fs::write(folder.path().join(name), name).expect("write");
        }
        fs::create_dir(folder.path().join("d.log")).expect("create");
        fs::hard_link(folder.path().join("a.log"), folder.path().join("z.log")).expect("link");
        let include = [format!("{}/*.log*", folder.path().display())];
        let exclude = [Pattern::new("*.gz").expect("a pattern")];
        let found = find(&include, &exclude, 10);
        let names: Vec<_> = found
            .files
            .values()
            .filter_map(|path| path.file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&"a.log".as_ref()) && names.contains(&"b.log".as_ref()));
        assert!(!found.too_many);
        assert!(find(&include, &exclude, 1).too_many);
    }

    #[test]
    fn a_renamed_file_is_found_by_its_inode() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = folder.path().join("a.log");
        let new = folder.path().join("a.log.1");
        fs::write(&old, "x").expect("write");
        let id = FileId::of(&fs::metadata(&old).expect("metadata"));
        fs::rename(&old, &new).expect("rename");
        fs::write(&old, "y").expect("write");
        assert_eq!(find_renamed(id, &old), Some(new));
    }
}
