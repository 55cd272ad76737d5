# franz-go's own test suite (its package kgo) with one broker; share groups and SASL aside.
#
# Takes minutes, so it runs only when asked for: MOLDAU_CLIENT_SUITES=1. Two settings shorten or watch it:
# KGO_TEST_RECORDS (500000, as upstream) and KGO_LOG_LEVEL (none).
set -euo pipefail
[ "${MOLDAU_CLIENT_SUITES:-}" = 1 ] || { echo "skipped: franz-go's own suite takes minutes; set MOLDAU_CLIENT_SUITES=1"; exit 77; }
command -v go >/dev/null || { echo "skipped: go is not installed"; exit 77; }
go_version=$(go env GOVERSION | sed 's/go1\.\([0-9]*\).*/\1/')
[ "$go_version" -ge 26 ] || { echo "skipped: this needs Go 1.26, not 1.$go_version"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
# The version that go/franz is pinned to. The module cache is read-only, and the suite wants to be built as its own module.
source "$here/fetch.sh"
fetched franz-go go -C "$here/go/franz" mod download
source=$(cd "$here/go/franz" && go list -mod=readonly -m -f '{{.Dir}}' github.com/twmb/franz-go)
version=$(cd "$here/go/franz" && go list -mod=readonly -m -f '{{.Version}}' github.com/twmb/franz-go)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source/." "$work/"
chmod -R u+w "$work"
cd "$work"
status=0
KGO_SEEDS=$BOOTSTRAP KGO_TEST_RF=1 KGO_LOG_LEVEL=${KGO_LOG_LEVEL:-none} \
  go test -count=1 -timeout 14m -v -skip 'Share|SCRAM' ./pkg/kgo/... >"$work/out" 2>&1 || status=$?
[ "$status" -eq 0 ] || grep -v '^=== ' "$work/out" | tail -n 300
grep -E '^--- (FAIL|SKIP)' "$work/out" || true
echo "franz-go $version: $(grep -c '^--- PASS: Test' "$work/out") tests passed, $(grep -c '^--- FAIL' "$work/out" || true) failed, $(grep -c '^--- SKIP' "$work/out" || true) skipped"
exit "$status"
