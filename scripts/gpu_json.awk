# What gpu_rows.awk, gpu_plan.awk and gpu_wanted.awk have in common: fields of JSON objects that stand in one line each, the limits of a
# card in the objects of `ternion bench -o jsonl`, and how figures are written. POSIX awk alone. Elements of arrays that may not be there are
# handed to functions as numbers (+ 0): gawk 5.2 frees some of them twice.

# The value of a field, as text; "" where there is none, or it is null. Of fields of the same name the first.
function field(text, key,    at, value) {
    at = index(text, "\"" key "\": ")
    if (at == 0) return ""
    value = substr(text, at + length(key) + 4)
    if (substr(value, 1, 1) == "\"") {
        value = substr(value, 2)
        return substr(value, 1, index(value, "\"") - 1)
    }
    sub(/ *[],}].*/, "", value)
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

function is_bench_row(line) { return line ~ /^\{"build_commit": / }

function test_name(line,    text) {
    text = field(line, "n_prompt") + 0 > 0 ? "prompt of " field(line, "n_prompt") : "reply of " field(line, "n_gen")
    if (field(line, "n_pl") + 0 > 1) text = text ", " field(line, "n_pl") " sequences"
    if (field(line, "n_depth") + 0 > 0) text = text ", behind " field(line, "n_depth")
    return text
}

function number(value, format) { return value > 0 ? sprintf(format, value) : "-" }
function share(part, whole) { return part + 0 > 0 && whole > 0 ? sprintf("%.1f %%", 100 * part / whole) : "-" }
function ratio(part, whole) { return part > 0 && whole > 0 ? sprintf("%.2f", part / whole) : "-" }
function larger(a, b) { return a > b ? a : b }
