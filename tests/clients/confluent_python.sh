# confluent-kafka (librdkafka from Python): producer, consumer with both group protocols, transactions, admin.
set -euo pipefail
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
version=2.16.1
source "$(dirname "$0")/fetch.sh"
venv="$CLIENTS_CACHE/confluent-python"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" || { echo "skipped: python3 cannot make a venv"; exit 77; }
"$venv/bin/python" -c "import confluent_kafka; assert confluent_kafka.__version__ == '$version'" 2>/dev/null \
  || fetched confluent-kafka "$venv/bin/pip" install --quiet --disable-pip-version-check "confluent-kafka==$version"
exec "$venv/bin/python" "$(dirname "$0")/python/confluent_kafka_test.py"
