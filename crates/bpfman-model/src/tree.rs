//! The file systems: one ordinary tree, and a bpffs wherever one is mounted over it.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::successors;
use std::rc::Rc;

use bpfman_core::action::KeptInstructions;
use bpfman_core::managed::Program;
use bpfman_core::types::AbsolutePath;
use bpfman_core::types::KernelLinkId;
use bpfman_core::types::MapId;
use bpfman_core::types::ProgramId;
use bpfman_interpreter::store::memory::MemoryStore;

use crate::Errno;

/// The bytes of a file. Printed as their number: an object is too long for a failed assertion.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub(crate) Rc<[u8]>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Kept instructions. Printed as whose they are, for the same reason.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept(pub(crate) Rc<KeptInstructions>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instructions of {}", self.0.program)
    }
}

/// A kept record. Printed as whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptRecord(pub(crate) Rc<Program>);

impl fmt::Debug for KeptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record of {}", self.0.id())
    }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file. Files are written as a whole, so a hard link is a copy.
    File(Content),
    /// A file of kept instructions.
    Instructions(Kept),
    /// A file with a record.
    Record(KeptRecord),
    /// A database file with the records in it.
    Database(MemoryStore),
    /// The pin of a program.
    Program(ProgramId),
    /// The pin of a map.
    Map(MapId),
    /// The pin of a link.
    Link(KernelLinkId),
}

type Nodes = BTreeMap<AbsolutePath, Node>;

/// All file systems. The root and the roots of mounts have no node of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    ordinary: Nodes,
    mounts: BTreeMap<AbsolutePath, Nodes>,
}

impl Tree {
    /// What is at a path.
    pub(crate) fn lookup(&self, path: &AbsolutePath) -> Result<Node, Errno> {
        self.parent(path)?;
        if path.parent().is_none() || self.is_mount(path) {
            return Ok(Node::Directory);
        }
        match self.nodes(path).get(path) {
            Some(node) => Ok(node.clone()),
            // `bpf_lookup` of the kernel: names with a dot are reserved.
            None if self.mount_of(path).is_some() && path.file_name().contains('.') => {
                Err(Errno::Permission)
            }
            None => Err(Errno::NotFound),
        }
    }

    /// That the directory of a path is there.
    fn parent(&self, path: &AbsolutePath) -> Result<(), Errno> {
        match path.parent().map(|parent| self.lookup(&parent)) {
            None | Some(Ok(Node::Directory)) => Ok(()),
            Some(Ok(_)) => Err(Errno::NotDirectory),
            Some(Err(error)) => Err(error),
        }
    }

    pub(crate) fn is_directory(&self, path: &AbsolutePath) -> bool {
        matches!(self.lookup(path), Ok(Node::Directory))
    }

    /// Whether a path, which must be there, lies on a bpffs.
    pub(crate) fn on_bpffs(&self, path: &AbsolutePath) -> Result<bool, Errno> {
        self.lookup(path)?;
        Ok(self.mount_of(path).is_some())
    }

    pub(crate) fn is_mount(&self, path: &AbsolutePath) -> bool {
        self.mounts.contains_key(path)
    }

    /// Puts something where nothing is.
    pub(crate) fn add(&mut self, path: &AbsolutePath, node: Node) -> Result<(), Errno> {
        self.parent(path)?;
        match self.lookup(path) {
            Ok(_) => return Err(Errno::Exists),
            Err(Errno::NotFound) => {}
            Err(error) => return Err(error),
        }
        let of_bpffs = !matches!(
            node,
            Node::File(_) | Node::Instructions(_) | Node::Record(_) | Node::Database(_)
        );
        if self.mount_of(path).is_some() && !of_bpffs {
            return Err(Errno::Access);
        }
        self.nodes_mut(path).insert(path.clone(), node);
        Ok(())
    }

    /// Makes a directory and those above it.
    pub(crate) fn add_directories(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.is_directory(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.add_directories(&parent)?;
        }
        self.add(path, Node::Directory)
    }

    /// Removes what is no directory.
    pub(crate) fn unlink(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.lookup(path)? == Node::Directory {
            return Err(Errno::IsDirectory);
        }
        self.nodes_mut(path).remove(path);
        Ok(())
    }

    pub(crate) fn remove_directory(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.lookup(path)? != Node::Directory {
            return Err(Errno::NotDirectory);
        }
        if self.is_mount(path) || path.parent().is_none() {
            return Err(Errno::Busy);
        }
        if self.nodes(path).keys().any(|other| other.is_below(path)) {
            return Err(Errno::NotEmpty);
        }
        self.nodes_mut(path).remove(path);
        Ok(())
    }

    /// Removes a directory and what is in it.
    pub(crate) fn remove_tree(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.lookup(path)? != Node::Directory {
            return Err(Errno::NotDirectory);
        }
        let busy = |mount: &AbsolutePath| mount == path || mount.is_below(path);
        if path.parent().is_none() || self.mounts.keys().any(busy) {
            return Err(Errno::Busy);
        }
        self.nodes_mut(path)
            .retain(|other, _| other != path && !other.is_below(path));
        Ok(())
    }

    /// Mounts an empty bpffs over a directory.
    pub(crate) fn mount(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.lookup(path)? != Node::Directory {
            return Err(Errno::NotDirectory);
        }
        self.mounts.entry(path.clone()).or_default();
        Ok(())
    }

    /// Unmounts a bpffs, and with it every pin on it.
    pub(crate) fn unmount(&mut self, path: &AbsolutePath) -> Result<(), Errno> {
        if self.mounts.keys().any(|mount| mount.is_below(path)) {
            return Err(Errno::Busy);
        }
        self.mounts.remove(path).map(drop).ok_or(Errno::Invalid)
    }

    /// The records in a database file.
    pub(crate) fn database(&mut self, path: &AbsolutePath) -> Result<&mut MemoryStore, Errno> {
        self.lookup(path)?;
        match self.nodes_mut(path).get_mut(path) {
            Some(Node::Database(store)) => Ok(store),
            _ => Err(Errno::Invalid),
        }
    }

    pub(crate) fn ordinary(&self) -> &Nodes {
        &self.ordinary
    }

    pub(crate) fn mounts(&self) -> &BTreeMap<AbsolutePath, Nodes> {
        &self.mounts
    }

    /// Every pin, also on a bpffs that another is mounted over.
    pub(crate) fn pins(&self) -> impl Iterator<Item = &Node> {
        self.mounts.values().flat_map(BTreeMap::values)
    }

    fn mount_of(&self, path: &AbsolutePath) -> Option<AbsolutePath> {
        successors(Some(path.clone()), AbsolutePath::parent).find(|above| self.is_mount(above))
    }

    fn nodes(&self, path: &AbsolutePath) -> &Nodes {
        let mount = self.mount_of(path);
        mount
            .and_then(|mount| self.mounts.get(&mount))
            .unwrap_or(&self.ordinary)
    }

    fn nodes_mut(&mut self, path: &AbsolutePath) -> &mut Nodes {
        let mount = self.mount_of(path);
        mount
            .and_then(|mount| self.mounts.get_mut(&mount))
            .unwrap_or(&mut self.ordinary)
    }
}
