//! The operations that a client may do, as bits of an ACL operation's code.
//!
//! There is no authorizer: everybody may do all that Kafka knows for the kind of resource.

/// Create, alter, describe, cluster action, describe and alter settings, idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 =
    bit(5) | bit(7) | bit(8) | bit(9) | bit(10) | bit(11) | bit(12);

/// Read, write, create, delete, alter, describe, describe and alter settings.
pub(super) const TOPIC_OPERATIONS: i32 =
    bit(3) | bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(10) | bit(11);

/// Read, delete, describe, describe and alter settings.
pub(super) const GROUP_OPERATIONS: i32 = bit(3) | bit(6) | bit(8) | bit(10) | bit(11);

const fn bit(operation: u32) -> i32 {
    1 << operation
}
