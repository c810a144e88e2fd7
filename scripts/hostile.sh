#!/usr/bin/env bash
# Runs damaged models through a build's mutate_models, one process a core, and adds their tables up.
# usage: scripts/hostile.sh BUILD_DIR CASES [SEED]
set -euo pipefail
build=${1:?usage: hostile.sh BUILD_DIR CASES [SEED]}
cases=${2:?usage: hostile.sh BUILD_DIR CASES [SEED]}
seed=${3:-1}
jobs=${JOBS:-$(nproc)}
program="$build/tests/fuzz/mutate_models"
logs="$build/hostile"
if [ ! -x "$program" ]; then
    echo "hostile: no $program: build the preset first (cmake --build --preset asan)" >&2
    exit 1
fi
mkdir -p "$logs"
pids=()
for ((i = 1; i <= jobs; i++)); do
    "$program" --cases "$cases" --seed "$seed" --shard "$i/$jobs" --decoded-percent-min 20 >"$logs/shard-$i.log" 2>&1 &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
cat "$logs"/shard-*.log | awk '
    / cases of seed / { done += $1 }
    $1 == "stage" { for (i = 3; i <= NF; i++) name[i] = $i; width = NF; delete column; for (i = 3; i <= NF; i++) column[i] = $i; next }
    $1 ~ /^(metadata|tokenizer|load|encode|session|decode|sample|text)$/ && NF >= 3 {
        if (!($1 in reached)) order[++n] = $1
        reached[$1] += $2
        for (i = 3; i <= NF; i++) { count[$1, column[i]] += $i; if (!(column[i] in known)) { known[column[i]] = 1; statuses[++m] = column[i] } }
    }
    END {
        printf "%d cases\n%-10s %8s", done, "stage", "reached"
        for (j = 1; j <= m; j++) printf " %16s", statuses[j]
        printf "\n"
        for (k = 1; k <= n; k++) {
            printf "%-10s %8d", order[k], reached[order[k]]
            for (j = 1; j <= m; j++) printf " %16d", count[order[k], statuses[j]]
            printf "\n"
        }
    }'
grep -h "most CPU time" "$logs"/shard-*.log
grep -h "^mutate_models:\|ERROR: \|SUMMARY: \|runtime error" "$logs"/shard-*.log >&2 || true
if [ "$status" -ne 0 ]; then echo "hostile: something was found: see $logs" >&2; fi
exit "$status"
