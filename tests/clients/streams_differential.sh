# Random topologies and inputs on Kafka Streams 4.3 and on Moldau: outputs, changelogs and descriptions are the same.
# CASES says how many (300), MOLDAU_TEST_SEED where to begin; the same cases each time unless it is set (`fresh`: new ones).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/java/streams/compile.sh"
export MOLDAU_STREAMS_JVM="$java -Xmx512M -XX:+UseSerialGC -Djava.io.tmpdir=$classes -cp $classes:$lib/* -Dlog4j2.configurationFile=$here/java/streams/log4j2.properties Differential"
cd "$here/../.."
export MOLDAU_TEST_SEED=${MOLDAU_TEST_SEED:-1000}
[ "$MOLDAU_TEST_SEED" != fresh ] || unset MOLDAU_TEST_SEED
# The whole workspace, so that nothing is built again with other features.
cargo test --workspace --locked --test differential
