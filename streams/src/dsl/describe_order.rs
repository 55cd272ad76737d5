//! The order in which Java's `Topology.describe()` names the parents and children of a node.
//!
//! Kafka Streams links nodes one after another, in the order in which a `HashMap` of their names
//! gives them, and puts the ends of each link into a `TreeSet`: larger ones first, then by name.
//! A node's size grows with each link below it, also while it is in such a set, so the order
//! depends on the sizes at the time and on the shape of the tree. To write the same text, the
//! same is done here.

use super::graph::Graph;
use super::node::NodeId;

/// The parents and children of each node of a sub-topology, in order, by [`NodeId`].
pub(super) struct Links {
    pub(super) parents: Vec<Vec<NodeId>>,
    pub(super) children: Vec<Vec<NodeId>>,
    /// Number of ways down from each node, itself included.
    pub(super) sizes: Vec<usize>,
}

impl Links {
    pub(super) fn new(graph: &Graph, nodes: &[NodeId]) -> Self {
        let count = graph.nodes.len();
        let mut sizes = vec![1; count];
        let mut parents: Vec<Tree> = (0..count).map(|_| Tree::default()).collect();
        let mut children: Vec<Tree> = (0..count).map(|_| Tree::default()).collect();
        for node in by_hash(graph, nodes) {
            for parent in &graph.nodes[node.0].parents {
                let is_before = |one: NodeId, other: NodeId| {
                    let by_name = || graph.nodes[one.0].name < graph.nodes[other.0].name;
                    let by_size = sizes[other.0].cmp(&sizes[one.0]);
                    by_size.is_lt() || (by_size.is_eq() && by_name())
                };
                parents[node.0].insert(*parent, is_before);
                children[parent.0].insert(node, is_before);
                let size = sizes[node.0];
                grow(&mut sizes, &parents, *parent, size);
            }
        }
        let in_order = |trees: Vec<Tree>| trees.iter().map(Tree::in_order).collect();
        Self {
            parents: in_order(parents),
            children: in_order(children),
            sizes,
        }
    }
}

/// Adds to the size of a node and of all that it hangs on by now.
fn grow(sizes: &mut [usize], parents: &[Tree], node: NodeId, by: usize) {
    sizes[node.0] += by;
    for parent in parents[node.0].in_order() {
        grow(sizes, parents, parent, by);
    }
}

/// Nodes as a Java `HashMap` of their names gives them.
fn by_hash(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    let name = |node: &NodeId| &graph.nodes[node.0].name;
    let mut buckets: u32 = 16;
    while nodes.len() > buckets as usize / 4 * 3 {
        buckets *= 2;
    }
    nodes.sort_by_key(|node| bucket(name(node), buckets));
    nodes
}

/// Names as a Java `HashSet` of a few gives them.
pub(super) fn names_by_hash(names: &mut [&str]) {
    names.sort_by_key(|name| bucket(name, 16));
}

/// Where a Java `HashMap` puts a name.
fn bucket(name: &str, buckets: u32) -> u32 {
    let hash = name.encode_utf16().fold(0_u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    });
    (hash ^ (hash >> 16)) & (buckets - 1)
}

/// A red-black tree that is only inserted into, balanced as Java's `TreeMap` is.
#[derive(Default)]
struct Tree {
    entries: Vec<Entry>,
    root: Option<usize>,
}

struct Entry {
    node: NodeId,
    is_red: bool,
    parent: Option<usize>,
    /// Left and right.
    below: [Option<usize>; 2],
}

impl Tree {
    /// Inserts a node, unless it is there.
    fn insert(&mut self, node: NodeId, is_before: impl Fn(NodeId, NodeId) -> bool) {
        let mut parent = None;
        let mut side = LEFT;
        let mut next = self.root;
        while let Some(at) = next {
            let there = self.entries[at].node;
            if there == node {
                return;
            }
            side = if is_before(node, there) { LEFT } else { RIGHT };
            parent = next;
            next = self.entries[at].below[side];
        }
        let new = self.entries.len();
        self.entries.push(Entry {
            node,
            is_red: true,
            parent,
            below: [None, None],
        });
        match parent {
            Some(parent) => self.entries[parent].below[side] = Some(new),
            None => self.root = Some(new),
        }
        self.balance(new);
    }

    fn balance(&mut self, new: usize) {
        let mut at = new;
        while let Some(mut parent) = self.red(self.entries[at].parent) {
            let Some(grandparent) = self.entries[parent].parent else {
                break;
            };
            let side = self.side(grandparent, parent);
            let uncle = self.red(self.entries[grandparent].below[1 - side]);
            self.entries[grandparent].is_red = true;
            if let Some(uncle) = uncle {
                self.entries[parent].is_red = false;
                self.entries[uncle].is_red = false;
                at = grandparent;
                continue;
            }
            if self.side(parent, at) != side {
                self.rotate(parent, side);
                std::mem::swap(&mut at, &mut parent);
            }
            self.entries[parent].is_red = false;
            self.rotate(grandparent, 1 - side);
        }
        if let Some(root) = self.root {
            self.entries[root].is_red = false;
        }
    }

    fn red(&self, at: Option<usize>) -> Option<usize> {
        at.filter(|at| self.entries[*at].is_red)
    }

    fn side(&self, parent: usize, child: usize) -> usize {
        usize::from(self.entries[parent].below[LEFT] != Some(child))
    }

    /// Moves an entry down to `side`; what is on its other side comes up.
    fn rotate(&mut self, down: usize, side: usize) {
        let Some(up) = self.entries[down].below[1 - side] else {
            return;
        };
        let middle = self.entries[up].below[side];
        self.entries[down].below[1 - side] = middle;
        if let Some(middle) = middle {
            self.entries[middle].parent = Some(down);
        }
        let above = self.entries[down].parent;
        match above {
            Some(above) => {
                let side = self.side(above, down);
                self.entries[above].below[side] = Some(up);
            }
            None => self.root = Some(up),
        }
        self.entries[up].parent = above;
        self.entries[up].below[side] = Some(down);
        self.entries[down].parent = Some(up);
    }

    fn in_order(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut above = Vec::new();
        let mut next = self.root;
        loop {
            while let Some(at) = next {
                above.push(at);
                next = self.entries[at].below[LEFT];
            }
            let Some(at) = above.pop() else {
                return nodes;
            };
            nodes.push(self.entries[at].node);
            next = self.entries[at].below[RIGHT];
        }
    }
}

const LEFT: usize = 0;
const RIGHT: usize = 1;
