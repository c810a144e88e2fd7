// Log-probabilities as docs/design/0001-numerics.md defines them: (z - max) - ln S in f64, S the SUM in f32 of EXP2((z - max) * RN(log2
// e)).
#include "runtime/logprobs.h"

#include "base/exact_math.h"
#include "base/f64_math.h"
#include "base/float_mode.h"
#include "base/status.h"
#include "ternion/tokenizer.h"

#include <math.h>

enum { LANES = 32, BLOCK = 256 };

// The k best tokens so far, sorted; k <= TN_REQUEST_LOGPROBS_MAX.
typedef struct tn_best {
    float logit[TN_REQUEST_LOGPROBS_MAX];
    int32_t id[TN_REQUEST_LOGPROBS_MAX];
    uint32_t n, k;
} tn_best;

static inline float larger(float a, float b) { return a > b ? a : b; }

// Ids come in ascending order: of equal logits the earlier one stays before.
static void add_to_best(tn_best *best, float logit, int32_t id)
{
    if (best->n == best->k && !(logit > best->logit[best->k - 1])) return;
    uint32_t at = best->n < best->k ? best->n++ : best->k - 1;
    for (; at > 0 && logit > best->logit[at - 1]; at--) {
        best->logit[at] = best->logit[at - 1];
        best->id[at] = best->id[at - 1];
    }
    best->logit[at] = logit;
    best->id[at] = id;
}

// The maximum of a block of 256; NaN and +infinity are noted in `bad`.
static float max_of_block(const float *x, bool *bad)
{
    float lane[LANES], max = -INFINITY;
    uint32_t wrong[LANES] = {0}, any = 0;
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    for (int i = 0; i < BLOCK; i += 2 * LANES) {
        for (int l = 0; l < LANES; l++) {
            const float a = x[i + l], b = x[i + LANES + l];
            lane[l] = larger(larger(a, b), lane[l]);
            wrong[l] |= (a < INFINITY ? 0u : 1u) | (b < INFINITY ? 0u : 1u);
        }
    }
    for (int l = 0; l < LANES; l++) max = larger(lane[l], max);
    for (int l = 0; l < LANES; l++) any |= wrong[l];
    *bad = *bad || any != 0;
    return max;
}

// The block's share of S. Terms whose argument is below -60 are 0, minus infinity's too.
static float sum_of_block(const float *x, float max)
{
    const float log2_e = 0x1.715476p+0f;
    float lane[LANES] = {0};
    for (int i = 0; i < BLOCK; i += LANES) {
        float term[LANES], n[LANES], power[LANES], t[LANES];
        uint32_t bits[LANES];
        for (int l = 0; l < LANES; l++) {
            t[l] = (x[i + l] - max) * log2_e;
            n[l] = t[l] + 12582912.0f; // as tn_round_even and tn_round_int do it
            term[l] = tn_exp2_poly(t[l] - (n[l] - 12582912.0f));
        }
        memcpy(bits, n, sizeof bits);
        for (int l = 0; l < LANES; l++) bits[l] = (bits[l] - 0x4b400000u + 127u) << 23;
        memcpy(power, bits, sizeof power);
        for (int l = 0; l < LANES; l++) {
            const float e = term[l] * power[l];
            const float kept = t[l] >= -60.0f ? e : 0.0f;
            lane[l] = lane[l] + kept;
        }
    }
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++) lane[l] = lane[l] + lane[l + width];
    return lane[0];
}

// The block from `first` on: the row itself, or a copy of its end filled up with minus infinity, which adds nothing.
static const float *block_of(const float *logits, uint32_t n_vocab, uint32_t first, float copy[BLOCK])
{
    if (n_vocab - first >= BLOCK) return logits + first;
    for (uint32_t i = 0; i < BLOCK; i++) copy[i] = i < n_vocab - first ? logits[first + i] : -INFINITY;
    return copy;
}

static tn_status find_best(const float *logits, uint32_t n_vocab, tn_best *best, float *out_max)
{
    float copy[BLOCK], max = -INFINITY;
    bool bad = false;
    for (uint32_t first = 0; first < n_vocab; first += BLOCK) {
        const float block_max = max_of_block(block_of(logits, n_vocab, first, copy), &bad);
        max = larger(block_max, max);
        if (best->k == 0 || (best->n == best->k && !(block_max > best->logit[best->k - 1]))) continue;
        const uint32_t end = n_vocab - first < BLOCK ? n_vocab : first + BLOCK;
        for (uint32_t id = first; id < end; id++) add_to_best(best, logits[id], (int32_t)id);
    }
    if (bad) return tn_fail(TN_INVALID_ARGUMENT, "log-probabilities: a logit is NaN or infinite: the sequence is poisoned");
    if (max == -INFINITY) return tn_fail(TN_INVALID_ARGUMENT, "log-probabilities: every logit is minus infinity");
    *out_max = max;
    return TN_OK;
}

static tn_status logprobs(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                          tn_token_logprob *out_top)
{
    tn_best best = {.k = n_top};
    float max, sum = 0, copy[BLOCK];
    TN_TRY(find_best(logits, n_vocab, &best, &max));
    for (uint32_t first = 0; first < n_vocab; first += BLOCK) sum = sum + sum_of_block(block_of(logits, n_vocab, first, copy), max);
    const double log_sum = tn_f64_log((double)sum);
    if (token != TN_TOKEN_NONE) *out_logprob = (float)(((double)logits[token] - (double)max) - log_sum);
    for (uint32_t i = 0; i < best.n; i++)
        out_top[i] = (tn_token_logprob){best.id[i], (float)(((double)best.logit[i] - (double)max) - log_sum)};
    return TN_OK;
}

tn_status tn_logprobs_row(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                          tn_token_logprob *out_top)
{
    *out_logprob = 0;
    for (uint32_t i = 0; i < n_top && i < TN_REQUEST_LOGPROBS_MAX; i++) out_top[i] = (tn_token_logprob){TN_TOKEN_NONE, -INFINITY};
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "log-probabilities: n_vocab is %u, but must be from 1 to %d", n_vocab, INT32_MAX);
    if (n_top > TN_REQUEST_LOGPROBS_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "log-probabilities: %u alternatives, but at most %u are given", n_top, TN_REQUEST_LOGPROBS_MAX);
    if (token != TN_TOKEN_NONE && (token < 0 || (uint32_t)token >= n_vocab))
        return tn_fail(TN_INVALID_ARGUMENT, "log-probabilities: token %d, but the vocabulary is 0 to %u", token, n_vocab - 1);
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = logprobs(logits, n_vocab, token, n_top, out_logprob, out_top);
    tn_float_mode_leave(mode);
    return status;
}
