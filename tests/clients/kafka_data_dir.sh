# A data directory that Apache Kafka wrote is opened and served by Moldau, with the offsets of its groups;
# Kafka's own tool reads the files that Moldau wrote there.
set -Eeuo pipefail
command -v java >/dev/null || { echo "skipped: java is not installed"; exit 77; }
java_version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
[ "${java_version:-0}" -ge 17 ] || { echo "skipped: Apache Kafka needs Java 17, this is ${java_version:-unknown}"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
binary=${MOLDAU_BIN:-${CARGO_TARGET_DIR:-$here/../../target}/debug/moldau}
[ -x "$binary" ] || { echo "skipped: $binary is not built"; exit 77; }
source "$here/fetch.sh"
kafka_jars kafka-tools-4.3.0 "$here/java/pom.xml"
work=$(mktemp -d)
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  server=
}
trap 'tail -n 20 "$work/tools.err"' ERR
trap 'stop; rm -rf "$work"' EXIT
java=(java -Xmx512M -cp "$lib/*" "-Dlog4j2.configurationFile=$here/java/log4j2.properties")
kafka() { "${java[@]}" "$@"; }
tool() { kafka "org.apache.kafka.tools.$1" --bootstrap-server "$bootstrap" "${@:2}" 2>>"$work/tools.err"; }
expect() { [ "$2" = "$3" ] || { echo "$1: expected $2, found $3"; tail -n 20 "$work/tools.err"; exit 1; }; }

# Two ports that are free now; nothing else on a test machine takes them in the next second.
read -r port controller < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
)
bootstrap=127.0.0.1:$port
cat > "$work/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
PROPERTIES
wait_until() { # LOG COMMAND...
  for _ in $(seq 1 1800); do
    "${@:2}" && return
    kill -0 "$server" 2>/dev/null || { cat "$1"; exit 1; }
    sleep 0.1
  done
  echo "not true after three minutes: ${*:2}"; cat "$1"; exit 1
}
port_answers() { (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
consume() { # TOPIC COUNT ARGS...
  tool consumer.ConsoleConsumer --topic "$1" --max-messages "$2" --timeout-ms 30000 "${@:3}"
}

echo "Apache Kafka writes"
kafka kafka.tools.StorageTool format -t "$(kafka kafka.tools.StorageTool random-uuid)" -c "$work/server.properties" >/dev/null
# Not through the function: its process would be a shell's, which is stopped without the broker that it started.
"${java[@]}" kafka.Kafka "$work/server.properties" >"$work/kafka.log" 2>&1 &
server=$!
wait_until "$work/kafka.log" port_answers
tool TopicCommand --create --topic orders --partitions 3 --config retention.bytes=123456789 >/dev/null
tool TopicCommand --create --topic table --partitions 1 --config cleanup.policy=compact >/dev/null
seq 1 300 | sed 's/.*/key-&:value-&/' > "$work/records"
tool ConsoleProducer --topic orders --reader-property parse.key=true --reader-property key.separator=: \
  --compression-codec lz4 < "$work/records" >/dev/null
tool ConsoleProducer --topic table --reader-property parse.key=true --reader-property key.separator=: \
  < "$work/records" >/dev/null
tool ProducerPerformance --topic orders --num-records 50 --record-size 100 --throughput -1 \
  --transactional-id mover --transaction-duration-ms 50 >/dev/null
consume orders 120 --group readers --from-beginning > "$work/first"
stop

echo "Moldau serves it"
start_moldau() {
  rm -f "$work/ready.json"
  "$binary" broker --data-dir "$work/data" --kafka "127.0.0.1:$port" --http 127.0.0.1:0 --ready-file "$work/ready.json" \
    >"$work/moldau.log" 2>&1 &
  server=$!
  wait_until "$work/moldau.log" test -e "$work/ready.json"
}
start_moldau
expect "records of orders" 350 "$(consume orders 350 --from-beginning --isolation-level read_committed | wc -l)"
expect "values of table" "$(sed 's/.*://' "$work/records" | sort | cksum)" "$(consume table 300 --from-beginning | sort | cksum)"
expect "records that the group has not read" 230 "$(consume orders 230 --group readers | wc -l)"
tool TopicCommand --describe --topic orders | grep -q "retention.bytes=123456789" || { echo "orders has lost its settings"; exit 1; }
tool TopicCommand --describe --topic table | grep -q "cleanup.policy=compact" || { echo "table has lost its settings"; exit 1; }
tool ConsoleProducer --topic orders --compression-codec zstd < "$work/records" >/dev/null
expect "records of both" 650 "$(consume orders 650 --from-beginning | wc -l)"
stop
start_moldau
expect "records after a restart" 650 "$(consume orders 650 --from-beginning | wc -l)"
stop

echo "Kafka's tool reads Moldau's files"
for directory in "$work"/data/orders-* "$work"/data/table-0 "$work"/data/__consumer_offsets-*; do
  files=$(find "$directory" -name '*.log' -o -name '*index' -o -name '*.snapshot' | paste -sd,)
  kafka org.apache.kafka.tools.DumpLogSegments --deep-iteration --files "$files" > "$work/dump" 2>&1
  if grep -E "isvalid: false|mismatch|Exception|Index timestamp" "$work/dump"; then echo "in $directory"; exit 1; fi
  [[ $directory = *orders-* ]] || continue
  grep -q "isvalid: true" "$work/dump" || { echo "$directory has no batches"; cat "$work/dump"; exit 1; }
done
