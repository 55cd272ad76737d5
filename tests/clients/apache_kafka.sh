# Our client, streams and SQL against real Apache Kafka: the same tests, the same answers.
set -euo pipefail
command -v java >/dev/null || { echo "skipped: java is not installed"; exit 77; }
java_version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
[ "${java_version:-0}" -ge 17 ] || { echo "skipped: Apache Kafka needs Java 17, this is ${java_version:-unknown}"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
kafka_jars kafka-tools-4.3.0 "$here/java/pom.xml"
work=$(mktemp -d)
broker=
stop() {
  if [ -n "$broker" ]; then kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT
kafka() { java -Xmx512M -cp "$lib/*" -Dlog4j2.configurationFile="$here/java/log4j2.properties" "$@"; }

# A fresh broker in directory $1, with the features that the other arguments say; its port goes into MOLDAU_TEST_KAFKA.
start() {
local dir=$1 port controller; shift
mkdir -p "$dir"
# Two ports that are free now; nothing else on a test machine takes them in the next second.
read -r port controller < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
)
cat > "$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# Tests write records of 1970: retention must not look before they are read.
log.initial.task.delay.ms=3600000
PROPERTIES
kafka kafka.tools.StorageTool format -t "$(kafka kafka.tools.StorageTool random-uuid)" -c "$dir/server.properties" "$@" >/dev/null
# Not through the function: its shell would be what is stopped, and not the broker.
java -Xmx512M -cp "$lib/*" -Dlog4j2.configurationFile="$here/java/log4j2.properties" \
  kafka.Kafka "$dir/server.properties" >"$dir/server.log" 2>&1 &
broker=$!
for _ in $(seq 1 600); do
  (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  kill -0 "$broker" 2>/dev/null || { cat "$dir/server.log"; exit 1; }
  sleep 0.1
done
export MOLDAU_TEST_KAFKA=127.0.0.1:$port
}

cd "$here/../.."
start "$work/newest"
# The whole workspace, so that nothing is built again with other features.
cargo test --workspace --locked --test kafka --test cluster --test sql
kill "$broker"; wait "$broker" || true
# Transactions once more by version 1, where partitions are added before they are sent to.
start "$work/version-1" --feature transaction.version=1
cargo test --workspace --locked --test kafka -- transaction
