# The rdkafka crate (librdkafka from Rust): idempotent producer, groups of both protocols, transactions, admin.
set -euo pipefail
command -v cargo >/dev/null || { echo "skipped: cargo is not installed"; exit 77; }
command -v make >/dev/null || { echo "skipped: make is not installed, librdkafka needs it"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
fetched rdkafka cargo fetch --quiet --locked --manifest-path "$here/rdkafka/Cargo.toml"
# Not part of the workspace: librdkafka is a C library that only this test builds.
CARGO_TARGET_DIR="$CLIENTS_CACHE/rdkafka-target" cargo run --quiet --manifest-path "$here/rdkafka/Cargo.toml"
