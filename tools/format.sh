#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# format.sh [--check] [FILE...] : clang-format over the C++ sources (or these files); --check only tells which would change.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=-i
if [ "${1:-}" = --check ]; then
  mode="--dry-run --Werror"
  shift
fi
if [ $# -eq 0 ]; then
  mapfile -d '' -t files < <(find include src tests python -name '*.h' -print0 -o -name '*.cc' -print0)
  set -- "${files[@]}"
fi
# shellcheck disable=SC2086  # two words on purpose
exec clang-format-19 $mode "$@"
