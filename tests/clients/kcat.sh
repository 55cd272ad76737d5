# kcat (librdkafka): metadata, produce, consume, groups, compression.
set -euo pipefail
command -v kcat >/dev/null || { echo "skipped: kcat is not installed"; exit 77; }
topic="kcat-$RANDOM$RANDOM"

kcat -b "$BOOTSTRAP" -L -J | grep '"brokers"' >/dev/null

seq 1 1000 | kcat -b "$BOOTSTRAP" -P -t "$topic" -X topic.request.required.acks=-1
got=$(kcat -b "$BOOTSTRAP" -C -t "$topic" -o beginning -e -q | md5sum)
want=$(seq 1 1000 | md5sum)
[ "$got" = "$want" ] || { echo "records differ from what was produced"; exit 1; }

for codec in gzip snappy lz4 zstd; do
  seq 1 500 | kcat -b "$BOOTSTRAP" -P -t "$topic-$codec" -z "$codec" -X enable.idempotence=true
  count=$(kcat -b "$BOOTSTRAP" -C -t "$topic-$codec" -o beginning -e -q | wc -l)
  [ "$count" -eq 500 ] || { echo "$codec: $count of 500 records"; exit 1; }
done

# Keys and headers come back as they were sent.
printf 'k1:v1\n' | kcat -b "$BOOTSTRAP" -P -t "$topic-keyed" -K: -H trace=abc
kcat -b "$BOOTSTRAP" -C -t "$topic-keyed" -o beginning -e -q -f '%k=%s %h\n' | grep -x 'k1=v1 trace=abc' >/dev/null

# An offset in the middle, and the last ones.
[ "$(kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o 500 -c 1 -e -q)" = 501 ]
[ "$(kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o -1 -e -q)" = 1000 ]

# A group reads all, and reads nothing again when it comes back.
group="$topic-group"
first=$(timeout 60 kcat -b "$BOOTSTRAP" -G "$group" -c 1000 -q -X auto.offset.reset=earliest "$topic" | wc -l)
[ "$first" -eq 1000 ] || { echo "group read $first of 1000 records"; exit 1; }
echo again | kcat -b "$BOOTSTRAP" -P -t "$topic"
second=$(timeout 60 kcat -b "$BOOTSTRAP" -G "$group" -c 1 -q -X auto.offset.reset=earliest "$topic")
[ "$second" = again ] || { echo "group went on at '$second'"; exit 1; }
