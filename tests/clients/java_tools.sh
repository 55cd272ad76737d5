# Kafka's own command-line tools: topics, settings, console producer and consumer, groups, transactions, performance tests.
set -euo pipefail
command -v java >/dev/null || { echo "skipped: java is not installed"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
kafka_jars kafka-tools-4.3.0 "$here/java/pom.xml"
tool() { timeout 120 java -Xmx256M -XX:TieredStopAtLevel=1 -cp "$lib/*" -Dlog4j2.configurationFile="$here/java/log4j2.properties" "$@"; }
server=(--bootstrap-server "$BOOTSTRAP")
topic="java-$RANDOM$RANDOM"
offsets=$(mktemp)
trap 'rm -f "$offsets"' EXIT
topics=org.apache.kafka.tools.TopicCommand
console_producer=org.apache.kafka.tools.ConsoleProducer
console_consumer=org.apache.kafka.tools.consumer.ConsoleConsumer
groups=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand

echo "== topics"
tool $topics "${server[@]}" --create --topic "$topic" --partitions 3 --replication-factor 1 --config retention.ms=3600000
tool $topics "${server[@]}" --list | grep -x "$topic" >/dev/null
tool $topics "${server[@]}" --describe --topic "$topic" | tee /dev/stderr | grep 'PartitionCount: 3' >/dev/null
tool $topics "${server[@]}" --alter --topic "$topic" --partitions 4
tool $topics "${server[@]}" --describe --topic "$topic" | grep 'PartitionCount: 4' >/dev/null

echo "== console producer and consumer"
seq 1 200 | tool $console_producer "${server[@]}" --topic "$topic"
tool $console_consumer "${server[@]}" --topic "$topic" --from-beginning --max-messages 200 --timeout-ms 60000 | sort -n | md5sum >/tmp/got.$$
seq 1 200 | md5sum | cmp - /tmp/got.$$ && rm /tmp/got.$$

echo "== groups"
tool $console_consumer "${server[@]}" --topic "$topic" --group "$topic-group" --from-beginning --max-messages 200 --timeout-ms 60000 | wc -l | grep -x 200 >/dev/null
tool $groups "${server[@]}" --list | grep -x "$topic-group" >/dev/null
tool $groups "${server[@]}" --describe --group "$topic-group" | tee /dev/stderr | awk -v topic="$topic" '$2 == topic { committed += $4; lag += $6 } END { exit !(committed == 200 && lag == 0) }'
tool $groups "${server[@]}" --group "$topic-group" --topic "$topic" --reset-offsets --to-earliest --execute
tool $groups "${server[@]}" --describe --group "$topic-group" | awk -v topic="$topic" '$2 == topic { lag += $6 } END { exit lag != 200 }'

echo "== performance tools"
tool org.apache.kafka.tools.ProducerPerformance --topic "$topic-perf" --num-records 50000 --record-size 100 --throughput -1 \
  --producer-props "bootstrap.servers=$BOOTSTRAP" acks=all
tool org.apache.kafka.tools.ConsumerPerformance "${server[@]}" --topic "$topic-perf" --num-records 50000 --timeout 60000

echo "== settings"
configs() { tool kafka.admin.ConfigCommand "${server[@]}" --entity-type topics --entity-name "$topic" "$@"; }
configs --alter --add-config retention.ms=7200000,cleanup.policy=[compact,delete] --delete-config max.message.bytes
configs --describe | tee /dev/stderr | grep 'retention.ms=7200000' >/dev/null

echo "== transactions"
tool org.apache.kafka.tools.ProducerPerformance --topic "$topic-txn" --num-records 2000 --record-size 100 --throughput -1 \
  --transactional-id "$topic-id" --transaction-duration-ms 100 --producer-props "bootstrap.servers=$BOOTSTRAP"
tool $console_consumer "${server[@]}" --topic "$topic-txn" --from-beginning --max-messages 2000 --timeout-ms 60000 \
  --command-property isolation.level=read_committed | wc -l | grep -x 2000 >/dev/null
transactions=org.apache.kafka.tools.TransactionsCommand
tool $transactions "${server[@]}" list | grep "$topic-id" >/dev/null
tool $transactions "${server[@]}" describe --transactional-id "$topic-id" | tee /dev/stderr | grep CompleteCommit >/dev/null
tool $transactions "${server[@]}" describe-producers --topic "$topic-txn" --partition 0 | tee /dev/stderr | grep -v ProducerId >/dev/null

echo "== the cluster and its logs"
tool org.apache.kafka.tools.GetOffsetShell "${server[@]}" --topic "$topic-txn" | tee /dev/stderr | grep "$topic-txn:0:" >/dev/null
printf '{"partitions": [{"topic": "%s", "partition": 0, "offset": 3}], "version": 1}' "$topic-perf" >"$offsets"
tool org.apache.kafka.tools.DeleteRecordsCommand "${server[@]}" --offset-json-file "$offsets" | tee /dev/stderr | grep 'low_watermark: 3' >/dev/null
tool org.apache.kafka.tools.LogDirsCommand "${server[@]}" --describe --topic-list "$topic" | grep "$topic-0" >/dev/null
tool org.apache.kafka.tools.FeatureCommand "${server[@]}" describe | tee /dev/stderr | grep 'transaction.version' >/dev/null
tool org.apache.kafka.tools.ClusterTool cluster-id "${server[@]}" | grep 'Cluster ID' >/dev/null
tool org.apache.kafka.tools.BrokerApiVersionsCommand "${server[@]}" | grep 'Produce(0): 0 to 13' >/dev/null

echo "== delete"
tool $topics "${server[@]}" --delete --topic "$topic"
for _ in $(seq 1 20); do
  tool $topics "${server[@]}" --list | grep -x "$topic" >/dev/null || exit 0
done
echo "topic $topic is still listed"; exit 1
