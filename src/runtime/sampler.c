// Samplers: their settings, checked, and what they remember of a sequence. sampler_chain.c chooses.
// All arithmetic is f64 + - * / in ranking order with own exp and log: the same token on every machine (docs/design/0001-numerics.md).
#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/params.h"
#include "runtime/sampler_internal.h"

#include <math.h>
#include <stdlib.h>

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

static int compare_bias(const void *left, const void *right)
{
    const tn_ordered_bias *a = left, *b = right;
    if (a->token != b->token) return a->token < b->token ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static tn_status copy_bias(tn_sampler *s, const tn_sampler_params *params)
{
    TN_TRY(tn_alloc(params->n_logit_bias, sizeof *s->bias, &s->bias));
    for (size_t i = 0; i < params->n_logit_bias; i++) {
        s->bias[i] = (tn_ordered_bias){params->logit_bias[i].token, params->logit_bias[i].bias, i};
        s->only_lowers = s->only_lowers && s->bias[i].bias <= 0;
    }
    qsort(s->bias, params->n_logit_bias, sizeof *s->bias, compare_bias);
    return TN_OK;
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
    s->params.logit_bias = NULL;
    s->n_vocab = n_vocab;
    s->penalises =
        params->repeat_last_n != 0 && (params->repeat_penalty != 1 || params->presence_penalty != 0 || params->frequency_penalty != 0);
    s->only_lowers = !s->penalises || (params->repeat_penalty >= 1 && params->presence_penalty >= 0 && params->frequency_penalty >= 0);
    TN_TRY_GOTO(copy_bias(s, params));
    if (scratch == NULL) TN_TRY_GOTO(tn_sampler_scratch_create(&s->own));
    s->scratch = scratch == NULL ? s->own : scratch;
    TN_TRY_GOTO(tn_sampler_scratch_reserve(s->scratch, n_vocab));
    *out_sampler = s;
    return TN_OK;

fail:
    tn_sampler_destroy(s);
    return status;
}

tn_status tn_sampler_create(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler **out_sampler)
{
    return tn_sampler_create_with(params, n_vocab, NULL, out_sampler);
}

void tn_sampler_destroy(tn_sampler *sampler)
{
    if (sampler == NULL) return;
    tn_sampler_scratch_destroy(sampler->own);
    tn_token_window_deinit(&sampler->window);
    tn_free(sampler->bias);
    tn_free(sampler);
}

tn_status tn_sampler_accept(tn_sampler *sampler, int32_t token)
{
    if (sampler == NULL) return tn_fail(TN_INVALID_ARGUMENT, "sampler: the sampler is NULL");
    if (token < 0 || (uint32_t)token >= sampler->n_vocab)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: token %d cannot be accepted, the vocabulary is 0 to %u", token, sampler->n_vocab - 1);
    if (!sampler->penalises) return TN_OK;
    return tn_token_window_add(&sampler->window, sampler->params.repeat_last_n, token);
}

// Logits that may be lowered are L in number. Of the k + L best ones k at least stay as they are, so one that is not among them, lowered or
// not, has k before it in the ranking after bias and penalties too. A logit that is raised could come from anywhere.
uint32_t tn_sampler_n_top(const tn_sampler *s)
{
    if (!s || !s->only_lowers) return 0;
    const bool greedy = !(s->params.temperature > 0);
    if (!greedy && s->params.top_k <= 0) return 0;
    const uint64_t n = (greedy ? 1 : (uint64_t)s->params.top_k) + s->params.n_logit_bias + s->window.n_counts;
    return n < s->n_vocab ? (uint32_t)n : 0;
}

tn_status tn_sampler_sample(tn_sampler *sampler, const float *logits, uint32_t position, int32_t *out_token)
{
    if (out_token != NULL) *out_token = 0;
    if (sampler == NULL || logits == NULL || out_token == NULL)
        return tn_fail(TN_INVALID_ARGUMENT, "sampler: sampler, logits and out_token must not be NULL");
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = tn_sampler_choose(sampler, logits, position, out_token);
    tn_float_mode_leave(mode);
    return status;
}

tn_status tn_sampler_sample_among(tn_sampler *sampler, const float *logits, const uint32_t *ids, uint32_t n, uint32_t position,
                                  int32_t *out_token)
{
    *out_token = 0;
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = tn_sampler_choose_among(sampler, logits, ids, n, position, out_token);
    tn_float_mode_leave(mode);
    return status;
}
