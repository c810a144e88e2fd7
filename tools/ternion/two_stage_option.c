// The two-stage head's flag and its notes.
#include "two_stage_option.h"

#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <string.h>

// Smaller copies are not worth a line.
static const uint64_t WORTH_BYTES = 16u << 20;

const char *tn_cli_two_stage(const tn_cli *cli)
{
    const char *given = tn_cli_text(&cli->options, TN_OPT_TWO_STAGE);
    return given ? given : cli->verb == TN_VERB_BENCH ? "off" : "auto";
}

int tn_cli_two_stage_for(const tn_cli *cli, const tn_tokenizer *tokenizer, const tn_sampler_params *params, const char **out_two_stage)
{
    tn_sampler *sampler = NULL;
    if (tn_sampler_create(params, (uint32_t)tn_tokenizer_n_vocab(tokenizer), &sampler) != TN_OK) return tn_cli_fail_status(NULL);
    const bool looks_at_all = tn_sampler_n_top(sampler) == 0;
    tn_sampler_destroy(sampler);
    *out_two_stage = looks_at_all ? "off" : tn_cli_two_stage(cli);
    if (!looks_at_all || strcmp(tn_cli_two_stage(cli), "on") != 0) return 0;
    return tn_cli_usage(
        "--two-stage on: sampling would look at every logit: give --top-k a number, --temp 0, or leave out what raises logits "
        "(-l above 0, penalties that reward)");
}

bool tn_cli_two_stage_note(const tn_cli_engine *engine)
{
    tn_two_stage_info info = TN_TWO_STAGE_INFO_INIT;
    tn_session_costs costs = TN_SESSION_COSTS_INIT;
    char whole[24], copy[24];
    if (tn_session_get_two_stage(engine->session, &info) != TN_OK || tn_session_get_costs(engine->session, &costs) != TN_OK ||
        info.bytes < WORTH_BYTES)
        return false;
    tn_cli_format_bytes(costs.head_bytes, whole, sizeof whole);
    tn_cli_format_bytes(info.bytes, copy, sizeof copy);
    tn_cli_note(
        "head  two stages: a token reads a copy of %s and what may win of %s, with the same tokens; --two-stage off saves that memory",
        copy, whole);
    return true;
}

void tn_cli_two_stage_note_use(const tn_cli_engine *engine)
{
    tn_two_stage_info info = TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(engine->session, &info) != TN_OK || info.bytes == 0) return;
    tn_cli_note("two stages  %" PRIu64 " rows of logits, %.1f of %u computed exactly; %" PRIu64 " rows whole", info.n_rows,
                info.n_rows ? (double)info.n_kept / (double)info.n_rows : 0, (unsigned)engine->session_info.n_vocab, info.n_whole);
}
