# A job of Kafka Streams 4.3 and the same job of Moldau take over from each other, with state and positions, in turn.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/java/streams/compile.sh"
# What the job logs is shown if the test fails.
sed -e "s/=ERROR/=INFO/" -e "s/pattern=/pattern=%d{HH:mm:ss.SSS} /" "$here/java/streams/log4j2.properties" >"$classes/log4j2.properties"
export MOLDAU_STREAMS_JVM="$java -Xmx512M -XX:+UseSerialGC -Djava.io.tmpdir=$classes -cp $classes:$lib/* -Dlog4j2.configurationFile=$classes/log4j2.properties"
export MOLDAU_TEST_KAFKA=$BOOTSTRAP
cd "$here/../.."
# The whole workspace, so that nothing is built again with other features.
cargo test --workspace --locked --test cluster -- hand_over
