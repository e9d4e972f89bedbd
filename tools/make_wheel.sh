#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make_wheel.sh PYTHON FOLDER: builds the wheel, adds the libraries it needs beside the C library, and leaves one manylinux
# wheel in FOLDER. PYTHON's environment holds tools/requirements-wheel.txt.
set -euo pipefail
python=$(realpath -s "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/.."

plain=$(mktemp -d)
trap 'rm -rf "$plain"' EXIT
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$plain" . </dev/null
PATH=$(dirname "$python"):$PATH "$python" -m auditwheel repair --wheel-dir "$folder" "$plain"/qwin-*.whl 2>"$plain/log" ||
  { cat "$plain/log" >&2; exit 1; }
ls -lh "$folder"/qwin-*.whl
