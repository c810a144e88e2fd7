// --two-stage as the verbs understand it, and what is said of it.
#ifndef TERNION_TOOL_TWO_STAGE_OPTION_H
#define TERNION_TOOL_TWO_STAGE_OPTION_H

#include "engine.h"

// What a session is asked for. Benches measure it only where they are told to: a figure without a flag is that of the whole head.
const char *tn_cli_two_stage(const tn_cli *cli);
// The same for answers by this sampler: none where it looks at every logit. Returns 0, or the exit status after a message where it was
// asked for nevertheless.
int tn_cli_two_stage_for(const tn_cli *cli, const tn_tokenizer *tokenizer, const tn_sampler_params *sampler, const char **out_two_stage);
// Says what the session's copy takes and spares; true where that is worth a line.
bool tn_cli_two_stage_note(const tn_cli_engine *engine);
// With -v: what it computed.
void tn_cli_two_stage_note_use(const tn_cli_engine *engine);

#endif
