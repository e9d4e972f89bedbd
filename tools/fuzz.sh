#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh BUILD_DIRECTORY SECONDS [NAME] : runs each fuzz target (or NAME's) for so long, from its kept corpus.
# New inputs go to BUILD_DIRECTORY/corpus; an input that crashes a target is left in BUILD_DIRECTORY/crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2 only=${3:-}
mapfile -t targets < <(find "$build" -type f -executable -name "${only:-*}_fuzz" | sort)
if [ ${#targets[@]} -eq 0 ]; then
  echo "error: no fuzz target '${only:-*}_fuzz' in $build" >&2
  exit 2
fi
failed=()
for target in "${targets[@]}"; do
  name=$(basename "$target" _fuzz)
  mkdir -p "$build/corpus/$name" "$build/crashes"
  echo "== $name: $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/crashes/$name-" "$build/corpus/$name" "tests/fuzz/corpus/$name" || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "error: failed: ${failed[*]}; the inputs are in $build/crashes" >&2
  exit 1
fi
