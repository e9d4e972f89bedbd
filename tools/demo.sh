#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh QWIN MODEL : fetches the model, lets it answer one question, and says what to try next.
set -euo pipefail
qwin=$1 model=$2
prompt='Write a Python function that tells whether a string is a palindrome, ignoring case and punctuation.'

"$qwin" pull "$model" >/dev/null
printf '\n> %s\n\n' "$prompt"
"$qwin" run "$model" --temperature 0 --max-tokens 300 "$prompt" </dev/null
cat <<END

What to try next:
  $qwin run $model                 a chat in this terminal
  $qwin pull qwen2.5-coder-1.5b    a larger model
  $qwin doctor                     what this machine has and which kernels run
  $qwin help                       everything else
END
