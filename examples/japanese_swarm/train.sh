#!/usr/bin/env bash
# The screen, and the swarms of the sizes named, on what prepare.sh made: bash examples/japanese_swarm/train.sh WORLD TOKENS SIZE...
# WORLD/TOKENS/screen and WORLD/TOKENS/SIZE; one core, and after a kill the same command goes on.
set -euo pipefail
here=$(dirname "$0") world=$1 out=$1/$2
table=(--ratios "$here/ratios.csv" --catalogue "$world/corpora.yml" --tokens "$2" --eval-tokens 8192)
tasks=(--tasks 'news_cloze_*,jcommonsenseqa-1.1-0.2.1' --num-fewshot 0 --limit 200 --likelihoods --data-dir "$world/tasks")

[ -f "$out/screen/metrics.csv" ] || python -m launch.screen "${table[@]}" --output-dir "$out/screen"
for size in "${@:3}"; do
    more=("${tasks[@]}")
    [ "$size" != 4M ] || more=() # scores of the 4M models would take as long as a third of their training
    python -m launch.proxies "${table[@]}" --config "$size" --seed 1 --workers 1 --replicates 2 --replicate-runs p000,p001,p009 \
        ${more[@]+"${more[@]}"} --output-dir "$out/$size"
done
