# The sink `s3` against moto, an S3 server in Python.
set -euo pipefail
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
command -v curl >/dev/null || { echo "skipped: curl is not installed"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch.sh"
venv="${CLIENTS_CACHE:-$HOME/.cache/moldau-clients}/moto"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" || { echo "skipped: python3 cannot make a venv"; exit 77; }
"$venv/bin/python" -c 'import moto.server' 2>/dev/null \
  || fetched moto "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[s3,server]'
work=$(mktemp -d)
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT

# A port that is free now; nothing else on a test machine takes it in the next second.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/moto.log" 2>&1 &
server=$!
for _ in $(seq 1 600); do
  curl --silent --fail --output /dev/null -X PUT "http://127.0.0.1:$port/moldau-test" && break
  kill -0 "$server" 2>/dev/null || { cat "$work/moto.log"; exit 1; }
  sleep 0.1
done
cd "$here/../.."
MOLDAU_TEST_S3=http://127.0.0.1:$port cargo test --workspace --locked --test s3
