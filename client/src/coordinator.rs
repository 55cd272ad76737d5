//! Which broker coordinates a group or a transactional id.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use moldau_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use moldau_protocol::{ApiKey, ErrorCode, KString};

use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::BrokerEndpoint;

/// What a coordinator looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}

/// Coordinators that were looked up, by kind and key.
#[derive(Debug, Default)]
pub(crate) struct CoordinatorCache {
    addresses: Mutex<HashMap<(CoordinatorKind, String), String>>,
}

impl CoordinatorCache {
    fn known(&self, kind: CoordinatorKind, key: &str) -> Option<String> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.get(&(kind, key.to_owned())).cloned()
    }

    fn store(&self, kind: CoordinatorKind, key: &str, address: String) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= REMEMBERED {
            addresses.clear();
        }
        addresses.insert((kind, key.to_owned()), address);
    }

    /// Forgets a coordinator, so that the next use looks it up again.
    pub(crate) fn forget(&self, kind: CoordinatorKind, key: &str) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.remove(&(kind, key.to_owned()));
    }
}

impl Client {
    /// Address of the coordinator of `key`, looked up once.
    pub(crate) async fn coordinator(
        &self,
        kind: CoordinatorKind,
        key: &str,
    ) -> Result<String, ClientError> {
        if let Some(address) = self.coordinators().known(kind, key) {
            return Ok(address);
        }
        let address = self.find_coordinator(kind, key).await?;
        self.coordinators().store(kind, key, address.clone());
        Ok(address)
    }

    async fn find_coordinator(
        &self,
        kind: CoordinatorKind,
        key: &str,
    ) -> Result<String, ClientError> {
        let connection = self.metadata().any_connection().await?;
        let version = connection.version(ApiKey::FindCoordinator)?;
        let name = KString::copy_from(key);
        let mut request = FindCoordinatorRequest {
            key_type: kind as i8,
            ..FindCoordinatorRequest::default()
        };
        if version >= 4 {
            request.coordinator_keys = vec![name];
        } else {
            request.key = name;
        }
        let response: FindCoordinatorResponse = connection
            .call(version, request, self.request_timeout())
            .await?;
        let found = Found::from_response(&response);
        if found.error_code != 0 {
            let object = format!("coordinator of {} \"{key}\"", kind.name());
            return Err(ClientError::broker(
                found.error_code,
                found.error_message.as_deref(),
                object,
            ));
        }
        Ok(found.endpoint.address())
    }
}

impl CoordinatorKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Transaction => "transactional id",
        }
    }
}

/// The answer in either of its two forms.
struct Found {
    error_code: i16,
    error_message: Option<KString>,
    endpoint: BrokerEndpoint,
}

impl Found {
    fn from_response(response: &FindCoordinatorResponse) -> Self {
        if let Some(found) = response.coordinators.first() {
            return Self {
                error_code: found.error_code,
                error_message: found.error_message.clone(),
                endpoint: endpoint(found.node_id, &found.host, found.port),
            };
        }
        Self {
            error_code: response.error_code,
            error_message: response.error_message.clone(),
            endpoint: endpoint(response.node_id, &response.host, response.port),
        }
    }
}

fn endpoint(id: i32, host: &KString, port: i32) -> BrokerEndpoint {
    BrokerEndpoint {
        id,
        host: host.to_string(),
        port,
        rack: None,
    }
}

/// Whether a code means that the coordinator is elsewhere now.
pub(crate) const fn coordinator_moved(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable
    )
}

/// Bound on the coordinators remembered by one client.
const REMEMBERED: usize = 1_000;
