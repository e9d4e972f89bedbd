#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Records docs/media/chat.svg: the real command in a terminal of its own (tmux), a question typed, the picture drawn
# once its timings are there. On a quiet machine: the timings in the picture are this run's.
# tools/record_chat.sh [QWIN [MODEL]]
set -euo pipefail
cd "$(dirname "$0")/.."
qwin=$(realpath "${1:-build/release/qwin}")
model=${2:-qwen2.5-coder-0.5b}
question=${QUESTION:-Write a Python function that tells whether a string is a palindrome. Only code.}
home=$(mktemp -d)
terminal=(tmux -u -L "qwin-record-$$")
trap '"${terminal[@]}" kill-server 2>/dev/null || true; rm -rf "$home"' EXIT
screen() { "${terminal[@]}" capture-pane -p "$@"; }
wait_for() {
  for _ in $(seq 240); do
    if screen | grep -q "$1"; then return; fi
    sleep 0.5
  done
  echo "the recording shows no '$1':" >&2
  screen >&2
  exit 1
}

# A folder with the command first in PATH, so that what is typed is what anyone would type.
ln -s "$qwin" "$home/qwin"
models=${QWIN_HOME:-$HOME/.cache/qwin}/models
mkdir "$home/store"
[ -e "$models" ] && ln -s "$(realpath "$models")" "$home/store/models"
[ -e "$model" ] && model=$(realpath "$model") && ln -s "$model" "$home/$(basename "$model")" && model=$(basename "$model")
printf '%s\n' 'PS1="$ "' "cd $home" > "$home/shell"
"${terminal[@]}" new-session -d -x 98 -y 60 \
  env PATH="$home:$PATH" QWIN_HOME="$home/store" HISTFILE= bash --noprofile --rcfile "$home/shell"
wait_for '^\$'
"${terminal[@]}" send-keys "qwin run $model" Enter
wait_for '^>>>'
"${terminal[@]}" send-keys "$question" Enter
wait_for 'first after'
sleep 0.5
mkdir -p docs/media
screen -e | sed -e 's/[[:space:]]*$//' | tools/terminal_to_svg.py "qwin run $(basename "$model" .gguf)" > docs/media/chat.svg
