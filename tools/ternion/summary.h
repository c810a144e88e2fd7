// What is said of an answer once it is there: a line on standard error, or a JSON object on standard output.
#ifndef TERNION_TOOL_SUMMARY_H
#define TERNION_TOOL_SUMMARY_H

#include "generate.h"

void tn_cli_note_sampling(const tn_sampler_params *sampler);
// How fast prompt and answer were, why it ended, what memory it took.
void tn_cli_note_summary(const tn_cli_engine *engine, const tn_cli_prompt *prompt, uint64_t seed, const tn_cli_answer *answer);
// What was predicted of the reply's speed beside it, where anything was.
void tn_cli_note_prediction(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_answer *answer);
// `chat_template`: its name, NULL where the prompt is no conversation. Returns 0 or the exit status after a message.
int tn_cli_print_answer_json(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const char *chat_template,
                             const tn_sampler_params *sampler, const tn_cli_answer *answer);
// Whether answer and summary end up in one place, as with 2>&1.
bool tn_cli_one_output(void);

#endif
