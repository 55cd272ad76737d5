//! The cluster's state: records of the metadata log, the image they build, and the decisions of
//! the controller.
//!
//! State changes only by records: the controller decides on an image, its records are committed
//! to the metadata log, and every node applies them to its own image.

mod codec;
pub mod controller;
mod features;
mod image;
mod record;
mod topic_name;

pub use self::codec::MetadataDecodeError;
pub use self::features::{FEATURES, Feature, GROUP_VERSION, feature};
pub use self::image::{ApplyError, BrokerImage, MetadataImage, PartitionImage, TopicImage};
pub use self::record::{BrokerRecord, ConfigRecord, MetadataRecord, PartitionRecord, ResourceType};
pub use self::topic_name::{TopicNameError, collides, is_internal, validate_topic_name};
