# kafka-python: admin, producer, consumer, two members of a group, transactions.
set -euo pipefail
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
version=3.0.12
source "$(dirname "$0")/fetch.sh"
venv="$CLIENTS_CACHE/python"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" || { echo "skipped: python3 cannot make a venv"; exit 77; }
"$venv/bin/python" -c "import kafka; assert kafka.__version__ == '$version'" 2>/dev/null \
  || fetched kafka-python "$venv/bin/pip" install --quiet --disable-pip-version-check "kafka-python==$version"
exec "$venv/bin/python" "$(dirname "$0")/python/kafka_python_test.py"
