// Tables of costs as text. Numbers are whole: mantissa and exponent of two, so that no bit and no locale matters.
#include "base/hash.h"
#include "scheduler/cost_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char header[] = "ternion costs 2\n";

enum { CHECKSUM_BYTES = 9 + 16 + 1, MANTISSA_BITS = 53, EXPONENT_MAX = 1200 }; // "checksum ", digits, newline

// ---- writing ----

static tn_status write_real(tn_text *out, double x)
{
    int exponent;
    const double mantissa = frexp(x, &exponent);
    return tn_text_printf(out, " %lldp%d", (long long)ldexp(mantissa, MANTISSA_BITS), x == 0.0 ? 0 : exponent - MANTISSA_BITS);
}

static tn_status write_reals(tn_text *out, const char *name, const double *reals, uint32_t n)
{
    TN_TRY(tn_text_printf(out, "%s", name));
    for (uint32_t i = 0; i < n; i++) TN_TRY(write_real(out, reals[i]));
    return tn_text_append(out, "\n", 1);
}

static tn_status write_lines(const tn_cost_table *table, tn_text *out)
{
    TN_TRY(tn_text_printf(out, "measured %llu\nobserved %u\ncache %llu\n", (unsigned long long)table->measured_at_s,
                          (unsigned)table->n_observed, (unsigned long long)table->cache_bytes));
    TN_TRY(write_reals(out, "memory", &table->memory_bytes_per_s, 1));
    const double links[4] = {table->to_device.latency_ns, table->to_device.bytes_per_s, table->to_host.latency_ns,
                             table->to_host.bytes_per_s};
    TN_TRY(write_reals(out, "links", links, 4));
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) TN_TRY(write_reals(out, "part", table->ns[p], TN_COST_STEPS));
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) TN_TRY(write_reals(out, "correction", table->correction[g], TN_COST_STEPS));
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) TN_TRY(write_reals(out, "error", table->error[g], TN_COST_STEPS));
    TN_TRY(tn_text_printf(out, "devices %u\n", (unsigned)table->n_together));
    for (uint32_t r = 0; r < TN_COST_READERS; r++) TN_TRY(write_reals(out, "together", table->together[r], TN_COST_STEPS));
    return TN_OK;
}

tn_status tn_cost_write(const tn_cost_table *table, const char *key, tn_text *out)
{
    if (strchr(key, '\n')) return tn_fail(TN_INVALID_ARGUMENT, "a key of costs has a line break: give one line");
    const size_t first = out->len;
    TN_TRY(tn_text_printf(out, "%skey %s\n", header, key));
    TN_TRY(write_lines(table, out));
    return tn_text_printf(out, "checksum %016llx\n", (unsigned long long)tn_hash(out->data + first, out->len - first));
}

// ---- reading ----

typedef struct cursor {
    const char *at, *end;
    bool ok;
} cursor;

static void take(cursor *c, const char *text)
{
    const size_t n = strlen(text);
    c->ok = c->ok && (size_t)(c->end - c->at) >= n && memcmp(c->at, text, n) == 0;
    if (c->ok) c->at += n;
}

static uint64_t take_number(cursor *c, uint64_t max)
{
    uint64_t x = 0;
    const char *first = c->at;
    while (c->ok && c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        const uint64_t digit = (uint64_t)(*c->at++ - '0');
        if (x > (max - digit) / 10) c->ok = false;
        x = c->ok ? 10 * x + digit : 0;
    }
    c->ok = c->ok && c->at != first && x <= max;
    return x;
}

static bool take_sign(cursor *c)
{
    const bool is_negative = c->ok && c->at < c->end && *c->at == '-';
    if (is_negative) c->at++;
    return is_negative;
}

static void take_numbers(cursor *c, double *reals, uint32_t n, double min, double max)
{
    for (uint32_t i = 0; i < n; i++) {
        take(c, " ");
        const bool is_negative = take_sign(c);
        const double mantissa = (double)take_number(c, (uint64_t)1 << MANTISSA_BITS);
        take(c, "p");
        const bool is_small = take_sign(c);
        const int exponent = (int)take_number(c, EXPONENT_MAX);
        const double size = c->ok ? ldexp(mantissa, is_small ? -exponent : exponent) : 0.0;
        reals[i] = is_negative ? -size : size;
        c->ok = c->ok && reals[i] >= min && reals[i] <= max;
    }
}

static void take_reals(cursor *c, const char *name, double *reals, uint32_t n, double min, double max)
{
    take(c, name);
    take_numbers(c, reals, n, min, max);
    take(c, "\n");
}

// Beyond these no device is, and what follows from them would not be finite.
static const double ns_max = 1e12, bytes_per_s_max = 1e15, error_max = 1e9, step_ns_min = 1e-6;

// A layer of a step of one token takes some time: everything else may be too little to measure.
static bool takes_time(const tn_cost_table *table)
{
    double ns = 0.0;
    for (uint32_t p = 0; p < TN_COST_EMBED; p++) ns += table->ns[p][0];
    return ns >= step_ns_min;
}

static void take_link(cursor *c, tn_cost_link *link)
{
    take_numbers(c, &link->latency_ns, 1, 0.0, ns_max);
    take_numbers(c, &link->bytes_per_s, 1, 0.0, bytes_per_s_max);
}

static void take_lines(cursor *c, tn_cost_table *table)
{
    take(c, "measured ");
    table->measured_at_s = take_number(c, UINT64_MAX / 10);
    take(c, "\nobserved ");
    table->n_observed = (uint32_t)take_number(c, UINT32_MAX);
    take(c, "\ncache ");
    table->cache_bytes = take_number(c, UINT64_MAX);
    take(c, "\n");
    take_reals(c, "memory", &table->memory_bytes_per_s, 1, 0.0, bytes_per_s_max);
    take(c, "links");
    take_link(c, &table->to_device);
    take_link(c, &table->to_host);
    take(c, "\n");
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) take_reals(c, "part", table->ns[p], TN_COST_STEPS, 0.0, ns_max);
    c->ok = c->ok && takes_time(table);
    const double most = tn_cost_correction_max;
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) take_reals(c, "correction", table->correction[g], TN_COST_STEPS, 1.0 / most, most);
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) take_reals(c, "error", table->error[g], TN_COST_STEPS, -1.0, error_max);
    take(c, "devices ");
    table->n_together = (uint32_t)take_number(c, UINT32_MAX);
    take(c, "\n");
    for (uint32_t r = 0; r < TN_COST_READERS; r++) take_reals(c, "together", table->together[r], TN_COST_STEPS, 1.0, tn_cost_together_max);
}

tn_status tn_cost_read(tn_str text, const char *key, tn_cost_table *out_table)
{
    char checksum[CHECKSUM_BYTES + 1];
    tn_cost_table_init(out_table);
    const size_t n_key = strlen(key), n_header = sizeof header - 1;
    if (text.len < n_header || memcmp(text.data, header, n_header) != 0)
        return tn_fail(TN_BAD_FILE, "not costs as this version writes them: measure again");
    if (text.len < n_header + CHECKSUM_BYTES) return tn_fail(TN_BAD_FILE, "costs are cut short: measure again");
    const size_t n_hashed = text.len - CHECKSUM_BYTES;
    snprintf(checksum, sizeof checksum, "checksum %016llx\n", (unsigned long long)tn_hash(text.data, n_hashed));
    if (memcmp(text.data + n_hashed, checksum, CHECKSUM_BYTES) != 0)
        return tn_fail(TN_BAD_FILE, "costs are damaged: their checksum is another: measure again");
    cursor c = {text.data + n_header, text.data + n_hashed, true};
    take(&c, "key ");
    if (!c.ok || (size_t)(c.end - c.at) <= n_key || memcmp(c.at, key, n_key) != 0 || c.at[n_key] != '\n')
        return tn_fail(TN_NOT_FOUND, "costs are of another machine, device, driver or build: measure here");
    c.at += n_key + 1;
    take_lines(&c, out_table);
    if (c.ok && c.at == c.end) return TN_OK;
    tn_cost_table_init(out_table);
    return tn_fail(TN_BAD_FILE, "costs are damaged: a line is not as expected: measure again");
}
