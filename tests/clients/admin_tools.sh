# Kafka's own administration tools: settings, features, quorum, directories, elections, reassignments, offsets.
set -euo pipefail
command -v java >/dev/null || { echo "skipped: java is not installed"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
kafka_jars kafka-tools-4.3.0 "$here/java/pom.xml"
server=(--bootstrap-server "$BOOTSTRAP")
topic="admin-$RANDOM$RANDOM"
group="$topic-group"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tool() { timeout 300 java -Xmx256M -XX:TieredStopAtLevel=1 -cp "$lib/*" -Dlog4j2.configurationFile="$here/java/log4j2.properties" "$@" 2>&1; }
fail() { echo "FAILED: $*"; exit 1; }
# has WHAT PATTERN: the output of the last tool has a line that fits.
has() { grep -Eq -- "$2" <<<"$output" || { echo "$output"; fail "$1: no line fits '$2'"; }; }
hasnt() { if grep -Eq -- "$2" <<<"$output"; then echo "$output"; fail "$1: a line fits '$2'"; fi; }
# run TOOL...: it succeeds. refuse TOOL...: it says an error; some tools exit with 0 then.
run() { local name=${1##*.}; echo "> $name ${*:2}"; output=$(tool "$@") || { echo "$output"; fail "$* ended with an error"; }; }
refuse() { local name=${1##*.}; echo "> $name ${*:2} (refused)"; output=$(tool "$@") || true; has "an error" '[Ee]rror|Exception|failed|Could not'; }

topics() { run org.apache.kafka.tools.TopicCommand "${server[@]}" "$@"; }
configs=(kafka.admin.ConfigCommand "${server[@]}")
offsets() { run org.apache.kafka.tools.GetOffsetShell "${server[@]}" --topic "$topic" "$@"; }

echo "== kafka-topics"
topics --create --topic "$topic" --partitions 2 --replication-factor 1 --config retention.ms=3600000
topics --describe --topic "$topic"
has "partitions of the topic" 'PartitionCount: 2'
has "settings of the topic" 'retention.ms=3600000'
topics --alter --topic "$topic" --partitions 3
topics --describe --topic "$topic"
has "partitions after the change" 'PartitionCount: 3'
refuse org.apache.kafka.tools.TopicCommand "${server[@]}" --create --topic "$topic-2" --replication-factor 3
has "too many replicas" 'replication factor'
refuse org.apache.kafka.tools.TopicCommand "${server[@]}" --create --topic "$topic-2" --config remote.storage.enable=true
has "a setting that is not supported" 'not supported'
topics --describe --topic "$topic" --unavailable-partitions
hasnt "no partition is unavailable" "Topic: $topic"

echo "== kafka-configs: topics"
run "${configs[@]}" --entity-type topics --entity-name "$topic" --describe --all
has "own value and its synonyms" 'retention.ms=3600000 .*DYNAMIC_TOPIC_CONFIG:retention.ms=3600000.*DEFAULT_CONFIG:log.retention.hours=168'
has "a default" 'max.message.bytes=1048588 .*DEFAULT_CONFIG:message.max.bytes=1048588'
run "${configs[@]}" --entity-type topics --entity-name "$topic" --alter --add-config max.message.bytes=2000,cleanup.policy=[compact,delete]
run "${configs[@]}" --entity-type topics --entity-name "$topic" --describe
has "a changed number" 'max.message.bytes=2000'
has "a changed list" 'cleanup.policy=compact,delete'
run "${configs[@]}" --entity-type topics --entity-name "$topic" --alter --delete-config max.message.bytes,cleanup.policy
run "${configs[@]}" --entity-type topics --entity-name "$topic" --describe
hasnt "a setting that was taken back" 'max.message.bytes='
refuse "${configs[@]}" --entity-type topics --entity-name "$topic" --alter --add-config retension.ms=1
has "a misspelt name" 'did you mean .*retention.ms'
refuse "${configs[@]}" --entity-type topics --entity-name "$topic" --alter --add-config segment.bytes=5
has "a value that is too small" 'too small'

echo "== kafka-configs: brokers"
run "${configs[@]}" --entity-type brokers --entity-name 1 --describe --all
has "the node's id" '^ *node.id=1 '
has "sources of a broker setting" 'DEFAULT_CONFIG:num.partitions=1'
run "${configs[@]}" --entity-type brokers --entity-default --alter --add-config log.retention.ms=7200000
run "${configs[@]}" --entity-type brokers --entity-name 1 --alter --add-config message.max.bytes=900000
run "${configs[@]}" --entity-type brokers --entity-default --describe
has "a setting of all brokers" 'log.retention.ms=7200000 .*DYNAMIC_DEFAULT_BROKER_CONFIG'
run "${configs[@]}" --entity-type brokers --entity-name 1 --describe
has "a setting of one broker" 'message.max.bytes=900000 .*DYNAMIC_BROKER_CONFIG:message.max.bytes=900000'
run "${configs[@]}" --entity-type topics --entity-name "$topic" --describe --all
has "the topic follows the broker" 'max.message.bytes=900000 .*DYNAMIC_BROKER_CONFIG:message.max.bytes=900000'
run "${configs[@]}" --entity-type brokers --entity-default --alter --delete-config log.retention.ms
run "${configs[@]}" --entity-type brokers --entity-name 1 --alter --delete-config message.max.bytes
run "${configs[@]}" --entity-type brokers --entity-name 1 --describe
hasnt "a setting that was taken back" 'DYNAMIC_BROKER_CONFIG'
refuse "${configs[@]}" --entity-type brokers --entity-name 1 --alter --add-config node.id=2
has "a setting that is fixed at start" 'cannot be changed while the node runs'
refuse "${configs[@]}" --entity-type brokers --entity-name 1 --alter --add-config ssl.keystore.location=/k
has "a setting that is not supported" 'not supported'

echo "== kafka-configs: groups"
run "${configs[@]}" --entity-type groups --entity-name "$group" --describe --all
has "defaults of a group" 'consumer.session.timeout.ms=45000 .*DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000'
run "${configs[@]}" --entity-type groups --entity-name "$group" --alter --add-config consumer.session.timeout.ms=45000
run "${configs[@]}" --entity-type groups --describe
has "a setting of a group" 'consumer.session.timeout.ms=45000 .*DYNAMIC_GROUP_CONFIG'
run "${configs[@]}" --entity-type groups --entity-name "$group" --alter --delete-config consumer.session.timeout.ms

echo "== kafka-get-offsets and kafka-delete-records"
seq 1 30 | tool org.apache.kafka.tools.ConsoleProducer "${server[@]}" --topic "$topic" --sync >/dev/null
offsets
total=$(awk -F: -v topic="$topic" '$1 == topic { sum += $3 } END { print sum }' <<<"$output")
[ "$total" = 30 ] || { echo "$output"; fail "end offsets sum up to $total, not 30"; }
offsets --time earliest
has "earliest offsets" "^$topic:0:0$"
offsets --time max-timestamp
has "the newest record" "^$topic:[0-9]+:[0-9]+$"
partition=$(tool org.apache.kafka.tools.GetOffsetShell "${server[@]}" --topic "$topic" | awk -F: '$3 > 0 { print $2; exit }')
echo "{\"version\":1,\"partitions\":[{\"topic\":\"$topic\",\"partition\":$partition,\"offset\":-1}]}" >"$work/delete.json"
run org.apache.kafka.tools.DeleteRecordsCommand "${server[@]}" --offset-json-file "$work/delete.json"
has "the low watermark" "$topic-$partition.*low_watermark: [1-9]"
offsets --time earliest
hasnt "records that were deleted" "^$topic:$partition:0$"

echo "== kafka-log-dirs"
run org.apache.kafka.tools.LogDirsCommand "${server[@]}" --describe --topic-list "$topic"
has "a partition and its size" "\"partition\":\"$topic-$partition\",\"size\":[0-9]+"

echo "== kafka-features"
run org.apache.kafka.tools.FeatureCommand "${server[@]}" describe
has "the version of the metadata" 'Feature: metadata.version.*FinalizedVersionLevel: 4.3'
run org.apache.kafka.tools.FeatureCommand "${server[@]}" upgrade --feature metadata.version=30
refuse org.apache.kafka.tools.FeatureCommand "${server[@]}" upgrade --feature share.version=1

echo "== kafka-metadata-quorum"
run org.apache.kafka.tools.MetadataQuorumCommand "${server[@]}" describe --status
has "the leader" 'LeaderId: +1'
run org.apache.kafka.tools.MetadataQuorumCommand "${server[@]}" describe --replication
has "the voter" '^1 .*Leader'

echo "== kafka-leader-election"
run org.apache.kafka.tools.LeaderElectionCommand "${server[@]}" --election-type preferred --all-topic-partitions
run org.apache.kafka.tools.LeaderElectionCommand "${server[@]}" --election-type preferred --topic "$topic" --partition 0
has "no election is needed" 'Valid replica already elected|already elected'

echo "== kafka-reassign-partitions"
reassign=(org.apache.kafka.tools.reassign.ReassignPartitionsCommand "${server[@]}")
echo "{\"version\":1,\"topics\":[{\"topic\":\"$topic\"}]}" >"$work/topics.json"
echo "{\"version\":1,\"partitions\":[{\"topic\":\"$topic\",\"partition\":0,\"replicas\":[1]}]}" >"$work/stay.json"
echo "{\"version\":1,\"partitions\":[{\"topic\":\"$topic\",\"partition\":0,\"replicas\":[2]}]}" >"$work/go.json"
run "${reassign[@]}" --generate --topics-to-move-json-file "$work/topics.json" --broker-list 1
has "a plan" '"replicas":\[1\]'
run "${reassign[@]}" --execute --reassignment-json-file "$work/stay.json"
has "a move that is none" 'Successfully started partition reassignment'
run "${reassign[@]}" --verify --reassignment-json-file "$work/stay.json"
has "its end" "Reassignment of partition $topic-0 is completed"
run "${reassign[@]}" --list
has "no move is under way" 'No partition reassignments found'
refuse "${reassign[@]}" --execute --reassignment-json-file "$work/go.json"

echo "== kafka-cluster and kafka-broker-api-versions"
run org.apache.kafka.tools.ClusterTool cluster-id "${server[@]}"
has "the id of the cluster" 'Cluster ID: [A-Za-z0-9_-]{22}$'
run org.apache.kafka.tools.ClusterTool list-endpoints "${server[@]}"
has "the broker" '^1 .*unfenced'
refuse org.apache.kafka.tools.ClusterTool unregister "${server[@]}" --id 5
has "a broker that is not there" 'no broker with id 5|not.*registered'
run org.apache.kafka.tools.BrokerApiVersionsCommand "${server[@]}"
has "an API" 'IncrementalAlterConfigs\(44\): 0 to 1 \[usable: 1\]'
hasnt "telemetry is not advertised" 'PushTelemetry\(72\): [0-9]'

topics --delete --topic "$topic"
echo "all tools are fine"
