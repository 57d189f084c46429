#!/usr/bin/env bash
# What a GPU is wanted for, in pieces that each end within MINUTES and go on where the last one stopped:
#
#   benchmarks/gpu.sh check     is it correct? against the CPU
#   benchmarks/gpu.sh speed     how fast is it?
#   benchmarks/gpu.sh search    what the paper leaves open, by short runs (results/search.jsonl, recipe.json)
#   benchmarks/gpu.sh rows      rows of the paper's tables, in order of worth (results/paper.jsonl); repeat until done
#   benchmarks/gpu.sh table     methods beside each other in short trainings (results/fast-table.jsonl); repeat likewise
#   benchmarks/gpu.sh keep N    for a machine that will be gone: the Nth 60 MB of all that is unfinished, into KEEP
#   benchmarks/gpu.sh restore   on the next machine: from all the pieces in KEEP
#
# Run from a checkout; nothing needs to be installed but torch, torchvision, NumPy and scikit-learn, and no network.
# What check, speed and search print also goes to OUT/NAME.log.
#
#   DATA     folder with CIFAR-10, CIFAR-10N and CIFAR-100 as torchvision and noisylab look for them (data)
#   OUT      results and run folders (results)
#   KEEP     pieces of unfinished runs (kept)
#   MINUTES  of each command (9)
#   PYTHON   (python3)
#   WORKERS  processes of table that share the device (4)
#   TINY=1   a rehearsal, also without a GPU: few images, a narrow network
set -euo pipefail
cd "$(dirname "$0")/.."
data=${DATA:-data} out=${OUT:-results} keep=${KEEP:-kept} minutes=${MINUTES:-9} python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=passive
if [ -d "$data/cifar-10-batches-py" ]; then export NOISYLAB_DATA=$data; fi
mkdir -p "$out"

small=() brief=() steps=() few=()     # of runs, of speed, of check, of table
if [ -n "${TINY:-}" ]; then
    for f in train_size=300 width=0.0625 batch=64 watch=50; do small+=(--with "$f"); done
    few=("${small[@]}" --with epochs=3 --cells 3)
    small+=(--epochs 2) brief=(--images 128 --rounds 2) steps=(--steps 8 --batch 16 --width .0625)
fi

said() { tee "$out/$1.log"; }       # with pipefail, a failure stays one
bench() { echo "== $1"; timeout $((60*minutes)) "$python" "benchmarks/$1.py" "${@:2}"; }

case ${1:-} in
check)
    bench parity "${steps[@]}" | said check ;;
speed)
    { bench augment "${brief[@]}"
      bench pipeline "${brief[@]}"
      if [ -n "${TINY:-}" ]; then bench step --full --width .0625 --matrix 256 "${brief[@]}"; else bench step; fi
    } | said speed ;;
search)
    "$python" benchmarks/recipe.py search --minutes "$minutes" --root "$data" --out "$out" "${small[@]}" | said search ;;
rows)
    "$python" benchmarks/recipe.py rows --minutes "$minutes" --root "$data" --out "$out" "${small[@]}" ;;
table)
    if [ -n "${WORKERS:-}" ]; then few+=(--workers "$WORKERS"); fi
    "$python" benchmarks/fast_table.py --minutes "$minutes" --root "$data" --out "$out" "${few[@]}" | said table ;;
keep)
    n=${2:?which 60 MB? keep 1, keep 2, ...}
    mkdir -p "$keep"
    # The weights of a run that has ended are not wanted any more.
    (cd "$out" && find . -type f ! -name '*.lock' ! -name 'part*' | sort | while read -r f; do
        [ "${f##*/}" = checkpoint.pt ] && [ -e "${f%/*}/result.json" ] || echo "$f"; done) |
        tar -C "$out" -cf - -T - | split -b 15m -d - "$keep/all."
    i=0
    for f in "$keep"/all.*; do
        if ((i/4 == n - 1)); then mv "$f" "$keep/piece.${f##*.}"; else rm "$f"; fi
        i=$((i + 1))
    done
    echo "$(ls "$keep"/piece.* 2>/dev/null | wc -l) pieces of $i are in $keep; keep 1 to keep $(((i + 3)/4)) give all" ;;
restore)
    cat "$keep"/piece.* | tar -C "$out" -xf -
    echo "$out is as it was; go on with: benchmarks/gpu.sh rows" ;;
*)  sed -n '2,22s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
