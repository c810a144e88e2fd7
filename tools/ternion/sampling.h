// What the flags ask the sampler and the text stream for.
#ifndef TERNION_TOOL_SAMPLING_H
#define TERNION_TOOL_SAMPLING_H

#include "engine.h"

// Zero-initialise; owns its arrays.
typedef struct tn_cli_sampling {
    tn_sampler_params sampler;
    tn_logit_bias *bias;
    char *stops[2 * TN_CLI_LIST_MAX];
    size_t n_stops;
} tn_cli_sampling;

// Returns 0 or the exit status after a message.
int tn_cli_sampling_read(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_sampling *sampling);
void tn_cli_sampling_deinit(tn_cli_sampling *sampling);

#endif
