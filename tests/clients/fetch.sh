# Sourced by the scripts beside it: what they install, with a limit, several tries and a clear line when it cannot be had.

# fetched WHAT COMMAND...: runs the command up to three times; if it never succeeds, this client is skipped.
# What a registry does not give today says nothing about Moldau.
fetched() {
  local what=$1 output try
  shift
  output=$(mktemp)
  for try in 1 2 3; do
    if timeout 240 "$@" >"$output" 2>&1; then rm -f "$output"; return 0; fi
    [ "$try" = 3 ] || sleep $((try * 5)) # registries that are overloaded ask for some patience
  done
  cat "$output"
  echo "skipped: $what could not be installed in three tries: $(grep -i -m 1 error "$output" || tail -n 1 "$output")"
  rm -f "$output"
  exit 77
}

# kafka_jars FOLDER POM: the dependencies of that POM, in $lib.
kafka_jars() {
  command -v mvn >/dev/null || { echo "skipped: mvn is not installed"; exit 77; }
  lib="${CLIENTS_CACHE:-$HOME/.cache/moldau-clients}/$1"
  [ ! -e "$lib/.complete" ] || return 0
  fetched "the jars of $1" mvn -q -B -f "$2" dependency:copy-dependencies -DoutputDirectory="$lib"
  touch "$lib/.complete"
}
