# Sourced by scripts that run Kafka Streams: its jars are then in $lib, the compiled programs of this folder in $classes.
command -v javac >/dev/null || { echo "skipped: javac is not installed"; exit 77; }
java_version=$(javac -version 2>&1 | sed -n 's/javac \([0-9]*\).*/\1/p')
[ "${java_version:-0}" -ge 17 ] || { echo "skipped: this needs Java 17, not ${java_version:-unknown}"; exit 77; }
java=$(command -v java)
source "$(dirname "${BASH_SOURCE[0]}")/../../fetch.sh"
kafka_jars kafka-streams-4.3.0 "$here/java/streams/pom.xml"
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac -nowarn -cp "$lib/*" -d "$classes" "$here"/java/streams/*.java
