#!/bin/sh
# Regular maintenance of a registry: makes a plan by the policy of a configuration file, deletes by the registry's API
# after a backup, and runs the registry's collector. docs/maintenance.md explains it.
#   maintenance.sh         says what it would delete and free, and changes nothing
#   maintenance.sh --yes   does it
# Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some of the plan was left out.
set -u; umask 077
EXPORTER=${EXPORTER:-registry-storage-exporter} # how to run it; may be several words
CONFIG=${CONFIG:-/etc/registry-storage-exporter/maintenance.yml} # the policy, the registry, the login
GC=${GC:-collect-garbage.sh}                    # the script of this platform
DIR=${DIR:-/var/lib/registry-maintenance}       # a directory for each run: its plan, journal and backup
RESULT=${RESULT:-$DIR/result.prom}              # metrics, written only after a run that succeeded
APPLY=${APPLY---backup-blobs}                   # more options of `apply`; may be several words
KEEP=${KEEP:-4}                                 # how many runs that deleted something are kept

fail() { code=$1; shift; echo "maintenance: $*" >&2; exit "$code"; }
exporter() { $EXPORTER "$@" --config.file "$CONFIG"; }

case $#:${1:-} in 0: | 1:--yes) ;; *) fail 2 "usage: $0 [--yes]" ;; esac
(umask 022; mkdir -p "$DIR") || fail 1 "cannot create $DIR"
command exec 8> "$DIR/lock" || fail 1 "cannot write to $DIR"
flock -n 8 || fail 1 "$DIR/lock is locked: another run has not ended"

next=$DIR/next.plan run=$DIR/$(date -u +%Y%m%dT%H%M%SZ) left=0
# if a killed run has left the registry closed, it has to be open for deletions
[ $# = 0 ] || "$GC" --open || fail 1 "the registry cannot be opened"
exporter plan --policy --output "$next" || fail 1 "cannot make a plan; nothing was changed"
if [ $# = 0 ]; then
  exporter apply "$next" || fail 1 "apply would fail"
  "$GC" || fail 1 "the collector would not run"
  echo "nothing was changed; $next has what would be deleted; to do it: $0 --yes"
  exit 0
fi

if grep -qv '^#' "$next"; then
  { mkdir "$run" && mv "$next" "$run/plan"; } || fail 1 "cannot create $run"
  # shellcheck disable=SC2086 # several words
  exporter apply "$run/plan" --yes --backup "$run/backup" $APPLY || left=$?
  case $left in
    0) ;;
    3) echo "maintenance: some of the plan was left out, as said above; the next run looks at it again" ;;
    *) fail 1 "apply failed; nothing was collected; what was deleted is in $run/plan.journal" ;;
  esac
else
  echo "there is nothing to delete"
fi
"$GC" --yes --result "$RESULT" || fail 1 "not collected; the next run frees what was deleted"

set -- "$DIR"/2*Z
while [ $# -gt "$KEEP" ]; do rm -r "$1"; shift; done
[ -d "$run" ] || exit 0
echo "to take it back, as long as $run is kept ($KEEP runs): $EXPORTER restore $run/backup --config.file $CONFIG"
case $APPLY in
  *--backup-blobs*) ;;
  *) echo "that backup has no blobs (APPLY=--backup-blobs saves them), so only what was still stored can be put back" ;;
esac
exit "$left"
