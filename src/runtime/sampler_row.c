// A row is read in blocks of 64 lines of 64 logits, and the maximum of each column of a block is kept: columns beside each other are what
// vector instructions compare. Where n columns have a maximum of t or more, there are n logits of t or more: the n-th largest maximum is a
// bound that none of the n best logits is below, and only columns that reach it are read again.
#include "runtime/sampler_row.h"

#include "base/status.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LINES = TN_SAMPLER_LINES, COLUMNS = TN_SAMPLER_COLUMNS, BLOCK = LINES * COLUMNS };

static tn_status fail_bad_logit(const float *logits, uint32_t n_vocab)
{
    uint32_t id = 0;
    while (id + 1 < n_vocab && logits[id] < INFINITY) id++;
    return tn_fail(TN_INVALID_ARGUMENT, "sampler: the logit of token %u is %g: pass the logits of a sequence that is not poisoned", id,
                   (double)logits[id]);
}

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline uint32_t is_bad(float x) { return x < INFINITY ? 0u : 1u; } // NaN too

// The maxima of the columns of up to 64 lines. Returns whether NaN or +infinity is among the logits.
static bool max_of_columns(const float *x, uint32_t n_lines, float *out_max)
{
    float max[COLUMNS];
    uint32_t bad[COLUMNS] = {0}, any_bad = 0, line = 0;
    for (int c = 0; c < COLUMNS; c++) max[c] = -INFINITY;
    for (; n_lines - line >= 4; line += 4, x += 4 * (size_t)COLUMNS) {
        for (int c = 0; c < COLUMNS; c++) {
            const float a = x[c], b = x[COLUMNS + c], d = x[2 * COLUMNS + c], e = x[3 * COLUMNS + c];
            max[c] = larger(larger(larger(a, b), larger(d, e)), max[c]);
            bad[c] |= (is_bad(a) | is_bad(b)) | (is_bad(d) | is_bad(e));
        }
    }
    for (; line < n_lines; line++, x += COLUMNS) {
        for (int c = 0; c < COLUMNS; c++) {
            max[c] = larger(x[c], max[c]);
            bad[c] |= is_bad(x[c]);
        }
    }
    memcpy(out_max, max, sizeof max);
    for (int c = 0; c < COLUMNS; c++) any_bad |= bad[c];
    return any_bad != 0;
}

tn_status tn_sampler_row_max(const float *logits, uint32_t n_vocab, tn_sampler_scratch *scratch, float *out_max)
{
    bool bad = false;
    float *max = scratch->column_max, best = -INFINITY;
    for (uint32_t first = 0; first < n_vocab; first += BLOCK, max += COLUMNS) {
        const uint32_t n = n_vocab - first < BLOCK ? n_vocab - first : BLOCK;
        bad |= max_of_columns(logits + first, n / COLUMNS, max);
        for (uint32_t i = n - n % COLUMNS; i < n; i++) { // the last line of the row is short
            bad |= is_bad(logits[first + i]) != 0;
            max[i % COLUMNS] = larger(logits[first + i], max[i % COLUMNS]);
        }
        for (int c = 0; c < COLUMNS; c++) best = larger(max[c], best);
    }
    if (bad) return fail_bad_logit(logits, n_vocab);
    *out_max = best;
    return TN_OK;
}

// Which columns of a block of n_vocab logits reach `least`. Returns their number.
static uint32_t columns_from(const float *max, float least, uint8_t *out_columns)
{
    uint32_t n = 0;
    for (uint32_t c = 0; c < COLUMNS; c++) {
        out_columns[n] = (uint8_t)c;
        n += max[c] >= least;
    }
    return n;
}

// Ids, ascending, of those of some columns of a block of logits that are `least` or more -> out_ids. Returns their number.
static size_t gather_columns(const float *logits, uint32_t first, uint32_t end, const uint8_t *columns, uint32_t n_columns, float least,
                             int32_t *out_ids)
{
    size_t found = 0;
    for (uint32_t line = first; line < end; line += COLUMNS) {
        for (uint32_t i = 0; i < n_columns; i++) {
            const uint32_t id = line + columns[i];
            if (id < end && logits[id] >= least) out_ids[found++] = (int32_t)id;
        }
    }
    return found;
}

// The same of all columns, of which many logits may be found: every id is written, and stays if it is to, without a branch to guess.
static size_t gather_block(const float *logits, uint32_t first, uint32_t end, float least, int32_t *out_ids)
{
    size_t found = 0;
    for (uint32_t id = first; id < end; id++) {
        out_ids[found] = (int32_t)id;
        found += logits[id] >= least;
    }
    return found;
}

size_t tn_sampler_row_from(const float *logits, uint32_t n_vocab, float least, tn_sampler_scratch *scratch)
{
    size_t found = 0;
    const float *max = scratch->column_max;
    for (uint32_t first = 0; first < n_vocab; first += BLOCK, max += COLUMNS) {
        uint8_t columns[COLUMNS + 1];
        const uint32_t n_columns = columns_from(max, least, columns), end = n_vocab - first < BLOCK ? n_vocab : first + BLOCK;
        int32_t *out = scratch->ids + found;
        if (n_columns > COLUMNS / 4)
            found += gather_block(logits, first, end, least, out);
        else if (n_columns > 0)
            found += gather_columns(logits, first, end, columns, n_columns, least, out);
    }
    return found;
}

int32_t tn_sampler_row_first(const float *logits, uint32_t n_vocab, tn_sampler_scratch *scratch, float max)
{
    tn_sampler_row_from(logits, n_vocab, max, scratch);
    return scratch->ids[0];
}

// The n-th largest of the maxima; the least finite number where there are fewer that are finite.
static float threshold_of(tn_sampler_scratch *scratch, uint32_t n_vocab, size_t n)
{
    const size_t n_columns = tn_sampler_n_columns(n_vocab);
    size_t found = 0; // no more than n_vocab: what is empty is minus infinity
    for (size_t c = 0; c < n_columns; c++)
        if (scratch->column_max[c] != -INFINITY) scratch->candidates[found++] = (tn_candidate){(double)scratch->column_max[c], (int32_t)c};
    if (n > found) return -FLT_MAX;
    tn_sampler_rank(scratch->candidates, found, n, scratch->spare);
    return (float)scratch->candidates[n - 1].logit;
}

size_t tn_sampler_row_gather(const float *logits, uint32_t n_vocab, size_t n, tn_sampler_scratch *scratch)
{
    return tn_sampler_row_from(logits, n_vocab, threshold_of(scratch, n_vocab, n), scratch);
}
