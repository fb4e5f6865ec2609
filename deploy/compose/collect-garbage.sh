#!/bin/sh
# Runs the garbage collector of a registry in Docker Compose, which is closed for pushes meanwhile. See README.md.
#   collect-garbage.sh                        says what it would free, and changes nothing
#   collect-garbage.sh --yes [--result FILE]  frees it, and writes metrics for node_exporter to FILE
#   collect-garbage.sh --open                 opens a registry that a killed run has left closed
# Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused, because images could be lost.
set -u; umask 022
GC_PROJECT=${GC_PROJECT:-$(dirname "$0")} GC_SERVICE=${GC_SERVICE:-registry} GC_EXPORTER=${GC_EXPORTER:-exporter}
GC_LOCK=${GC_LOCK:-/run/registry-collect-garbage.lock} GC_LOG=${GC_LOG:-/run/registry-collect-garbage.log}
READ_ONLY=REGISTRY_STORAGE_MAINTENANCE_READONLY

compose() { (cd "$GC_PROJECT" && docker compose --progress quiet "$@"); }
instance() { compose ps --quiet "$GC_SERVICE"; }
close() { REGISTRY_READ_ONLY=true compose up --detach --no-deps --wait "$GC_SERVICE" > "$GC_LOG" 2>&1; }
restart_open() { compose up --detach --no-deps --force-recreate --wait "$GC_SERVICE" > /dev/null; }
read_only() { docker inspect --format '{{.Config.Env}}' "$(instance)" | grep -q "$READ_ONLY={\"enabled\":$1}"; }
is_open() { read_only false; }
is_closed() { [ "$(instance)" = "$registry" ] && read_only true; }
config() { docker exec "$registry" ls /etc/docker/registry/config.yml /etc/distribution/config.yml 2> /dev/null; }
collector() { docker exec "$registry" registry garbage-collect "$(config)" > /dev/null 2> "$GC_LOG"; }
metrics() { compose exec -T "$GC_EXPORTER" registry-storage-exporter collect --layer-links; }

fail() { code=$1; shift; echo "collect-garbage: $*" >&2; exit "$code"; }
value() { printf '%s\n' "$page" | awk -v m="$1" 'index($1, m) == 1 { s += $2; n = 1 } END { if (n) printf "%.0f", s }'; }
require() { [ "$(value "$1")" = "$2" ] || fail "$refused" "$1 is not $2; see docs/runbooks/DockerRegistry$3.md"; }
check() { # scans the store as it is now
  page=$(metrics) || fail "$refused" "the exporter cannot scan; see docs/runbooks/DockerRegistryScanFailing.md"
  require docker_registry_scan_complete 1 ScanFailing
  require docker_registry_gc_blockers 0 GarbageCollectionBlocked
  require 'docker_registry_gc_endangered_tags{mode="default"}' 0 GarbageCollectionUnsafe
  estimate=$(value 'docker_registry_gc_reclaimable_bytes{mode="default"}') bytes=$(value docker_registry_blob_bytes)
}
at_end() { # whatever has happened; the restart also makes the registry forget the blobs that are gone
  code=$?; trap - EXIT; trap '' HUP INT PIPE QUIT TERM
  { [ -z "$collected" ] && is_open; } || restart_open ||
    { echo "collect-garbage: THE REGISTRY IS STILL CLOSED FOR PUSHES: run $0 --open" >&2; code=1; }
  exit "$code"
}

mode=${1:-} result=${3:-} collected='' refused=3 freed=0
case $mode:${2:-}:$# in
  ::0 | --yes::1 | --open::1 | --yes:--result:3) ;;
  *) fail 2 "usage: $0 [--yes [--result FILE] | --open]" ;;
esac
if [ -n "$mode" ]; then
  exec 9> "$GC_LOCK"; flock -n 9 || fail 1 "$GC_LOCK is locked: another run, or what it started, has not ended"
  trap at_end EXIT; trap 'exit 1' HUP INT PIPE QUIT TERM
fi
[ "$mode" != --open ] || exit 0
check
echo "the collector would free $estimate of $bytes bytes"
[ "$mode" = --yes ] || exit 0
if [ "$estimate" != 0 ]; then
  close || fail 1 "cannot close the registry for pushes; see $GC_LOG"
  registry=$(instance); check
  is_closed || fail 1 "the registry is not closed for pushes; nothing was collected"
  collected=1 refused=1 before=$bytes expected=$estimate
  collector || fail 1 "the collector failed; see $GC_LOG, and run this again"
  check; freed=$((before - bytes))
  is_closed || fail 1 "something else restarted the registry meanwhile, so a push may be incomplete: push it again"
  restart_open || fail 1 "cannot open the registry"; collected=''
  echo "estimated: $expected bytes; freed: $freed bytes"
  [ "$freed" = "$expected" ] || fail 1 "that differs: see which tags cannot be pulled (report), and $GC_LOG"
fi
[ -n "$result" ] || exit 0
{ printf 'docker_registry_maintenance_%s %s\n' freed_bytes "$freed" last_success_timestamp_seconds "$(date +%s)" \
  > "$result.new" && mv "$result.new" "$result"; } || fail 1 "cannot write $result"
