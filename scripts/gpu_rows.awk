# From the objects of `ternion bench -o jsonl` to what a card did beside what it can do. POSIX awk alone.
#
# usage: awk -v what=card -f gpu_rows.awk LIMITS                             the card, as it was measured and by its data sheet
#        awk -v what=rows -v name=NAME -v n_layers=N -f gpu_rows.awk LIMITS ROWS   a table row for each test of ROWS
#        awk -v what=head -f gpu_rows.awk                                    the table's first two lines
#   LIMITS    the output of a bench with limits; those of its first object are taken
#   n_layers  of the model, for the launches of a step; 0: they are not CUDA's kernels, and nothing is said of them
#
# Shares are of what was measured. The limit is what the data sheet allows: a step takes at least the time in which its bytes are read
# or its int8 operations are made, whichever is longer: weights once, and of each sequence its keys and values (bench counts both). With
# launches: each kernel of a CUDA graph needs 1.3 us more (published for an H100), of which docs/design/0013-cuda.md counts 5 a layer for
# one token, 7 for up to 8, 10 for up to 16 and 11 beyond, and 8 beside the layers.

# The value of a field, as text; "" where there is none, or it is null. Of fields of the same name the first.
function field(text, key,    at, value) {
    at = index(text, "\"" key "\": ")
    if (at == 0) return ""
    value = substr(text, at + length(key) + 4)
    if (substr(value, 1, 1) == "\"") {
        value = substr(value, 2)
        return substr(value, 1, index(value, "\"") - 1)
    }
    sub(/[],}].*/, "", value)
    return value == "null" ? "" : value
}

# limit_best[kind] and limit_level[kind] of the better figure of each kind, and limit_theory[kind], the higher of the data sheet's.
function take_limits(line,    at, kind, best) {
    while ((at = index(line, "{\"limit\": ")) > 0) {
        line = substr(line, at)
        kind = field(line, "limit")
        best = field(line, "best") + 0
        if (best > limit_best[kind] + 0) {
            limit_best[kind] = best
            limit_level[kind] = field(line, "level")
        }
        limit_theory[kind] = larger(limit_theory[kind] + 0, field(line, "theoretical") + 0)
        line = substr(line, 2)
    }
}

function number(value, format) { return value > 0 ? sprintf(format, value) : "-" }
function share(part, whole) { return whole > 0 ? sprintf("%.1f %%", 100 * part / whole) : "-" }
function larger(a, b) { return a > b ? a : b }

function print_card() {
    if (!("memory_read" in limit_best)) {
        print "the card was not measured"
        exit 1
    }
    printf "memory: %s GB/s measured, %s by its data sheet (%s)\n", number(limit_best["memory_read"] / 1e9, "%.1f"), \
        number(limit_theory["memory_read"] / 1e9, "%.1f"), share(limit_best["memory_read"], limit_theory["memory_read"])
    if (!("int8_dot" in limit_best)) return
    printf "int8: %s Tops/s measured (%s), %s by its data sheet (%s)\n", number(limit_best["int8_dot"] / 1e12, "%.3f"), \
        limit_level["int8_dot"], number(limit_theory["int8_dot"] / 1e12, "%.3f"), share(limit_best["int8_dot"], limit_theory["int8_dot"])
}

function print_head() {
    print "| model | test | tokens/s | GB/s | of measured | int8 Tops/s | of measured | limit tokens/s | of it | with launches | of it |"
    print "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
}

function test_name(line,    text) {
    text = field(line, "n_prompt") + 0 > 0 ? "prompt of " field(line, "n_prompt") : "reply of " field(line, "n_gen")
    if (field(line, "n_pl") + 0 > 1) text = text ", " field(line, "n_pl") " sequences"
    if (field(line, "n_depth") + 0 > 0) text = text ", behind " field(line, "n_depth")
    return text
}

# Tokens of a step: one of each sequence, or as much of the prompts as a step takes.
function step_tokens(line,    n) {
    n = field(line, "n_pl") * (field(line, "n_prompt") + 0 > 0 ? field(line, "n_prompt") : 1)
    return n < field(line, "n_ubatch") + 0 ? n : field(line, "n_ubatch") + 0
}

function launch_seconds(n) { return ((n == 1 ? 5 : n <= 8 ? 7 : n <= 16 ? 10 : 11) * n_layers + 8) * 1.3e-6 }

function print_row(line,    rate, n, floor_s, by_memory, by_int8, limit, launched) {
    rate = field(line, "median_ts") + 0
    n = step_tokens(line)
    by_memory = limit_theory["memory_read"] > 0 ? field(line, "read_bytes_per_token") / limit_theory["memory_read"] : 0
    by_int8 = limit_theory["int8_dot"] > 0 ? field(line, "int8_ops_per_token") / limit_theory["int8_dot"] : 0
    floor_s = larger(by_memory, by_int8)
    limit = by_memory > 0 ? 1 / floor_s : 0
    launched = by_memory > 0 && n_layers > 0 ? 1 / (floor_s + launch_seconds(n) / n) : 0
    printf "| %s | %s | %.2f | %.1f | %s | %.2f | %s | %s | %s | %s | %s |\n", name, test_name(line), rate, \
        field(line, "read_bytes_per_s") / 1e9, share(field(line, "read_bytes_per_s"), limit_best["memory_read"]), \
        field(line, "int8_ops_per_s") / 1e12, share(field(line, "int8_ops_per_s"), limit_best["int8_dot"]), \
        number(limit, "%.0f"), share(rate, limit), number(launched, "%.0f"), share(rate, launched)
}

BEGIN {
    if (what == "head") {
        print_head()
        exit
    }
}
# FILENAME, since a first file that is empty has no line that could be its own.
/^\{"build_commit": / && FILENAME == ARGV[1] && !have_limits {
    take_limits($0)
    have_limits = 1
    next
}
/^\{"build_commit": / && FILENAME != ARGV[1] && what == "rows" {
    print_row($0)
    n_rows++
}
END {
    if (what == "card") print_card()
    if (what == "rows" && n_rows == 0) exit 1
}
