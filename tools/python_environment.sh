#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# python_environment.sh REQUIREMENTS_FILE... : makes .venv in the checkout hold these packages.
# A stamp named after the hash of the files and of the Python says that it already does.
set -euo pipefail
cd "$(dirname "$0")/.."
"tools/install_dependencies.sh" python

stamp=.venv/.holds-$(cat "$@" <(python3 -V) | sha256sum | cut -c1-16)
if [ -e "$stamp" ]; then exit 0; fi

# A moved checkout or another Python leaves an environment that cannot run: make it anew.
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then python3 -m venv --clear .venv; fi
arguments=()
for file in "$@"; do arguments+=(-r "$file"); done
echo "Installing into .venv: $*" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 5 "${arguments[@]}" </dev/null
touch "$stamp"
