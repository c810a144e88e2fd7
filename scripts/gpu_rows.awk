# From the objects of `ternion bench -o jsonl` to what a card did beside what it can do. POSIX awk alone.
#
# usage: awk -v what=card -f gpu_json.awk -f gpu_rows.awk LIMITS             the card, as it was measured and by its data sheet
#        awk -v what=rows -v name=NAME -v n_layers=N -f gpu_json.awk -f gpu_rows.awk LIMITS ROWS   a table row for each test of ROWS
#        awk -v what=head -f gpu_json.awk -f gpu_rows.awk                    the table's first two lines
#   LIMITS    the output of a bench with limits; those of its first object are taken
#   n_layers  of the model, for the launches of a step; 0: they are not CUDA's kernels, and nothing is said of them
#
# Shares are of what was measured. The limit is what the data sheet allows: a step takes at least the time in which its bytes are read
# or its int8 operations are made, whichever is longer: weights once, and of each sequence its keys and values (bench counts both). With
# launches: kernels of a CUDA graph run one behind the other, and each border takes 0.58 us with programmatic dependent launch (sm_90 on),
# 0.90 without (both measured on an H200). How many a step has stands in docs/design/0013-cuda.md.

function print_card() {
    if (!("memory_read" in limit_best)) {
        print "the card was not measured"
        exit 1
    }
    printf "memory: %s GB/s measured, %s by its data sheet (%s)\n", number(limit_best["memory_read"] / 1e9, "%.1f"), \
        number(limit_theory["memory_read"] / 1e9, "%.1f"), share(limit_best["memory_read"] + 0, limit_theory["memory_read"] + 0)
    if (!("int8_dot" in limit_best)) return
    printf "int8: %s Tops/s measured (%s), %s by its data sheet (%s)\n", number(limit_best["int8_dot"] / 1e12, "%.3f"), \
        limit_level["int8_dot"], number(limit_theory["int8_dot"] / 1e12, "%.3f"), share(limit_best["int8_dot"] + 0, limit_theory["int8_dot"] + 0)
}

function print_head() {
    print "| model | test | tokens/s | GB/s | of measured | int8 Tops/s | of measured | limit tokens/s | of it | with launches | of it |"
    print "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
}

# Tokens of a step: one of each sequence, or as much of the prompts as a step takes.
function step_tokens(line,    n) {
    n = field(line, "n_pl") * (field(line, "n_prompt") + 0 > 0 ? field(line, "n_prompt") : 1)
    return n < field(line, "n_ubatch") + 0 ? n : field(line, "n_ubatch") + 0
}

# Of sm_75 as of a card without matrix instructions. Attention is one kernel more where tiles are of one sequence or of several: in steps
# of more than 16 tokens, but for those of up to 64 in contexts that may be longer than 4096 positions.
function kernels_a_layer(n, capability, n_positions) {
    if (n == 1) return 5
    if (capability < 80) return n <= 8 ? 7 : 11
    return n <= 16 || (n <= 64 && n_positions > 4096) ? 10 : 11
}

function launch_seconds(line, n,    capability, n_positions) {
    capability = field(line, "isa")
    sub(/^sm_/, "", capability)
    n_positions = field(line, "n_depth") + field(line, "n_prompt") + field(line, "n_gen")
    return (kernels_a_layer(n, capability + 0, n_positions) * n_layers + 9) * (capability + 0 >= 90 ? 0.58e-6 : 0.90e-6)
}

function print_row(line,    rate, n, floor_s, by_memory, by_int8, limit, launched) {
    rate = field(line, "median_ts") + 0
    n = step_tokens(line)
    by_memory = limit_theory["memory_read"] > 0 ? field(line, "read_bytes_per_token") / limit_theory["memory_read"] : 0
    by_int8 = limit_theory["int8_dot"] > 0 ? field(line, "int8_ops_per_token") / limit_theory["int8_dot"] : 0
    floor_s = larger(by_memory, by_int8)
    limit = by_memory > 0 ? 1 / floor_s : 0
    launched = by_memory > 0 && n_layers > 0 ? 1 / (floor_s + launch_seconds(line, n) / n) : 0
    printf "| %s | %s | %.2f | %.1f | %s | %.2f | %s | %s | %s | %s | %s |\n", name, test_name(line), rate, \
        field(line, "read_bytes_per_s") / 1e9, share(field(line, "read_bytes_per_s"), limit_best["memory_read"] + 0), \
        field(line, "int8_ops_per_s") / 1e12, share(field(line, "int8_ops_per_s"), limit_best["int8_dot"] + 0), \
        number(limit, "%.0f"), share(rate, limit), number(launched, "%.0f"), share(rate, launched)
}

BEGIN {
    if (what == "head") {
        print_head()
        exit
    }
}
# FILENAME, since a first file that is empty has no line that could be its own.
is_bench_row($0) && FILENAME == ARGV[1] && !have_limits {
    take_limits($0)
    have_limits = 1
    next
}
is_bench_row($0) && FILENAME != ARGV[1] && what == "rows" {
    print_row($0)
    n_rows++
}
END {
    if (what == "card") print_card()
    if (what == "rows" && n_rows == 0) exit 1
}
