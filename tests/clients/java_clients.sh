# The Java producer, consumer (both group protocols) and admin of Apache Kafka 4.3, with transactions.
set -euo pipefail
command -v javac >/dev/null || { echo "skipped: javac is not installed"; exit 77; }
java_version=$(javac -version 2>&1 | sed -n 's/javac \([0-9]*\).*/\1/p')
[ "${java_version:-0}" -ge 17 ] || { echo "skipped: this needs Java 17, not ${java_version:-unknown}"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
kafka_jars kafka-tools-4.3.0 "$here/java/pom.xml"
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac -cp "$lib/*" -d "$classes" "$here/java/Clients.java"
timeout 600 java -Xmx256M -XX:TieredStopAtLevel=1 -cp "$classes:$lib/*" -Dlog4j2.configurationFile="$here/java/log4j2.properties" Clients
