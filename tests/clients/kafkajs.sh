# KafkaJS: producer, group consumer, transactions, admin.
set -euo pipefail
command -v npm >/dev/null || { echo "skipped: npm is not installed"; exit 77; }
node_version=$(node --version | sed 's/v\([0-9]*\).*/\1/')
[ "$node_version" -ge 20 ] || { echo "skipped: this needs Node 20, not $node_version"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
folder="$CLIENTS_CACHE/kafkajs"
mkdir -p "$folder"
cp "$here"/node/kafkajs/* "$folder/"
[ -e "$folder/node_modules/kafkajs" ] || fetched kafkajs npm install --no-audit --no-fund --prefix "$folder"
# Each file by name: old runners take a folder for a module.
cd "$folder" && timeout 300 node --test --test-reporter=spec --test-force-exit kafkajs.test.js
