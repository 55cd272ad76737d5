//! The settings of sinks `s3` and `object_store`.

use std::path::PathBuf;
use std::time::Duration;

use super::path_pattern::PathPattern;
use crate::config::reader::{Fields, Keys, Reader};
use crate::config::secret::Secret;
use crate::config::tree::Node;
use crate::formats::LineFormat;

/// Where the objects go, how they are called and when they are cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObjectSinkSpec {
    pub(crate) place: StorePlace,
    /// Before the topic in the name of each object; no `/` at either end.
    pub(crate) prefix: String,
    pub(crate) compression: ObjectCompression,
    pub(crate) path: PathPattern,
    pub(crate) rotate: Rotation,
    pub(crate) format: LineFormat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorePlace {
    S3(S3Place),
    Local(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Place {
    pub(crate) bucket: String,
    /// Left out for AWS.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// Left out: from the environment, as the AWS tools do.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) allow_http: bool,
    pub(crate) virtual_hosted_style: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: Secret,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectCompression {
    None,
    Gzip,
}

/// When an object is complete: as soon as any of these is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) records: Option<u64>,
    /// Before compression.
    pub(crate) bytes: u64,
    /// By the timestamps of the records.
    pub(crate) interval: Option<Duration>,
    /// By the clock, so that the last records of a quiet topic arrive too.
    pub(crate) max_age: Duration,
}

impl ObjectSinkSpec {
    pub(crate) fn is_s3(&self) -> bool {
        matches!(self.place, StorePlace::S3(_))
    }

    pub(crate) fn read_s3(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "sink `s3`", S3_KEYS);
        let bucket = reader.required_text(&fields, "bucket", "bucket: lake");
        let endpoint = reader.text(&fields, "endpoint");
        let allow_http = reader.boolean(&fields, "allow_http", false);
        if let (Some(endpoint), Some(entry)) = (&endpoint, fields.find("endpoint")) {
            let message = format!("`endpoint`: `{endpoint}` ");
            if endpoint.starts_with("http://") && !allow_http {
                let hint = "add `allow_http: true` if that is meant";
                reader.report.error_with_hint(
                    entry.value.place,
                    message + "is not encrypted",
                    hint,
                );
            } else if !endpoint.starts_with("http://")
                && !endpoint.starts_with("https://")
                && !endpoint.starts_with("${")
            {
                let hint = "for example https://s3.example.com:9000";
                reader
                    .report
                    .error_with_hint(entry.value.place, message + "is no URL", hint);
            }
        }
        let place = StorePlace::S3(S3Place {
            bucket,
            endpoint,
            region: reader.text(&fields, "region"),
            credentials: Credentials::read(reader, &fields),
            allow_http,
            virtual_hosted_style: reader.boolean(&fields, "virtual_hosted_style", false),
        });
        Self::read_common(reader, &fields, place)
    }

    pub(crate) fn read_object_store(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "sink `object_store`", OBJECT_STORE_KEYS);
        let path = match (reader.text(&fields, "path"), reader.text(&fields, "url")) {
            (Some(path), None) => PathBuf::from(path),
            (None, Some(url)) => match url.strip_prefix("file://") {
                Some(path) if path.starts_with('/') => PathBuf::from(path),
                _ => {
                    let place = fields.node("url").map_or(fields.place, |node| node.place);
                    let message = format!("`url`: `{url}` is not supported");
                    let hint = "use file:///folder here, and sink `s3` for S3";
                    reader.report.error_with_hint(place, message, hint);
                    PathBuf::new()
                }
            },
            (Some(_), Some(_)) => {
                reader.report.error(
                    fields.place,
                    "sink `object_store` takes `path` or `url`, not both",
                );
                PathBuf::new()
            }
            (None, None) => {
                if fields.find("path").is_none() && fields.find("url").is_none() {
                    reader.missing(&fields, "path", "path: ${data_dir}/lake");
                }
                PathBuf::new()
            }
        };
        Self::read_common(reader, &fields, StorePlace::Local(path))
    }

    fn read_common(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, place: StorePlace) -> Self {
        let prefix = reader.text(fields, "prefix").unwrap_or_default();
        if let Some(entry) = fields.find("prefix")
            && prefix.split('/').any(|part| part == "..")
        {
            reader
                .report
                .error(entry.value.place, "`prefix` must not hold `..`");
        }
        let compressions = [
            ("none", ObjectCompression::None),
            ("gzip", ObjectCompression::Gzip),
        ];
        let compression = reader.one_of(fields, "compression", &compressions);
        Self {
            place,
            prefix: prefix.trim_matches('/').to_owned(),
            compression: compression.unwrap_or(ObjectCompression::None),
            path: PathPattern::read(reader, fields),
            rotate: Rotation::read(reader, fields),
            format: LineFormat::read(reader, fields),
        }
    }
}

impl Credentials {
    fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<Self> {
        let fields = reader.fields(
            fields.node("credentials")?,
            "`credentials`",
            CREDENTIAL_KEYS,
        );
        for key in ["access_key_id", "secret_access_key"] {
            if fields.find(key).is_none() {
                reader.missing(&fields, key, &format!("{key}: ${{env:NAME}}"));
            }
        }
        Some(Self {
            access_key_id: reader.secret(&fields, "access_key_id").unwrap_or_default(),
            secret_access_key: reader
                .secret(&fields, "secret_access_key")
                .unwrap_or_default(),
            session_token: reader.secret(&fields, "session_token"),
        })
    }
}

impl Rotation {
    fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Self {
        let mut rotation = Self::default();
        let Some(node) = fields.node("rotate") else {
            return rotation;
        };
        let fields = reader.fields(node, "`rotate`", ROTATE_KEYS);
        let records = reader.integer(&fields, "records", 1..=i64::MAX);
        rotation.records = records.and_then(|records| u64::try_from(records).ok());
        if let Some(bytes) = reader.size(&fields, "bytes") {
            if !(1..=MAX_OBJECT_BYTES).contains(&bytes) {
                let place = fields.node("bytes").map_or(fields.place, |node| node.place);
                reader
                    .report
                    .error(place, "`bytes` must lie between 1 B and 1 GiB");
            }
            rotation.bytes = bytes;
        }
        let range = Duration::from_millis(100)..=Duration::from_secs(7 * 86_400);
        rotation.interval = reader.duration(&fields, "interval", range.clone());
        let max_age = reader.duration(&fields, "max_age", range);
        rotation.max_age = max_age.unwrap_or(rotation.max_age);
        rotation
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            records: None,
            bytes: 64 << 20,
            interval: None,
            max_age: Duration::from_secs(600),
        }
    }
}

/// Objects are built in memory.
const MAX_OBJECT_BYTES: u64 = 1 << 30;
const ALIASES: &[(&str, &str)] = &[
    ("flush.size", "`rotate: { records: .. }`"),
    ("flush_size", "`rotate: { records: .. }`"),
    ("rotate.interval.ms", "`rotate: { interval: .. }`"),
    ("rotate.schedule.interval.ms", "`rotate: { max_age: .. }`"),
    ("topics.dir", "`prefix`"),
    ("s3.bucket.name", "`bucket`"),
    ("s3.region", "`region`"),
    ("s3.compression.type", "`compression`"),
    (
        "s3.part.size",
        "leave it out: the size of parts is chosen by itself",
    ),
    ("store.url", "`endpoint`"),
    ("path.format", "`partition: { by: time, path: .. }`"),
    ("partitioner.class", "`partition: { by: .. }`"),
    ("batch", "`rotate`"),
    ("aws.access.key.id", "`credentials: { access_key_id: .. }`"),
    (
        "aws.secret.access.key",
        "`credentials: { secret_access_key: .. }`",
    ),
];
const S3_KEYS: Keys = Keys {
    known: &[
        "bucket",
        "prefix",
        "endpoint",
        "region",
        "credentials",
        "allow_http",
        "virtual_hosted_style",
        "compression",
        "partition",
        "rotate",
        "envelope",
    ],
    aliases: ALIASES,
    later: &["format", "on_schema_change", "manifest"],
};
const OBJECT_STORE_KEYS: Keys = Keys {
    known: &[
        "path",
        "url",
        "prefix",
        "compression",
        "partition",
        "rotate",
        "envelope",
    ],
    aliases: ALIASES,
    later: &["format", "on_schema_change", "manifest"],
};
const CREDENTIAL_KEYS: Keys = Keys {
    known: &["access_key_id", "secret_access_key", "session_token"],
    aliases: &[
        ("access_key", "`access_key_id`"),
        ("secret_key", "`secret_access_key`"),
    ],
    later: &["profile", "role"],
};
const ROTATE_KEYS: Keys = Keys {
    known: &["records", "bytes", "interval", "max_age"],
    aliases: &[
        ("size", "`bytes`"),
        ("count", "`records`"),
        ("time", "`interval` or `max_age`"),
    ],
    later: &["idle"],
};
