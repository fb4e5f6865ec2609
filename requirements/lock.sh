#!/usr/bin/env bash
# Writes image.txt, build.txt, test.txt and tools.txt again from pyproject.toml: every package with one version
# and the hashes of its files, for Linux and each supported Python. Arguments go to the resolver:
#   requirements/lock.sh                          keeps the locked versions that still fit
#   requirements/lock.sh --upgrade                takes the newest of everything
#   requirements/lock.sh --upgrade-package httpx  takes the newest of one package
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly uv_version=0.13.9
readonly python=${PYTHON:-python3}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"

# uv does not read pip's configuration, so pass on the mirror of a machine that cannot reach PyPI.
if [[ -n ${PIP_INDEX_URL:-} ]]; then
  export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}
fi

# Hatchling asks for editables when it installs the checkout itself (`pip install -e .`).
"$python" - >"$scratch/build.in" <<'PYTHON'
import pathlib
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text(encoding="utf-8"))
editables = [
    line for line in project["dependency-groups"]["test"] if line.startswith("editables")
]
print(*project["build-system"]["requires"], *editables, sep="\n")
PYTHON

# The tools have their own environment, and need none of the other packages.
"$python" - >"$scratch/tools.in" <<'PYTHON'
import pathlib
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text(encoding="utf-8"))
print(*project["dependency-groups"]["tools"], sep="\n")
PYTHON

# Without Colorama: only Windows needs it, and the exporter does not run on Windows.
lock() {
  local output=$1
  shift
  UV_CUSTOM_COMPILE_COMMAND="make lock" "$scratch/venv/bin/uv" pip compile \
    --quiet --no-config --no-annotate --no-emit-package colorama \
    --universal --python-version 3.11 --generate-hashes \
    --prerelease disallow --only-binary :all: \
    --output-file "requirements/$output" "$@" >/dev/null
  echo "requirements/$output: $(grep -c '==' "requirements/$output") packages"
}

# The shipped packages are resolved first and constrain the others, so that the tests run with them.
lock image.txt pyproject.toml "$@"
lock test.txt pyproject.toml --group test --constraint requirements/image.txt "$@"
lock build.txt "$scratch/build.in" --constraint requirements/test.txt "$@"
lock tools.txt "$scratch/tools.in" "$@"
