//! The way of a stream through a repartition topic, after its key was changed.

use std::any::type_name;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::KString;

use super::graph::{NodeKind, Reads, build_node, build_source};
use super::kstream::KStream;
use super::node::Node;
use super::on_error::OnError;
use super::operators::routed_sink::{ChoosePartitions, Destination, RoutedSink};
use super::operators::sink::{DropNullKeys, Sink};
use super::operators::source::Source;
use super::serde::Serde;
use crate::runtime::{REPARTITION_SUFFIX, SourceRole, StartAt};

/// An explicit repartition topic.
#[derive(Clone, Debug, Default)]
pub struct Repartitioned {
    name: Option<String>,
    partitions: Option<i32>,
}

impl Repartitioned {
    /// A numbered name, and as many partitions as its neighbours need.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The topic `<application id>-<name>-repartition`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            partitions: None,
        }
    }

    /// Exactly so many partitions; at least 1.
    #[must_use]
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

impl<K: Serde, V: Serde> KStream<K, V> {
    /// The same records, led through a topic in which they are partitioned by their key. Those
    /// without a key are dropped, unless a left or outer join follows somewhere (KIP-962).
    #[must_use]
    pub fn repartition(&self, repartitioned: Repartitioned) -> Self {
        let name = self.repartition_name(repartitioned);
        self.repartitioned(&name)
    }

    /// The name of the topic without its suffix; notes how many partitions it is to have.
    pub(super) fn repartition_name(&self, repartitioned: Repartitioned) -> String {
        let mut graph = self.graph.borrow_mut();
        let name = match repartitioned.name {
            Some(name) => name,
            None => graph.numbered("KSTREAM-REPARTITION-"),
        };
        if let Some(partitions) = repartitioned.partitions {
            if partitions < 1 {
                graph.mistake(format!(
                    "repartition topic \"{name}\" cannot have {partitions} partitions\n  hint: it takes at least 1"
                ));
            }
            let topic = format!("{name}{REPARTITION_SUFFIX}");
            graph.fixed_partitions.insert(topic, partitions);
        }
        name
    }

    /// The same records, read back from a topic in which they are partitioned by their key.
    ///
    /// `prefix` is the name of the grouping, join or store; numbered names give numbered nodes,
    /// others are named after the topic, as in Kafka Streams.
    pub(super) fn repartitioned(&self, prefix: &str) -> Self {
        self.repartitioned_by(prefix, None)
    }

    /// As [`repartitioned`](Self::repartitioned), for a join. Those without a name read one topic,
    /// the last one that a join of this stream has made, though each uses up the numbers of one,
    /// as in Kafka Streams.
    pub(super) fn repartitioned_for_join(&self, name: Option<&str>) -> Self {
        let known = self.graph.borrow().repartitioned.get(&self.node).copied();
        if let (None, Some(source)) = (name, known) {
            let mut graph = self.graph.borrow_mut();
            for kind in ["KSTREAM-SINK-", "KSTREAM-FILTER-", "KSTREAM-SOURCE-"] {
                graph.numbered(kind);
            }
            drop(graph);
            return Self::new(Rc::clone(&self.graph), source, [source].into(), false);
        }
        let prefix = name.map_or_else(|| self.node_name(), str::to_owned);
        let repartitioned = self.repartitioned(&prefix);
        let mut graph = self.graph.borrow_mut();
        graph.repartitioned.insert(self.node, repartitioned.node);
        drop(graph);
        repartitioned
    }

    /// As [`repartitioned`](Self::repartitioned), with a partitioner of one's own.
    pub(super) fn repartitioned_by(
        &self,
        prefix: &str,
        partitioner: Option<Arc<ChoosePartitions<K, V>>>,
    ) -> Self {
        let short_name = if prefix.ends_with(REPARTITION_SUFFIX) {
            prefix.to_owned()
        } else {
            format!("{prefix}{REPARTITION_SUFFIX}")
        };
        let mut graph = self.graph.borrow_mut();
        let mut sink_name = graph.numbered("KSTREAM-SINK-");
        let mut filter_name = graph.numbered("KSTREAM-FILTER-");
        let mut source_name = graph.numbered("KSTREAM-SOURCE-");
        if !is_numbered(prefix) {
            sink_name = format!("{short_name}-sink");
            filter_name = format!("{short_name}-filter");
            source_name = format!("{short_name}-source");
        }
        let topic = graph.source_topic_name(&short_name, SourceRole::Repartition);

        let build = build_node::<K, V>(move |compiler, id| {
            Ok(Box::new(DropNullKeys {
                id,
                keep: compiler.graph().leads_to_left_join(id),
                children: compiler.children(id)?,
            }))
        });
        let filter = graph.add_node(
            filter_name,
            NodeKind::Processor,
            &[self.node],
            Vec::new(),
            build,
        );

        let sink_topic = KString::from(topic);
        let build = build_node::<K, V>(move |_, id| {
            let topic = sink_topic.clone();
            Ok(match &partitioner {
                None => Box::new(Sink { id, topic }) as Box<dyn Node<K, V>>,
                Some(partitioner) => Box::new(RoutedSink {
                    id,
                    destination: Destination::Topic(topic),
                    partitioner: Some(Arc::clone(partitioner)),
                }),
            })
        });
        let kind = NodeKind::RepartitionSink {
            topic: short_name.clone(),
        };
        graph.add_node(sink_name, kind, &[filter], Vec::new(), build);

        let build = build_source(move |compiler, id| {
            Ok(Box::new(Source::<K, V> {
                id,
                on_error: OnError::Fail,
                trusts_values: true,
                children: compiler.children(id)?,
            }))
        });
        let kind = NodeKind::Source {
            reads: Reads::Topics(vec![short_name]),
            start_at: StartAt::Earliest,
            role: SourceRole::Repartition,
            types: type_name::<(K, V)>(),
        };
        let source = graph.add_node(source_name, kind, &[], Vec::new(), build);
        drop(graph);
        Self::new(Rc::clone(&self.graph), source, [source].into(), false)
    }
}

/// Whether a name is one of Kafka Streams' own: `KSTREAM…-` and ten digits.
fn is_numbered(name: &str) -> bool {
    let digits = name
        .get(name.len().saturating_sub(10)..)
        .unwrap_or_default();
    name.starts_with("KSTREAM")
        && digits.len() == 10
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && name.as_bytes().get(name.len().wrapping_sub(11)) == Some(&b'-')
}
