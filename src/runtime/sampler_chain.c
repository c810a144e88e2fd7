// From logits to a token: bias and penalties, then top-k, top-p, min-p and temperature in llama.cpp's order, then one draw.
// The definition (docs/design/0001-numerics.md) ranks all candidates and adds their weights in that order. Here as few as decide are
// ranked: with top-k, those that a pass over the row leaves; without, those that the draw or top-p cannot go beyond, whatever the sum over
// all others is rounded to. Where that is not certain, everything is ranked: the token is the definition's in every case.
#include "base/status.h"
#include "runtime/philox.h"
#include "runtime/sampler_internal.h"
#include "runtime/sampler_math.h"
#include "runtime/sampler_row.h"

#include <math.h>

enum { LANES = 16 }; // sums and maxima side by side, for vector instructions

static tn_status fail_all_forbidden(void)
{
    return tn_fail(TN_INVALID_ARGUMENT, "sampler: every token is forbidden: remove a logit bias of -inf");
}

static double penalised(const tn_sampler_params *p, double z, uint32_t count)
{
    const double repeat = (double)p->repeat_penalty;
    const double repeated = z > 0 ? z / repeat : z * repeat;
    return repeated - (((double)count * (double)p->frequency_penalty) + (double)p->presence_penalty);
}

// Bias and penalties on all tokens: scratch->logits. Minus infinity stays: the token is forbidden.
static void adjust_all(const tn_sampler *s, const float *logits)
{
    double *z = s->scratch->logits;
    for (uint32_t id = 0; id < s->n_vocab; id++) z[id] = (double)logits[id];
    for (size_t i = 0; i < s->params.n_logit_bias; i++) z[s->bias[i].token] += (double)s->bias[i].bias;
    for (size_t i = 0; i < s->window.n_counts; i++) {
        const tn_token_count *c = &s->window.counts[i];
        z[c->token] = penalised(&s->params, z[c->token], c->count);
    }
}

// Bias and penalties on the n tokens of scratch->ids and on every token that they name: scratch->candidates, without forbidden ones. The
// three lists are sorted by token. Returns the number of candidates.
static size_t adjust_gathered(const tn_sampler *s, const float *logits, size_t n)
{
    const int32_t *ids = s->scratch->ids;
    size_t i = 0, b = 0, c = 0, found = 0;
    for (;;) {
        int32_t id = INT32_MAX; // no token: n_vocab is at most that
        if (i < n && ids[i] < id) id = ids[i];
        if (b < s->params.n_logit_bias && s->bias[b].token < id) id = s->bias[b].token;
        if (c < s->window.n_counts && s->window.counts[c].token < id) id = s->window.counts[c].token;
        if (id == INT32_MAX) return found;

        double z = (double)logits[id];
        if (i < n && ids[i] == id) i++;
        for (; b < s->params.n_logit_bias && s->bias[b].token == id; b++) z += (double)s->bias[b].bias;
        if (c < s->window.n_counts && s->window.counts[c].token == id) z = penalised(&s->params, z, s->window.counts[c++].count);
        if (z != -INFINITY) s->scratch->candidates[found++] = (tn_candidate){z, id};
    }
}

// How many of the n best candidates, in ranking order, top-p keeps: the shortest prefix whose weight reaches top_p of the whole.
static size_t keep_top_p(const tn_candidate *c, size_t n, float top_p, double *weights)
{
    if (top_p >= 1) return n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = tn_sampler_exp(c[i].logit - c[0].logit);
        sum += weights[i];
    }
    const double wanted = (double)top_p * sum;
    double reached = 0;
    for (size_t i = 0; i < n; i++) {
        reached += weights[i];
        if (reached >= wanted) return i + 1;
    }
    return n;
}

// The least logit that min-p keeps, beside the best itself: of tokens at least min_p times as probable as the best.
static double least_of_min_p(double best, float min_p) { return min_p > 0 ? best + tn_sampler_log((double)min_p) : -INFINITY; }

static size_t keep_min_p(const tn_candidate *c, size_t n, float min_p)
{
    const double least = least_of_min_p(c[0].logit, min_p);
    size_t kept = 1;
    while (kept < n && c[kept].logit >= least) kept++;
    return kept;
}

// Draws from the softmax of n >= 1 ranked candidates at the sampler's temperature: the first whose running sum of weights passes u * sum.
static int32_t draw(const tn_sampler *s, size_t n, double u)
{
    const tn_candidate *c = s->scratch->candidates;
    double *weights = s->scratch->weights;
    const double temperature = (double)s->params.temperature;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = tn_sampler_exp((c[i].logit - c[0].logit) / temperature);
        sum += weights[i];
    }
    const double wanted = u * sum;
    double reached = weights[0];
    size_t chosen = 0;
    while (!(reached > wanted)) reached += weights[++chosen]; // ends: u < 1 and the running sum ends at `sum`
    return c[chosen].id;
}

// The chain as it is defined, on n >= 1 candidates in ascending order of id among which the best are.
static int32_t choose_ranked(const tn_sampler *s, size_t n, double u)
{
    const tn_sampler_params *p = &s->params;
    tn_candidate *c = s->scratch->candidates;
    const bool greedy = !(p->temperature > 0);
    n = tn_sampler_rank(c, n, greedy ? 1 : p->top_k > 0 ? (size_t)p->top_k : n, s->scratch->spare);
    if (greedy) return c[0].id;
    n = keep_top_p(c, n, p->top_p, s->scratch->weights);
    n = keep_min_p(c, n, p->min_p);
    return draw(s, n, u);
}

// scratch->logits at least `least` -> scratch->candidates, in ascending order of id. Returns their number.
static size_t gather_adjusted(const tn_sampler *s, double least)
{
    const double *z = s->scratch->logits;
    tn_candidate *c = s->scratch->candidates;
    size_t n = 0;
    for (uint32_t id = 0; id < s->n_vocab; id++)
        if (z[id] >= least && z[id] != -INFINITY) c[n++] = (tn_candidate){z[id], (int32_t)id};
    return n;
}

static double max_adjusted(const tn_sampler *s)
{
    const double *z = s->scratch->logits;
    double lane[LANES], max = -INFINITY;
    for (size_t l = 0; l < LANES; l++) lane[l] = -INFINITY;
    size_t n = s->n_vocab;
    for (; n >= LANES; n -= LANES, z += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] = z[l] > lane[l] ? z[l] : lane[l];
    for (size_t l = 0; l < LANES; l++) max = lane[l] > max ? lane[l] : max;
    for (size_t i = 0; i < n; i++) max = z[i] > max ? z[i] : max;
    return max;
}

// The sum, in some order, of the weights of tokens with logits of `least` or more.
static double weight_from(const tn_sampler *s, double least)
{
    const double *z = s->scratch->logits, *weights = s->scratch->weights;
    double lane[LANES] = {0}, sum = 0;
    size_t n = s->n_vocab;
    for (; n >= LANES; n -= LANES, z += LANES, weights += LANES) {
        double w[LANES];
        for (size_t l = 0; l < LANES; l++) w[l] = weights[l];
        for (size_t l = 0; l < LANES; l++) w[l] = z[l] >= least ? w[l] : 0.0;
        for (size_t l = 0; l < LANES; l++) lane[l] = lane[l] + w[l];
    }
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    for (size_t i = 0; i < n; i++) sum += z[i] >= least ? weights[i] : 0.0;
    return sum;
}

// The shortest prefix of the ranking of all tokens whose running sum of weights exp((z - best) / temperature) passes, or where it may,
// reaches, `fraction` of the sum over all: its length, with the prefix ranked in scratch->candidates; 0 where it is not certain.
//
// Whatever the order, a sum of n positive numbers in f64 is off by less than a factor of 1 +- n * 2^-53 (1 + tiny), so two of them differ
// by less than n * 2^-52: with twice that on both sides, the sum in ranking order need not be known. Running sums of the prefix are added
// as the definition adds them.
static size_t rank_prefix(const tn_sampler *s, double best, double temperature, double fraction)
{
    const double slack = (double)s->n_vocab * 0x1p-51;
    tn_sampler_weights(s->scratch->logits, s->n_vocab, best, temperature, s->scratch->weights);
    const double wanted = fraction * weight_from(s, -INFINITY);
    const double low = wanted * (1 - slack), high = wanted * (1 + slack);
    for (double gap = 2; gap < 1024; gap *= 2) {
        const double least = best - (gap * temperature);
        if (!(weight_from(s, least) * (1 - slack) > high)) continue;
        const size_t n = gather_adjusted(s, least);
        tn_candidate *c = s->scratch->candidates;
        tn_sampler_rank(c, n, n, s->scratch->spare);
        double reached = 0, before = 0;
        for (size_t i = 0; i < n; i++) {
            before = reached;
            reached += s->scratch->weights[c[i].id];
            if (reached > high) return i == 0 || before < low ? i + 1 : 0;
        }
        return 0;
    }
    return 0;
}

// Temperature without top-k.
static tn_status choose_from_all(const tn_sampler *s, const float *logits, double u, int32_t *out_token)
{
    const tn_sampler_params *p = &s->params;
    tn_candidate *c = s->scratch->candidates;
    adjust_all(s, logits);
    const double best = max_adjusted(s);
    if (best == -INFINITY) return fail_all_forbidden();
    if (p->top_p < 1) {
        size_t n = rank_prefix(s, best, 1, (double)p->top_p);
        if (n > 0) {
            n = keep_min_p(c, n, p->min_p);
            *out_token = draw(s, n, u);
            return TN_OK;
        }
    } else if (p->min_p > 0) {
        const size_t n = gather_adjusted(s, least_of_min_p(best, p->min_p));
        tn_sampler_rank(c, n, n, s->scratch->spare);
        *out_token = draw(s, n, u);
        return TN_OK;
    } else {
        const size_t n = rank_prefix(s, best, (double)p->temperature, u);
        if (n > 0) {
            *out_token = c[n - 1].id;
            return TN_OK;
        }
    }
    *out_token = choose_ranked(s, gather_adjusted(s, -INFINITY), u);
    return TN_OK;
}

tn_status tn_sampler_choose(const tn_sampler *s, const float *logits, uint32_t position, int32_t *out_token)
{
    const tn_sampler_params *p = &s->params;
    float max;
    TN_TRY(tn_sampler_row_max(logits, s->n_vocab, s->scratch, &max));
    const bool greedy = !(p->temperature > 0);
    const size_t n_named = p->n_logit_bias + s->window.n_counts;
    if (greedy && n_named == 0) {
        if (max == -INFINITY) return fail_all_forbidden();
        *out_token = tn_sampler_row_first(logits, s->n_vocab, s->scratch, max);
        return TN_OK;
    }
    const double u = greedy ? 0 : tn_philox_uniform(p->seed, p->sequence, position);
    if (!greedy && (p->top_k <= 0 || (uint32_t)p->top_k >= s->n_vocab)) return choose_from_all(s, logits, u, out_token);

    // Of the k + L best of the row, L tokens being named by bias and penalties, at least k stay as they are. One that is neither among them
    // nor named has these k before it.
    size_t n = tn_sampler_row_gather(logits, s->n_vocab, (greedy ? 1 : (size_t)p->top_k) + n_named, s->scratch);
    n = adjust_gathered(s, logits, n);
    if (n == 0) return fail_all_forbidden();
    *out_token = choose_ranked(s, n, u);
    return TN_OK;
}
