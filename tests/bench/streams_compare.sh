#!/usr/bin/env bash
# Runs the jobs of `moldau bench streams` and the same jobs of Kafka Streams 4.3 in turn, on one broker and one input,
# and prints medians and ratios. Needs Java 17, Maven (or the jars in its cache) and Python 3.
#
#   BOOTSTRAP=localhost:9092 tests/bench/streams_compare.sh [CASE...]
#
# A case is JOB:memory or JOB:disk, with :at-least-once or :exactly-once; jobs are filter-map, windowed-count, restore
# and keys. Without one, all cases of the first three run. Settings from the environment: MOLDAU_BIN (target/release/moldau),
# ROUNDS (3), RECORDS (5,000,000 events), ENTRIES (10,000,000 of the changelog), KEYS (20,000,000), PRIORITY (0; -20
# gives both jobs priority over the rest of the machine), JAVA_OPTIONS (-Xmx2G), LIMIT (seconds that one run may take, 900),
# WORK (a directory for state and results). All cases with three rounds take about an hour on two cores. A run that fails
# is named and left out of the medians; the script then ends with 1.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/clients
: "${BOOTSTRAP:?say where the broker is: BOOTSTRAP=localhost:9092}"
moldau=${MOLDAU_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/moldau}
[ -x "$moldau" ] || { echo "$moldau is not built; run: cargo build --release -p moldau"; exit 1; }
source "$here/java/streams/compile.sh"
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
trap 'rm -rf "$classes" "$work/state"' EXIT
results=$work/results.jsonl
: >"$results"

cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(
  filter-map:memory:{at-least-once,exactly-once}
  windowed-count:{memory,disk}:{at-least-once,exactly-once}
  restore:{memory,disk}:at-least-once
)

in_front() { setsid -w bash -c 'echo "$0" >/proc/self/autogroup 2>/dev/null; exec "$@"' "${PRIORITY:-0}" "$@"; }

failures=0
run() { # SYSTEM COMMAND...: keeps the JSON object that the command prints
  local system=$1
  shift
  if in_front timeout "${LIMIT:-900}" "$@" >"$work/figures" && [ -s "$work/figures" ]; then
    CASE=$case SYSTEM=$system python3 -c 'import json, os, sys
figures = json.load(sys.stdin)
print(json.dumps({"case": os.environ["CASE"], "system": os.environ["SYSTEM"], **figures}))' <"$work/figures" | tee -a "$results"
  else
    failures=$((failures + 1))
    echo "failed: $case of $system, or it took longer than ${LIMIT:-900} s" >&2
  fi
}

for case in "${cases[@]}"; do
  IFS=: read -r job store guarantee <<<"$case"
  case $job in
    restore) records=${ENTRIES:-10000000} ;;
    keys) records=${KEYS:-20000000} ;;
    *) records=${RECORDS:-5000000} ;;
  esac
  options=(-n "$records" --bootstrap "$BOOTSTRAP")
  [ "$guarantee" = exactly-once ] && options+=(--exactly-once)
  "$moldau" bench streams "$job" "${options[@]}" --load-only
  [ "$store" = disk ] && options+=(--state-dir "$work/state")
  for _ in $(seq "${ROUNDS:-3}"); do
    rm -rf "$work/state"
    run moldau "$moldau" --json bench streams "$job" "${options[@]}"
    rm -rf "$work/state"
    mkdir -p "$work/state"
    # shellcheck disable=SC2086  # several options
    run kafka-streams "$java" ${JAVA_OPTIONS:--Xmx2G} -Djava.io.tmpdir="$work/state" -cp "$classes:$lib/*" \
      -Dlog4j2.configurationFile="$here/java/streams/log4j2.properties" \
      Bench "$BOOTSTRAP" "$job" "$records" "$store" "$guarantee"
  done
done

python3 - "$results" <<'END'
import collections, json, statistics, sys
runs = collections.defaultdict(lambda: collections.defaultdict(list))
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs[run["case"]][run["system"]].append(run)
figures = [
    ("records/s", "records_per_second", 1),
    ("CPU-s per million records", "cpu_seconds_per_million", 1),
    ("the same, second half", "warm_cpu_seconds_per_million", 1),
    ("peak memory, MiB", "peak_memory_bytes", 1 / 2**20),
]
print("| case | figure | Moldau | Kafka Streams | ratio |")
print("|---|---|---|---|---|")
for case, systems in runs.items():
    if len(systems) < 2:
        print(f"{case}: only {' and '.join(systems)} finished", file=sys.stderr)
        continue
    for name, field, scale in figures:
        ours, theirs = (statistics.median(run[field] for run in systems[s]) * scale for s in ("moldau", "kafka-streams"))
        print(f"| {case.replace(':', ', ')} | {name} | {ours:,.2f} | {theirs:,.2f} | {ours / theirs:.3f} |")
        case = ""
END
[ "$failures" = 0 ] || { echo "$failures runs failed" >&2; exit 1; }
