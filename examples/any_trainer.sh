#!/usr/bin/env bash
# A trainer that knows neither Python nor torch, searched by meden: linear regression with weight decay in awk, on the
# columns of a table of numbers of which the last is the target.
#
#   meden tune data.csv --target y --command 'bash any_trainer.sh data.csv {lr} {decay}' \
#       --search lr=0.01:1:log --search decay=1e-4:10:log
set -euo pipefail
table=$1 lr=$2 decay=$3
work=$(mktemp -d) && trap 'rm -r "$work"' EXIT
for part in fit stop score; do meden job rows $part --of "$table" > "$work/$part.csv"; done

kept=$(meden job checkpoint-dir)/weights.txt weights=$work/weights.txt # the epoch, and the weights after it
[ -e "$kept" ] && cp "$kept" "$weights" || echo 0 > "$weights"         # they are kept if the search is killed

predict='NR == FNR { w[FNR - 2] = $1; next }
    FNR > 1 { p = w[0]; for (j = 1; j < NF; j++) p += w[j] * $j'
for epoch in $(seq $(($(head -n 1 "$weights") + 1)) "$MEDEN_EPOCHS"); do
    awk -F, -v epoch="$epoch" -v lr="$lr" -v decay="$decay" "$predict"';
        r = p - $NF; g[0] += r; for (j = 1; j < NF; j++) g[j] += r * $j; n++; num = NF }
        END { print epoch; for (j = 0; j < num; j++) print w[j] - lr * (g[j] / n + (j ? decay * w[j] : 0)) }' \
        "$weights" "$work/fit.csv" > "$work/next.txt"
    mv "$work/next.txt" "$weights"
    loss=$(awk -F, "$predict"'; s += (p - $NF) ^ 2; n++ } END { print s / n / 2 }' "$weights" "$work/stop.csv")
    meden job report "$epoch" "$loss" || break
    cp "$weights" "$kept.part" && mv "$kept.part" "$kept"
done

awk -F, "$predict"'; print p }' "$weights" "$work/score.csv" > "$work/scored.csv"
meden job score "$work/scored.csv" --as predictions
