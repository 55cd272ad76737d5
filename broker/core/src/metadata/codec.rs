//! Metadata records as bytes: the value of a record of the metadata log.
//!
//! ```text
//! frame version   uvarint  1
//! record type     uvarint  RECORD_*
//! record version  uvarint  0
//! fields          in compact form, by type and version
//! tagged fields   uvarint count, then tag, size and bytes of each; unknown ones are skipped
//! ```
//!
//! A new optional field gets a tag; a change that older nodes must not miss gets a new record
//! version, which they refuse.

use bytes::Bytes;
use moldau_protocol::types::KString;
use moldau_protocol::{DecodeError, Decoder, EncodeError, Encoder};

use super::record::{BrokerRecord, ConfigRecord, MetadataRecord, PartitionRecord, ResourceType};
use crate::ids::{LeaderEpoch, ProducerId};

/// Why bytes are no metadata record.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetadataDecodeError {
    /// A later version of the broker wrote it.
    #[error(
        "metadata record of type {record_type} and version {version} is not known; start a newer version"
    )]
    Unknown {
        /// The record's type.
        record_type: u32,
        /// The record's version.
        version: u32,
    },
    /// It is not framed as a metadata record.
    #[error("metadata record has frame version {version}; only {FRAME_VERSION} is known")]
    Frame {
        /// The version found.
        version: u32,
    },
    /// Its bytes were changed or cut.
    #[error("metadata record is damaged")]
    Damaged(#[from] DecodeError),
    /// A field has a value that makes no sense.
    #[error("metadata record: field {field} has the unknown value {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

impl MetadataRecord {
    /// The record as bytes.
    ///
    /// # Errors
    /// A string is longer than the format allows.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut output = Encoder::new();
        output.unsigned_varint(FRAME_VERSION);
        output.unsigned_varint(self.type_number());
        output.unsigned_varint(RECORD_VERSION);
        self.encode_fields(&mut output)?;
        output.unsigned_varint(0);
        Ok(output.finish().to_bytes().unwrap_or_default())
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The bytes are damaged, or a later version wrote them.
    pub fn decode(bytes: &Bytes) -> Result<Self, MetadataDecodeError> {
        let mut input = Decoder::new(bytes.clone());
        let version = input.unsigned_varint()?;
        if version != FRAME_VERSION {
            return Err(MetadataDecodeError::Frame { version });
        }
        let record_type = input.unsigned_varint()?;
        let version = input.unsigned_varint()?;
        if version != RECORD_VERSION {
            return Err(MetadataDecodeError::Unknown {
                record_type,
                version,
            });
        }
        let record = match record_type {
            FEATURE => Self::Feature {
                name: string(&mut input)?,
                level: input.i16()?,
            },
            BROKER => Self::Broker(decode_broker(&mut input)?),
            TOPIC => Self::Topic {
                name: string(&mut input)?,
                id: input.uuid()?,
            },
            REMOVE_TOPIC => Self::RemoveTopic { id: input.uuid()? },
            PARTITION => Self::Partition(decode_partition(&mut input)?),
            CONFIG => Self::Config(decode_config(&mut input)?),
            PRODUCER_IDS => Self::ProducerIds {
                next: ProducerId(input.i64()?),
            },
            _ => {
                return Err(MetadataDecodeError::Unknown {
                    record_type,
                    version,
                });
            }
        };
        input.unknown_tags(true)?;
        Ok(record)
    }

    const fn type_number(&self) -> u32 {
        match self {
            Self::Feature { .. } => FEATURE,
            Self::Broker(_) => BROKER,
            Self::Topic { .. } => TOPIC,
            Self::RemoveTopic { .. } => REMOVE_TOPIC,
            Self::Partition(_) => PARTITION,
            Self::Config(_) => CONFIG,
            Self::ProducerIds { .. } => PRODUCER_IDS,
        }
    }

    fn encode_fields(&self, output: &mut Encoder) -> Result<(), EncodeError> {
        match self {
            Self::Feature { name, level } => {
                output.string(true, name)?;
                output.i16(*level);
            }
            Self::Broker(broker) => encode_broker(broker, output)?,
            Self::Topic { name, id } => {
                output.string(true, name)?;
                output.uuid(*id);
            }
            Self::RemoveTopic { id } => output.uuid(*id),
            Self::Partition(partition) => encode_partition(partition, output)?,
            Self::Config(config) => {
                output.i8(config.resource_type.code());
                output.string(true, &config.resource_name)?;
                output.string(true, &config.name)?;
                output.nullable_string(true, config.value.as_ref())?;
            }
            Self::ProducerIds { next } => output.i64(next.0),
        }
        Ok(())
    }
}

fn encode_broker(broker: &BrokerRecord, output: &mut Encoder) -> Result<(), EncodeError> {
    output.i32(broker.id);
    output.i64(broker.epoch);
    output.uuid(broker.incarnation_id);
    output.bool(broker.live);
    output.string(true, &broker.host)?;
    output.u16(broker.port);
    output.nullable_string(true, broker.rack.as_ref())
}

fn decode_broker(input: &mut Decoder) -> Result<BrokerRecord, DecodeError> {
    Ok(BrokerRecord {
        id: input.i32()?,
        epoch: input.i64()?,
        incarnation_id: input.uuid()?,
        live: input.bool()?,
        host: string(input)?,
        port: input.u16()?,
        rack: nullable_string(input)?,
    })
}

fn encode_partition(partition: &PartitionRecord, output: &mut Encoder) -> Result<(), EncodeError> {
    output.uuid(partition.topic_id);
    output.i32(partition.index);
    output.i32(partition.leader);
    output.i32(partition.leader_epoch.0);
    output.i32(partition.partition_epoch);
    for nodes in [&partition.replicas, &partition.isr] {
        output.array(true, nodes, |output, node| {
            output.i32(*node);
            Ok(())
        })?;
    }
    Ok(())
}

fn decode_partition(input: &mut Decoder) -> Result<PartitionRecord, DecodeError> {
    Ok(PartitionRecord {
        topic_id: input.uuid()?,
        index: input.i32()?,
        leader: input.i32()?,
        leader_epoch: LeaderEpoch(input.i32()?),
        partition_epoch: input.i32()?,
        replicas: input.array(true, 4, Decoder::i32)?,
        isr: input.array(true, 4, Decoder::i32)?,
    })
}

fn decode_config(input: &mut Decoder) -> Result<ConfigRecord, MetadataDecodeError> {
    let code = input.i8()?;
    let unknown = MetadataDecodeError::Value {
        field: "resource type",
        value: i64::from(code),
    };
    Ok(ConfigRecord {
        resource_type: ResourceType::from_code(code).ok_or(unknown)?,
        resource_name: string(input)?,
        name: string(input)?,
        value: nullable_string(input)?,
    })
}

/// Names stay for long, so they do not keep the bytes of a whole batch alive.
fn string(input: &mut Decoder) -> Result<KString, DecodeError> {
    Ok(input.string(true)?.detached())
}

fn nullable_string(input: &mut Decoder) -> Result<Option<KString>, DecodeError> {
    Ok(input.nullable_string(true)?.map(|text| text.detached()))
}

const FRAME_VERSION: u32 = 1;
const RECORD_VERSION: u32 = 0;

const FEATURE: u32 = 1;
const BROKER: u32 = 2;
const TOPIC: u32 = 3;
const REMOVE_TOPIC: u32 = 4;
const PARTITION: u32 = 5;
const CONFIG: u32 = 6;
const PRODUCER_IDS: u32 = 7;

#[cfg(test)]
mod tests {
    use moldau_protocol::types::Uuid;

    use super::*;

    fn records() -> Vec<MetadataRecord> {
        let id = Uuid([7; 16]);
        let config = |value| ConfigRecord {
            resource_type: ResourceType::Topic,
            resource_name: "orders".into(),
            name: "retention.ms".into(),
            value,
        };
        vec![
            MetadataRecord::Feature {
                name: "metadata.version".into(),
                level: 29,
            },
            MetadataRecord::Broker(BrokerRecord {
                id: 1,
                epoch: 12,
                incarnation_id: Uuid([9; 16]),
                live: true,
                host: "localhost".into(),
                port: 65_535,
                rack: Some("r1".into()),
            }),
            MetadataRecord::Topic {
                name: "orders".into(),
                id,
            },
            MetadataRecord::Partition(PartitionRecord {
                topic_id: id,
                index: 3,
                leader: 1,
                leader_epoch: LeaderEpoch(5),
                partition_epoch: 6,
                replicas: vec![1, 2],
                isr: vec![1],
            }),
            MetadataRecord::Config(config(Some("60000".into()))),
            MetadataRecord::Config(config(None)),
            MetadataRecord::ProducerIds {
                next: ProducerId(1_000),
            },
            MetadataRecord::RemoveTopic { id },
        ]
    }

    #[test]
    fn every_record_comes_back_from_its_bytes() {
        for record in records() {
            let bytes = record.encode().unwrap();
            assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
        }
    }

    #[test]
    fn bytes_cut_anywhere_are_refused() {
        for record in records() {
            let bytes = record.encode().unwrap();
            for length in 0..bytes.len() {
                assert!(
                    MetadataRecord::decode(&bytes.slice(..length)).is_err(),
                    "{record:?} at {length}"
                );
            }
        }
    }

    #[test]
    fn fields_added_later_under_a_tag_are_skipped() {
        let record = MetadataRecord::ProducerIds {
            next: ProducerId(5),
        };
        let mut bytes = record.encode().unwrap().to_vec();
        bytes.pop();
        bytes.extend([1, 0, 2, 0xab, 0xcd]);
        assert_eq!(MetadataRecord::decode(&bytes.into()), Ok(record));
    }

    #[test]
    fn records_of_a_later_version_are_refused_by_name() {
        let decode = |bytes: &'static [u8]| MetadataRecord::decode(&Bytes::from_static(bytes));
        assert_eq!(
            decode(&[2, 1, 0]),
            Err(MetadataDecodeError::Frame { version: 2 })
        );
        assert_eq!(
            decode(&[1, 99, 0]),
            Err(MetadataDecodeError::Unknown {
                record_type: 99,
                version: 0
            })
        );
        assert_eq!(
            decode(&[1, 1, 4]),
            Err(MetadataDecodeError::Unknown {
                record_type: 1,
                version: 4
            })
        );
    }
}
