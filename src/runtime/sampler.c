// The sampler: bias and penalties on logits, then top-k, top-p, min-p and temperature in llama.cpp's order, then one draw.
// All arithmetic is f64 + - * / in ranking order with own exp and log: the same token on every machine (docs/design/0001-numerics.md).
#include "ternion/sampler.h"

#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/params.h"
#include "runtime/philox.h"
#include "runtime/sampler_math.h"
#include "runtime/sampler_rank.h"
#include "runtime/sampler_scratch.h"

#include <math.h>

struct tn_sampler {
    tn_sampler_params params; // logit_bias points to `bias`
    uint32_t n_vocab;
    tn_logit_bias *bias; // owned copy

    bool penalises;     // some penalty is on: accepted tokens are counted
    bool only_lowers;   // bias and penalties raise no logit
    uint32_t *counts;   // [n_vocab] occurrences within the window
    uint32_t n_counted; // tokens with a count
    int32_t *window;    // ring of the last repeat_last_n tokens; unused where the window is the whole sequence
    size_t n_window;    // tokens in it, at most repeat_last_n
    size_t oldest;      // index of the oldest once the ring is full
    size_t window_capacity;

    tn_sampler_scratch *scratch;
    tn_sampler_scratch *own_scratch; // NULL where `scratch` is borrowed
};

struct tn_sampler_scratch {
    double *logits;           // [n_vocab] after bias and penalties
    tn_candidate *candidates; // [n_vocab]
    tn_candidate *ranking;    // [n_vocab] for tn_sampler_rank
    double *weights;          // [n_vocab] by rank
};

static tn_status check_range(const char *name, float value, float min, float max)
{
    if (value >= min && value <= max) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "sampler: %s is %g, but must be from %g to %g", name, (double)value, (double)min, (double)max);
}

static tn_status check_finite(const char *name, float value)
{
    if (isfinite(value)) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "sampler: %s is %g, but must be a finite number", name, (double)value);
}

static tn_status check_bias(const tn_sampler_params *p, uint32_t n_vocab)
{
    if (p->n_logit_bias > 0 && p->logit_bias == NULL)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: logit_bias is NULL with n_logit_bias %zu", p->n_logit_bias);
    for (size_t i = 0; i < p->n_logit_bias; i++) {
        const tn_logit_bias *b = &p->logit_bias[i];
        if (b->token < 0 || (uint32_t)b->token >= n_vocab)
            return tn_fail(TN_INVALID_ARGUMENT, "sampler: logit_bias for token %d, but the vocabulary is 0 to %u", b->token, n_vocab - 1);
        if (!isfinite(b->bias) && b->bias != -INFINITY)
            return tn_fail(TN_INVALID_ARGUMENT, "sampler: logit_bias of token %d is %g, but must be finite, or -inf to forbid the token",
                           b->token, (double)b->bias);
    }
    return TN_OK;
}

tn_status tn_sampler_check(const tn_sampler_params *p, uint32_t n_vocab)
{
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: n_vocab is %u, but must be from 1 to %d", n_vocab, INT32_MAX);
    TN_TRY(check_finite("temperature", p->temperature));
    TN_TRY(check_range("top_p", p->top_p, 0, 1));
    TN_TRY(check_range("min_p", p->min_p, 0, 1));
    if (p->repeat_last_n < -1)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: repeat_last_n is %d, but must be -1 (everything), 0 (off) or a number of tokens",
                       p->repeat_last_n);
    TN_TRY(check_finite("repeat_penalty", p->repeat_penalty));
    if (!(p->repeat_penalty > 0))
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: repeat_penalty is %g, but must be above 0 (1 is off)", (double)p->repeat_penalty);
    TN_TRY(check_finite("presence_penalty", p->presence_penalty));
    TN_TRY(check_finite("frequency_penalty", p->frequency_penalty));
    return check_bias(p, n_vocab);
}

tn_status tn_sampler_scratch_create(uint32_t n_vocab, tn_sampler_scratch **out_scratch)
{
    tn_status status;
    tn_sampler_scratch *scratch;
    *out_scratch = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *scratch, &scratch));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *scratch->logits, &scratch->logits));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *scratch->candidates, &scratch->candidates));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *scratch->ranking, &scratch->ranking));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *scratch->weights, &scratch->weights));
    *out_scratch = scratch;
    return TN_OK;
fail:
    tn_sampler_scratch_destroy(scratch);
    return status;
}

void tn_sampler_scratch_destroy(tn_sampler_scratch *scratch)
{
    if (!scratch) return;
    tn_free(scratch->logits);
    tn_free(scratch->candidates);
    tn_free(scratch->ranking);
    tn_free(scratch->weights);
    tn_free(scratch);
}

tn_status tn_sampler_create(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler **out_sampler)
{
    return tn_sampler_create_with(params, n_vocab, NULL, out_sampler);
}

tn_status tn_sampler_create_with(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler_scratch *scratch, tn_sampler **out_sampler)
{
    if (out_sampler == NULL) return tn_fail(TN_INVALID_ARGUMENT, "sampler: out_sampler is NULL");
    *out_sampler = NULL;
    tn_sampler_params known = tn_sampler_params_default();
    TN_TRY(TN_PARAMS_READ(tn_sampler_params, n_logit_bias, params, &known));
    params = &known;
    TN_TRY(tn_sampler_check(params, n_vocab));

    tn_status status;
    tn_sampler *s;
    TN_TRY(tn_alloc_zero(1, sizeof *s, &s));
    s->params = *params;
    s->n_vocab = n_vocab;
    s->penalises =
        params->repeat_last_n != 0 && (params->repeat_penalty != 1 || params->presence_penalty != 0 || params->frequency_penalty != 0);
    s->only_lowers = !s->penalises || (params->repeat_penalty >= 1 && params->presence_penalty >= 0 && params->frequency_penalty >= 0);
    TN_TRY_GOTO(tn_alloc(params->n_logit_bias, sizeof *s->bias, &s->bias));
    for (size_t i = 0; i < params->n_logit_bias; i++) {
        s->bias[i] = params->logit_bias[i];
        s->only_lowers = s->only_lowers && s->bias[i].bias <= 0;
    }
    s->params.logit_bias = s->bias;
    if (s->penalises) TN_TRY_GOTO(tn_alloc_zero(n_vocab, sizeof *s->counts, &s->counts));
    if (!scratch) TN_TRY_GOTO(tn_sampler_scratch_create(n_vocab, &s->own_scratch));
    s->scratch = scratch ? scratch : s->own_scratch;
    *out_sampler = s;
    return TN_OK;

fail:
    tn_sampler_destroy(s);
    return status;
}

void tn_sampler_destroy(tn_sampler *sampler)
{
    if (sampler == NULL) return;
    tn_sampler_scratch_destroy(sampler->own_scratch);
    tn_free(sampler->window);
    tn_free(sampler->counts);
    tn_free(sampler->bias);
    tn_free(sampler);
}

static void count_token(tn_sampler *s, int32_t token)
{
    if (s->counts[token] == 0) s->n_counted++;
    if (s->counts[token] < UINT32_MAX) s->counts[token]++;
}

static void uncount_token(tn_sampler *s, int32_t token)
{
    if (--s->counts[token] == 0) s->n_counted--;
}

tn_status tn_sampler_accept(tn_sampler *sampler, int32_t token)
{
    if (sampler == NULL) return tn_fail(TN_INVALID_ARGUMENT, "sampler: the sampler is NULL");
    if (token < 0 || (uint32_t)token >= sampler->n_vocab)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: token %d cannot be accepted, the vocabulary is 0 to %u", token, sampler->n_vocab - 1);
    if (!sampler->penalises) return TN_OK;

    const int32_t last_n = sampler->params.repeat_last_n;
    if (last_n < 0) {
        count_token(sampler, token);
        return TN_OK;
    }
    if (sampler->n_window < (size_t)last_n) {
        TN_TRY(tn_grow(&sampler->window, &sampler->window_capacity, sampler->n_window + 1, sizeof *sampler->window));
        sampler->window[sampler->n_window++] = token;
    } else {
        uncount_token(sampler, sampler->window[sampler->oldest]);
        sampler->window[sampler->oldest] = token;
        sampler->oldest = (sampler->oldest + 1) % (size_t)last_n;
    }
    count_token(sampler, token);
    return TN_OK;
}

// Logits that may be lowered are L in number. Of the k + L best ones k at least stay as they are, so one that is not among them, lowered or
// not, has k before it in the ranking after bias and penalties too. A logit that is raised could come from anywhere.
uint32_t tn_sampler_n_top(const tn_sampler *s)
{
    if (!s || !s->only_lowers) return 0;
    const bool greedy = !(s->params.temperature > 0);
    if (!greedy && s->params.top_k <= 0) return 0;
    const uint64_t n = (greedy ? 1 : (uint64_t)s->params.top_k) + s->params.n_logit_bias + s->n_counted;
    return n < s->n_vocab ? (uint32_t)n : 0;
}

// Copies the logits to f64 and applies bias, then penalties, as llama.cpp orders them.  Minus infinity stays: the token is forbidden.
static tn_status adjust_logits(tn_sampler *s, const float *logits)
{
    for (uint32_t id = 0; id < s->n_vocab; id++) {
        if (!(logits[id] < INFINITY)) // NaN too
            return tn_fail(TN_INVALID_ARGUMENT, "sampler: the logit of token %u is %g: pass the logits of a sequence that is not poisoned",
                           id, (double)logits[id]);
        s->scratch->logits[id] = (double)logits[id];
    }
    for (size_t i = 0; i < s->params.n_logit_bias; i++) s->scratch->logits[s->bias[i].token] += (double)s->bias[i].bias;
    if (!s->penalises) return TN_OK;

    const double repeat = (double)s->params.repeat_penalty;
    const double presence = (double)s->params.presence_penalty, frequency = (double)s->params.frequency_penalty;
    for (uint32_t id = 0; id < s->n_vocab; id++) {
        if (s->counts[id] == 0) continue;
        const double z = s->scratch->logits[id];
        const double repeated = z > 0 ? z / repeat : z * repeat;
        s->scratch->logits[id] = repeated - (((double)s->counts[id] * frequency) + presence);
    }
    return TN_OK;
}

static int32_t choose_greedily(const tn_sampler *s)
{
    uint32_t best = 0;
    for (uint32_t id = 1; id < s->n_vocab; id++)
        if (s->scratch->logits[id] > s->scratch->logits[best]) best = id;
    return (int32_t)best;
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

// How many min-p keeps: those at least min_p times as probable as the best. The best itself always is.
static size_t keep_min_p(const tn_candidate *c, size_t n, float min_p)
{
    if (min_p <= 0) return n;
    const double least = c[0].logit + tn_sampler_log((double)min_p);
    size_t kept = 1;
    while (kept < n && c[kept].logit >= least) kept++;
    return kept;
}

// Draws from the softmax of n >= 1 ranked candidates at the sampler's temperature: the first whose running sum of weights passes u * sum.
static int32_t draw(const tn_sampler *s, size_t n, uint32_t position)
{
    const tn_candidate *c = s->scratch->candidates;
    const double temperature = (double)s->params.temperature;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        s->scratch->weights[i] = tn_sampler_exp((c[i].logit - c[0].logit) / temperature);
        sum += s->scratch->weights[i];
    }
    const double wanted = tn_philox_uniform(s->params.seed, s->params.sequence, position) * sum;
    double reached = s->scratch->weights[0];
    size_t chosen = 0;
    while (!(reached > wanted)) reached += s->scratch->weights[++chosen]; // ends: u < 1 and the running sum ends at `sum`
    return c[chosen].id;
}

static tn_status sample(tn_sampler *sampler, const float *logits, uint32_t position, int32_t *out_token)
{
    if (out_token != NULL) *out_token = 0;
    if (sampler == NULL || logits == NULL || out_token == NULL)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: sampler, logits and out_token must not be NULL");
    TN_TRY(adjust_logits(sampler, logits));

    size_t n = 0;
    for (uint32_t id = 0; id < sampler->n_vocab; id++) {
        if (sampler->scratch->logits[id] == -INFINITY) continue;
        sampler->scratch->candidates[n].logit = sampler->scratch->logits[id];
        sampler->scratch->candidates[n++].id = (int32_t)id;
    }
    if (n == 0) return tn_fail(TN_INVALID_ARGUMENT, "sampler: every token is forbidden: remove a logit bias of -inf");
    if (!(sampler->params.temperature > 0)) {
        *out_token = choose_greedily(sampler);
        return TN_OK;
    }
    const size_t k = sampler->params.top_k > 0 ? (size_t)sampler->params.top_k : n;
    n = tn_sampler_rank(sampler->scratch->candidates, n, k, sampler->scratch->ranking);
    n = keep_top_p(sampler->scratch->candidates, n, sampler->params.top_p, sampler->scratch->weights);
    n = keep_min_p(sampler->scratch->candidates, n, sampler->params.min_p);
    *out_token = draw(sampler, n, position);
    return TN_OK;
}

tn_status tn_sampler_sample(tn_sampler *sampler, const float *logits, uint32_t position, int32_t *out_token)
{
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = sample(sampler, logits, position, out_token);
    tn_float_mode_leave(mode);
    return status;
}
