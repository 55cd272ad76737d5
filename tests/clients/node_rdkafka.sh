# node-rdkafka (librdkafka from Node): producer, consumer with both group protocols, transactions, admin.
set -euo pipefail
for tool in npm make g++ python3; do
  command -v $tool >/dev/null || { echo "skipped: $tool is not installed, node-rdkafka is built from source"; exit 77; }
done
node_version=$(node --version | sed 's/v\([0-9]*\).*/\1/')
[ "$node_version" -ge 20 ] || { echo "skipped: this needs Node 20, not $node_version"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
folder="$CLIENTS_CACHE/node-rdkafka"
mkdir -p "$folder"
cp "$here"/node/node_rdkafka/* "$folder/"
addon=node_modules/node-rdkafka/build/Release/node-librdkafka.node
if [ ! -e "$folder/$addon" ]; then
  fetched node-rdkafka npm install --no-audit --no-fund --ignore-scripts --prefix "$folder"
  # `allowScripts` in package.json lets new npm build it; old npm always does. Its makefiles forget that librdkafka's
  # config.h must be made first, so that a parallel build may fail once: the next try finds the file.
  fetched "node-rdkafka's addon" env MAKEFLAGS=-j$(nproc) npm rebuild --prefix "$folder"
fi
[ -e "$folder/$addon" ] || { echo "npm did not build $addon"; exit 1; }
cd "$folder" && timeout 300 node --test --test-reporter=spec --test-force-exit node_rdkafka.test.js
