#!/usr/bin/env bash
# From a fresh clone to a comparison: installs what is missing, builds, makes a text corpus, trains Union-of-Experts and the
# MoE it is matched against, and writes report.html.
#   scripts/quickstart.sh               as many steps as fit in about eight minutes of training on this machine (at most 600)
#   scripts/quickstart.sh --minutes M   … in M minutes
#   scripts/quickstart.sh --steps N     exactly N steps each
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=8
steps=""
while (($#)); do
  case "$1" in
    --minutes) minutes="${2:?--minutes needs a number}"; shift ;;
    --steps) steps="${2:?--steps needs a number}"; shift ;;
    *) echo "quickstart: unknown argument '$1'; see the top of scripts/quickstart.sh" >&2; exit 1 ;;
  esac
  shift
done

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target artel
scripts/corpus.sh
artel=build/release/artel

if [[ -z "$steps" ]]; then
  # Both models train on the same tokens, so the slower one sets the number of steps.
  steps=$(for config in uoe moe; do "$artel" bench -c "configs/quickstart/$config.yaml" --steps 3 --json; done |
    python3 -c '
import json, sys
text = sys.stdin.read()
decoder, at, seconds_per_step = json.JSONDecoder(), 0, 0.0
while text[at:].strip():
    at += len(text[at:]) - len(text[at:].lstrip())
    result, at = decoder.raw_decode(text, at)
    seconds_per_step += 16 * 256 / result["tokens_per_second"]
validation = 11 * 16 / 3  # eleven validations of sixteen batches, forward only, in steps
print(max(60, min(600, int(float(sys.argv[1]) * 60 / seconds_per_step - validation) // 20 * 20)))' "$minutes")
  echo "quickstart: $steps steps each (the configs say 600) fit in about $minutes minutes on this machine"
fi

settings=(--set "train.steps=$steps" --set "validation.every=$((steps / 10))")
for config in uoe moe; do
  "$artel" train -c "configs/quickstart/$config.yaml" "${settings[@]}"
done
"$artel" compare runs/uoe-tiny runs/moe-tiny -o report.html
echo "wrote report.html: open it in a browser"
