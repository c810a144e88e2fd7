# Sourced by tests that run the program on emulated processors. Before: program, model, and the array emulator (its command without -cpu).
# shellcheck shell=bash disable=SC2154
# A process that meets an instruction which its processor lacks is ended.

test_name=$(basename "$0" .sh)

fail() {
    echo "$test_name: $*" >&2
    exit 1
}

# Ends the test as skipped, in the words that scripts/report_skips.sh looks for.
skip() {
    echo "$0:0: Skipped"
    echo "$*"
    echo "[  SKIPPED ] Emulated.$test_name (0 ms)"
    exit 77
}

emulated() { # CPU [-E NAME=VALUE] COMMAND...
    local cpu=$1
    shift
    "${emulator[@]}" -cpu "$cpu" "$@" 2> >(grep -v "warning: TCG doesn't support" >&2)
}

# The level that `devices` names, and the hash of the logits, which must be ${hash}, else becomes it.
hash=${hash:-}
on() { # CPU LEVEL [MASK]
    local cpu=$1 level=$2 mask=${3:-} found logits masked=()
    [ -z "$mask" ] || masked=(-E "TN_CPU_MASK=$mask")
    found=$(emulated "$cpu" "${masked[@]}" "$program" devices | awk '$1 == "cpu0" { print $3 }')
    [ "$found" = "$level" ] || fail "on $cpu${mask:+ up to $mask} the level is '$found', not $level"
    logits=$(emulated "$cpu" "${masked[@]}" "$program" logits -m "$model" -p "Once upon a time" --hash)
    hash=${hash:-$logits}
    [ "$logits" = "$hash" ] || fail "on $cpu at $level the hash of the logits is $logits, before it was $hash"
    echo "$cpu${mask:+ up to $mask}: $found, $logits"
}
