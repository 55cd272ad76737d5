//! The names of a simulated disk: as the process sees them, and as they are on the medium.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::random::Random;

/// All directories; the root has the id zero.
#[derive(Debug)]
pub(super) struct Tree {
    directories: BTreeMap<u64, Directory>,
    next_id: u64,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory(u64),
    File(u64),
}

#[derive(Debug, Default)]
struct Directory {
    current: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// What happened since the last sync; each element becomes durable as a whole, in order.
    journal: Vec<Vec<(String, Option<Node>)>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            directories: BTreeMap::from([(ROOT, Directory::default())]),
            next_id: ROOT + 1,
        }
    }
}

impl Tree {
    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.resolve(path)? {
            Node::File(id) => Ok(id),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn names(&self, path: &Path) -> io::Result<Vec<(String, Node)>> {
        let directory = self.directory(path)?;
        Ok(self.directories[&directory]
            .current
            .iter()
            .map(|(name, node)| (name.clone(), *node))
            .collect())
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        let mut parent = ROOT;
        for name in parts(path)? {
            parent = match self.child(parent, name) {
                Some(Node::Directory(id)) => id,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    let id = self.next_id;
                    self.next_id += 1;
                    self.directories.insert(id, Directory::default());
                    self.change(parent, vec![(name.to_owned(), Some(Node::Directory(id)))]);
                    id
                }
            };
        }
        Ok(())
    }

    pub(super) fn set(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        self.change(parent, vec![(name, Some(node))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        self.change(parent, vec![(name, None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.resolve(from)?;
        let (parent, old) = self.parent(from)?;
        let (new_parent, new) = self.parent(to)?;
        if parent != new_parent {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "rename to another directory",
            ));
        }
        self.change(parent, vec![(old, None), (new, Some(node))]);
        Ok(())
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let id = self.directory(path)?;
        if let Some(directory) = self.directories.get_mut(&id) {
            directory.durable.clone_from(&directory.current);
            directory.journal.clear();
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        for directory in self.directories.values_mut() {
            let journal = std::mem::take(&mut directory.journal);
            let survivors = random.below(journal.len() + 1);
            for change in journal.into_iter().take(survivors) {
                apply(&mut directory.durable, change);
            }
            directory.current.clone_from(&directory.durable);
        }
    }

    /// The files that have a name.
    pub(super) fn files(&self) -> Vec<u64> {
        let (mut files, mut waiting) = (Vec::new(), vec![ROOT]);
        while let Some(id) = waiting.pop() {
            for node in self.directories[&id].current.values() {
                match *node {
                    Node::File(id) => files.push(id),
                    Node::Directory(id) => waiting.push(id),
                }
            }
        }
        files
    }

    fn change(&mut self, parent: u64, change: Vec<(String, Option<Node>)>) {
        if let Some(directory) = self.directories.get_mut(&parent) {
            apply(&mut directory.current, change.clone());
            directory.journal.push(change);
        }
    }

    fn resolve(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Directory(ROOT);
        for name in parts(path)? {
            let Node::Directory(id) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = self.child(id, name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn directory(&self, path: &Path) -> io::Result<u64> {
        match self.resolve(path)? {
            Node::Directory(id) => Ok(id),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = parts(path)?
            .pop()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_owned();
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        Ok((parent, name))
    }

    fn child(&self, directory: u64, name: &str) -> Option<Node> {
        self.directories.get(&directory)?.current.get(name).copied()
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: Vec<(String, Option<Node>)>) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name, node),
            None => names.remove(&name),
        };
    }
}

/// The names along a path, from the root on.
fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_str().ok_or(io::ErrorKind::InvalidInput)),
        Component::RootDir | Component::CurDir => None,
        Component::Prefix(_) | Component::ParentDir => Some(Err(io::ErrorKind::InvalidInput)),
    });
    Ok(names.collect::<Result<_, _>>()?)
}

const ROOT: u64 = 0;
