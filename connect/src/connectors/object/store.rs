//! Puts objects into a store.

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};

use super::spec::{S3Place, StorePlace};
use crate::runtime::error::ConnectError;

/// Where objects go. A trait, so that tests can fail in the middle of it.
pub(crate) trait Target: Send + Sync {
    /// Writes an object, over one of the same name.
    fn put(
        &self,
        name: &str,
        content: Bytes,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;
}

/// A store.
#[derive(Debug, Clone)]
pub(crate) struct StoreTarget {
    store: Arc<dyn ObjectStore>,
    /// For messages.
    description: String,
}

impl StoreTarget {
    /// Prepares the store; an S3 server is not asked yet.
    pub(crate) fn open(place: &StorePlace) -> Result<Self, ConnectError> {
        let (store, description) = match place {
            StorePlace::S3(s3) => (open_s3(s3), describe(s3)),
            StorePlace::Local(path) => (open_local(path), path.display().to_string()),
        };
        let store = store.map_err(|error| failure("open", &description, &error))?;
        Ok(Self { store, description })
    }

    #[cfg(test)]
    pub(crate) fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            description: "memory".to_owned(),
        }
    }

    async fn put_whole(&self, path: &Path, content: Bytes) -> object_store::Result<()> {
        self.store
            .put(path, PutPayload::from_bytes(content))
            .await
            .map(drop)
    }

    async fn put_in_parts(&self, path: &Path, mut content: Bytes) -> object_store::Result<()> {
        let mut upload = self.store.put_multipart(path).await?;
        let mut result = Ok(());
        while !content.is_empty() && result.is_ok() {
            let part = content.split_to(content.len().min(PART_BYTES));
            result = upload.put_part(PutPayload::from_bytes(part)).await;
        }
        if result.is_ok() {
            result = upload.complete().await.map(drop);
        }
        if result.is_err() {
            // Parts that nobody completes would be kept and paid for. The error that counts is the first.
            let _ = upload.abort().await;
        }
        result
    }
}

impl Target for StoreTarget {
    async fn put(&self, name: &str, content: Bytes) -> Result<(), ConnectError> {
        let path = Path::parse(name).map_err(|error| {
            ConnectError::State(format!("`{name}` is no name for an object: {error}"))
        })?;
        let result = if content.len() <= WHOLE_BYTES {
            self.put_whole(&path, content).await
        } else {
            self.put_in_parts(&path, content).await
        };
        result.map_err(|error| failure(&format!("write {name} to"), &self.description, &error))
    }
}

fn open_s3(s3: &S3Place) -> object_store::Result<Arc<dyn ObjectStore>> {
    install_tls_provider();
    let builder = match &s3.credentials {
        Some(credentials) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(credentials.access_key_id.reveal())
                .with_secret_access_key(credentials.secret_access_key.reveal());
            match &credentials.session_token {
                Some(token) => builder.with_token(token.reveal()),
                None => builder,
            }
        }
        None => AmazonS3Builder::from_env(),
    };
    // Our own retries show in the status, so the store's are few.
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 2,
        retry_timeout: Duration::from_secs(10),
    };
    let options = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(60))
        .with_allow_http(s3.allow_http);
    let mut builder = builder
        .with_bucket_name(&s3.bucket)
        .with_virtual_hosted_style_request(s3.virtual_hosted_style)
        .with_retry(retry)
        .with_client_options(options);
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.build()?))
}

fn open_local(path: &std::path::Path) -> object_store::Result<Arc<dyn ObjectStore>> {
    std::fs::create_dir_all(path).map_err(|source| object_store::Error::Generic {
        store: "folder",
        source: Box::new(source),
    })?;
    Ok(Arc::new(
        LocalFileSystem::new_with_prefix(path)?.with_fsync(true),
    ))
}

fn describe(s3: &S3Place) -> String {
    let endpoint = s3
        .endpoint
        .as_deref()
        .map(|endpoint| format!(" at {endpoint}"));
    format!("s3://{}{}", s3.bucket, endpoint.unwrap_or_default())
}

fn failure(action: &str, place: &str, error: &object_store::Error) -> ConnectError {
    use object_store::Error as E;
    let permanent = matches!(
        error,
        E::NotFound { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::InvalidPath { .. }
            | E::UnknownConfigurationKey { .. }
    );
    ConnectError::Store {
        action: format!("cannot {action} {place}"),
        reason: reasons(error),
        permanent,
    }
}

/// The error and what caused it, without what the outer texts say already.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// One provider of cryptography for the whole process; whoever comes first decides.
fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Larger objects go in parts.
const WHOLE_BYTES: usize = 16 << 20;
const PART_BYTES: usize = 8 << 20;
