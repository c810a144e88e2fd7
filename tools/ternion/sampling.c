// Samplers, biases and stop strings from the flags.
#include "sampling.h"

#include "numbers.h"
#include "prompt.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int add_stops(const tn_cli *cli, tn_cli_option_id id, tn_cli_sampling *w)
{
    const tn_cli_value *value = &cli->options.values[id];
    for (size_t i = 0; i < value->n; i++) {
        size_t len = 0;
        int rc = tn_cli_unescape(cli, value->list[i], &w->stops[w->n_stops], &len);
        if (rc) return rc;
        w->n_stops++;
        if (len == 0) return tn_cli_usage("--stop: the text is empty");
        if (strlen(w->stops[w->n_stops - 1]) != len) return tn_cli_usage("--stop: \\x00 cannot be part of the text");
    }
    return 0;
}

// Biases of -l, and those that forbid every token that ends an answer.
static int add_biases(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_sampling *w)
{
    const tn_cli_value *value = &cli->options.values[TN_OPT_LOGIT_BIAS];
    int32_t n_vocab = tn_tokenizer_n_vocab(engine->tokenizer);
    char why[160];
    size_t n = 0, capacity = value->n + (tn_cli_given(&cli->options, TN_OPT_IGNORE_EOS) ? (size_t)n_vocab : 0);
    if (capacity == 0) return 0;
    w->bias = malloc(capacity * sizeof *w->bias);
    if (!w->bias) return tn_cli_out_of_memory();
    for (size_t i = 0; i < value->n; i++, n++) {
        if (!tn_cli_parse_bias(value->list[i], &w->bias[n].token, &w->bias[n].bias, why, sizeof why)) {
            return tn_cli_usage("-l: %s", why);
        }
        if (w->bias[n].token >= n_vocab) {
            return tn_cli_usage("-l: token %" PRId32 " is not one of the model's %" PRId32, w->bias[n].token, n_vocab);
        }
    }
    for (int32_t id = 0; tn_cli_given(&cli->options, TN_OPT_IGNORE_EOS) && id < n_vocab; id++) {
        if (tn_tokenizer_is_eog(engine->tokenizer, id)) w->bias[n++] = (tn_logit_bias){id, -INFINITY};
    }
    w->sampler.logit_bias = w->bias;
    w->sampler.n_logit_bias = n;
    return 0;
}

int tn_cli_sampling_read(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_sampling *w)
{
    const tn_cli_options *o = &cli->options;
    uint32_t random = 0;
    char why[64];
    w->sampler = tn_sampler_params_default();
    if (tn_cli_int(o, TN_OPT_SEED) < 0 && getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        snprintf(why, sizeof why, "ternion %s --seed 1", tn_cli_verb_name(cli));
        return tn_cli_fail(why, "the system gives no random seed");
    }
    w->sampler.seed = tn_cli_int(o, TN_OPT_SEED) < 0 ? random : (uint64_t)tn_cli_int(o, TN_OPT_SEED);
    w->sampler.temperature = (float)tn_cli_real(o, TN_OPT_TEMP);
    w->sampler.top_k = (int32_t)tn_cli_int(o, TN_OPT_TOP_K);
    w->sampler.top_p = (float)tn_cli_real(o, TN_OPT_TOP_P);
    w->sampler.min_p = (float)tn_cli_real(o, TN_OPT_MIN_P);
    w->sampler.repeat_last_n = (int32_t)tn_cli_int(o, TN_OPT_REPEAT_LAST_N);
    w->sampler.repeat_penalty = (float)tn_cli_real(o, TN_OPT_REPEAT_PENALTY);
    if (!(w->sampler.repeat_penalty > 0)) return tn_cli_usage("--repeat-penalty: it must be above 0; 1 is off");
    w->sampler.presence_penalty = (float)tn_cli_real(o, TN_OPT_PRESENCE_PENALTY);
    w->sampler.frequency_penalty = (float)tn_cli_real(o, TN_OPT_FREQUENCY_PENALTY);
    int rc = add_stops(cli, TN_OPT_STOP, w);
    if (rc == 0) rc = add_stops(cli, TN_OPT_REVERSE_PROMPT, w);
    return rc ? rc : add_biases(cli, engine, w);
}

void tn_cli_sampling_deinit(tn_cli_sampling *sampling)
{
    for (size_t i = 0; i < sampling->n_stops; i++) free(sampling->stops[i]);
    free(sampling->bias);
    memset(sampling, 0, sizeof *sampling);
}
