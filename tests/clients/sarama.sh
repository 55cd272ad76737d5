# sarama: producer, group consumer, transactions, admin.
set -euo pipefail
command -v go >/dev/null || { echo "skipped: go is not installed"; exit 77; }
go_version=$(go env GOVERSION | sed 's/go1\.\([0-9]*\).*/\1/')
[ "$go_version" -ge 26 ] || { echo "skipped: this needs Go 1.26, not 1.$go_version"; exit 77; }
source "$(dirname "$0")/fetch.sh"
cd "$(dirname "$0")/go/sarama"
fetched sarama go mod download
go test -mod=readonly -count=1 -timeout 5m -v .
