// The text that subjects are compared on, and how it is cut.
#include "compare.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_BYTES_MAX ((uint64_t)64 << 20) // of logits that a call gives
#define ROWS_MAX       512u

// What is taken without -f: plain words, so that every tokenizer has tokens for them.
static const char built_in_text[] =
    "Once upon a time there was a small mill beside a river. The miller had two daughters, Anna and Grace, and an old grey cat who slept "
    "on "
    "the sacks of flour. Every morning the girls carried bread to the village. The road went through a dark wood, and in the wood there "
    "was "
    "a stone bridge. One day, after a night of heavy rain, they found that the bridge was gone. The water was high and brown, and it ran "
    "so "
    "fast that no one could walk through it. \"What shall we do?\" said Anna. \"The people are waiting for their bread.\" Grace sat down "
    "on a "
    "log and thought for a long time. Then she saw a rope which hung from a tree on the other side. \"If we had a friend over there,\" she "
    "said, \"he could throw us the rope.\" At that moment the old grey cat, who had followed them all the way, stood up, looked at the "
    "water, "
    "and jumped from stone to stone until he was across. He took the rope between his teeth and came back the same way, wet and proud. "
    "The girls tied the rope to a strong tree. They held it with both hands and went slowly over the river, one step after another, and "
    "not one loaf of bread fell into the water. In the village everybody wanted to hear the story. The baker gave them honey, the teacher "
    "gave them a book, and the children gave the cat a bowl of warm milk. When the sun went down, the men of the village came with wood "
    "and nails, and before it was dark there was a new bridge. The girls walked home under the stars and sang. Their father stood at the "
    "door of the mill and was very happy to see them. \"You are late,\" he said, \"but you are brave.\" From that day on the cat no longer "
    "slept on the sacks of flour. He had a soft chair of his own beside the fire, and whenever it rained at night, he opened one eye, "
    "listened to the river, and smiled.\n";

static int read_bytes(tn_cli_compare *job)
{
    if (tn_cli_given(&job->cli->options, TN_OPT_FILE)) return tn_cli_prompt_read(job->cli, &job->text, TN_CLI_INPUT_MAX);
    job->text.text = strdup(built_in_text);
    job->text.len = sizeof built_in_text - 1;
    return job->text.text ? 0 : tn_cli_out_of_memory();
}

// Without room for replies there are none; the one who asked for them is told why.
static int check_replies(tn_cli_compare *job)
{
    const tn_cli_options *o = &job->cli->options;
    const uint32_t n_prompt = TN_CLI_COMPARE_GREEDY_PROMPT, n_positions = job->engine.info.n_ctx_train;
    const bool too_long = n_positions < n_prompt + job->n_greedy;
    if (too_long && tn_cli_given(o, TN_OPT_COMPARE_GREEDY))
        return tn_cli_usage("--greedy %u: with a prompt of %u tokens that is more than the model's %u positions", job->n_greedy, n_prompt,
                            n_positions);
    if (too_long) tn_cli_warn("no replies are compared: prompts and replies are longer than the model's %u positions", n_positions);
    if (job->text.n_tokens < n_prompt)
        tn_cli_warn("no replies are compared: the text has %zu tokens, and a prompt is %u of it", job->text.n_tokens, n_prompt);
    if (too_long || job->text.n_tokens < n_prompt) job->n_greedy_prompts = 0;
    return 0;
}

int tn_cli_compare_read_text(tn_cli_compare *job)
{
    const tn_cli_options *o = &job->cli->options;
    const tn_model_info *info = &job->engine.info;
    int rc = read_bytes(job);
    if (rc == 0) rc = tn_cli_prompt_encode(job->cli, &job->engine, &job->text, TN_ENCODE_ADD_SPECIAL);
    if (rc) return rc;
    if (tn_cli_int(o, TN_OPT_COMPARE_CTX) > info->n_ctx_train && tn_cli_given(o, TN_OPT_COMPARE_CTX))
        return tn_cli_usage("-c %lld: the model has %u positions", (long long)tn_cli_int(o, TN_OPT_COMPARE_CTX), info->n_ctx_train);
    if (job->text.n_tokens < 8)
        return tn_cli_fail("ternion compare -f FILE", "the text has %zu tokens: give a longer one", job->text.n_tokens);
    uint64_t n = (uint64_t)tn_cli_int(o, TN_OPT_COMPARE_CTX);
    if (n > info->n_ctx_train) n = info->n_ctx_train;
    if (n > job->text.n_tokens) n = job->text.n_tokens;
    job->n_context = (uint32_t)n;
    const uint64_t n_all = job->text.n_tokens / n, n_wanted = (uint64_t)tn_cli_int(o, TN_OPT_COMPARE_CHUNKS);
    job->n_chunks = (uint32_t)(n_wanted && n_wanted < n_all ? n_wanted : n_all);
    const uint64_t n_rows = ROWS_BYTES_MAX / ((uint64_t)info->n_vocab * sizeof(float));
    job->n_rows_max = (uint32_t)(n_rows < 1 ? 1 : n_rows > ROWS_MAX ? ROWS_MAX : n_rows);
    if (job->n_rows_max > job->n_context) job->n_rows_max = job->n_context;

    // Replies begin where a prompt lies whole in the text and both fit into the context.
    job->n_greedy = (uint32_t)tn_cli_int(o, TN_OPT_COMPARE_GREEDY);
    job->n_greedy_prompts = (uint32_t)tn_cli_int(o, TN_OPT_COMPARE_GREEDY_PROMPTS);
    if (job->n_greedy_prompts) rc = check_replies(job);
    return rc;
}
