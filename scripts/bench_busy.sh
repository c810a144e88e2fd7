#!/bin/bash
# How token generation holds up when the machine is shared: with one thread a core, with twice as many threads as cores, and with a busy loop
# beside it on one core. Prints tokens a second and the share of the quiet figure; ideal is the share of the machine that is left.
# usage: scripts/bench_busy.sh [MODEL.gguf] [TERNION]      Takes half a minute for a 2B model; starts and ends the busy loop itself.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-}
ternion=${2:-build/release/ternion}
cores=$(nproc)
busy=
trap '[ -z "$busy" ] || kill "$busy"' EXIT

# The best of three samples, so that what else the machine does weighs less.
rate() {
    "$ternion" bench ${model:+-m "$model"} -p 0 -n 24 -r 3 --no-limits -o json "$@" 2>/dev/null |
        python3 -c 'import json, sys; r = json.load(sys.stdin)[0]; print("%.2f" % (24e9 / min(r["samples_ns"])))'
}
row() { awk -v what="$1" -v now="$2" -v quiet="$3" -v ideal="$4" 'BEGIN {printf "%-46s %8.2f t/s  %5.1f %%  ideal %s\n", what, now, 100 * now / quiet, ideal}'; }

quiet=$(rate -t "$cores")
row "$cores threads" "$quiet" "$quiet" "100 %"
row "$((2 * cores)) threads" "$(rate -t $((2 * cores)))" "$quiet" "100 %"
taskset -c $((cores - 1)) sh -c 'while :; do :; done' &
busy=$!
ideal=$(awk -v n="$cores" 'BEGIN {printf "%.0f %%", 100 * (n - 0.5) / n}')
row "$cores threads beside a busy loop on one core" "$(rate -t "$cores")" "$quiet" "$ideal"
row "the same, threads not bound" "$(rate -t "$cores" --no-bind)" "$quiet" "$ideal"
