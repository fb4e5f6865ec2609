#!/usr/bin/env bash
# Builds version 3 of the registry, which no Debian package has, if Go is there: once, into the user's cache
# directory, where the tests look for it. Without it, the tests that need it are skipped and name it.
set -euo pipefail

readonly version=v3.0.0
readonly directory="${XDG_CACHE_HOME:-$HOME/.cache}/registry-storage-exporter-tests/registry-$version"

[[ -n ${REGISTRY_V3:-} || -x $directory/registry ]] && exit 0
command -v go > /dev/null || exit 0

echo "Building version 3 of the registry in $directory ..."
mkdir -p "$directory"
scratch=$(mktemp -d "$directory/build-XXXXXX")
log=$scratch/log
trap 'rm -rf "$scratch"' EXIT
if GOBIN=$scratch go install "github.com/distribution/distribution/v3/cmd/registry@$version" > "$log" 2>&1; then
  mv "$scratch/registry" "$directory/registry"  # complete, or not there
else
  tail -n 20 "$log" >&2
  echo "Could not build version 3 of the registry; the tests that need it are skipped." >&2
fi
