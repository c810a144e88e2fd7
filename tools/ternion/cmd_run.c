// ternion run: continues a text.
#include "interrupt.h"
#include "output.h"
#include "report.h"
#include "sampling.h"
#include "summary.h"
#include "two_stage_option.h"

#include <string.h>
#include <unistd.h>

#define STORY "Once upon a time"

// The prompt's text: as asked for, or the beginning of a story, which is then part of what is shown.
static int read_prompt(tn_cli *cli, const tn_cli_engine *engine, tn_cli_prompt *prompt)
{
    size_t n_ctx = tn_cli_context(cli, engine), most = TN_CLI_INPUT_MAX / TN_CLI_TOKEN_BYTES_MAX;
    int rc = tn_cli_prompt_read(cli, prompt, TN_CLI_TOKEN_BYTES_MAX * (n_ctx < most ? n_ctx : most));
    if (rc) return rc;
    if (prompt->from_terminal) {
        prompt->text = strdup(STORY);
        prompt->len = strlen(STORY);
        return prompt->text ? 0 : tn_cli_out_of_memory();
    }
    // Editors and echo end a file with a newline; a model takes it for the end of a line of text.
    if (prompt->from_file && prompt->len > 0 && prompt->text[prompt->len - 1] == '\n') prompt->len--;
    return 0;
}

// Opens all that the answer needs. Flags and prompt are checked before weights are packed.
static int prepare(tn_cli *cli, tn_cli_engine *engine, tn_cli_prompt *prompt, tn_cli_sampling *w)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    int rc = tn_cli_engine_find_model(cli, engine);
    if (rc == 0) rc = tn_cli_engine_open_model(cli, engine, TN_MODEL_LOAD_ALL); // its context bounds the text
    if (rc == 0) rc = read_prompt(cli, engine, prompt);
    if (rc == 0) rc = tn_cli_prompt_encode(cli, engine, prompt, TN_ENCODE_ADD_SPECIAL);
    if (rc) return rc;
    if (prompt->n_tokens == 0) {
        return tn_cli_fail("ternion run -p \"" STORY "\"", "the prompt is empty, and this model has no token that begins a text");
    }
    params.n_ctx = tn_cli_context(cli, engine);
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    rc = tn_cli_prompt_check(cli, engine, prompt, params.n_ctx);
    if (rc == 0) rc = tn_cli_sampling_read(cli, engine, w);
    if (rc == 0) rc = tn_cli_two_stage_for(cli, engine->tokenizer, &w->sampler, &params.two_stage);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, engine, 1, params.n_ctx);
    if (rc) return rc;
    tn_cli_engine_note(engine, params.n_ctx);
    return tn_cli_engine_start(cli, engine, params);
}

static bool shows_prompt(const tn_cli *cli, const tn_cli_prompt *prompt)
{
    return prompt->from_terminal || tn_cli_given(&cli->options, TN_OPT_DISPLAY);
}

// The summary and a terminal's prompt should begin in a line of their own.
static int end_line(const tn_cli *cli, const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    bool ended = a->text_len > 0 ? a->text[a->text_len - 1] == '\n' : !shows_prompt(cli, prompt);
    bool seen_together = isatty(STDOUT_FILENO) || (!cli->quiet && tn_cli_one_output());
    return seen_together && !ended ? tn_cli_print("\n", 1) : 0;
}

static int answer_prompt(tn_cli *cli, tn_cli_engine *engine, const tn_cli_prompt *prompt, tn_cli_sampling *w, tn_cli_answer *answer)
{
    tn_cli_generate_params params = {.sampler = &w->sampler,
                                     .stops = (const char *const *)w->stops,
                                     .n_stops = w->n_stops,
                                     .special = tn_cli_given(&cli->options, TN_OPT_SPECIAL),
                                     .print = !cli->json};
    tn_cli_interrupt_install();
    if (cli->verbosity > 0) tn_cli_note_sampling(&w->sampler);
    int rc = shows_prompt(cli, prompt) && !cli->json ? tn_cli_print(prompt->text, prompt->len) : 0;
    if (rc == 0) rc = tn_cli_generate(cli, engine, prompt, &params, answer);
    if (rc == 0) rc = cli->json ? tn_cli_print_answer_json(engine, prompt, NULL, &w->sampler, answer) : end_line(cli, prompt, answer);
    if (rc) return rc;
    tn_cli_note_summary(engine, prompt, w->sampler.seed, answer);
    if (cli->verbosity > 0) tn_cli_note_prediction(engine, prompt, answer);
    if (cli->verbosity > 0) tn_cli_two_stage_note_use(engine);
    return answer->stop == TN_CLI_STOP_INTERRUPTED ? TN_CLI_INTERRUPTED : TN_CLI_OK;
}

int tn_cli_run(tn_cli *cli)
{
    tn_cli_engine engine = {0};
    tn_cli_prompt prompt = {0};
    tn_cli_answer answer = {0};
    tn_cli_sampling w = {0};
    int rc = prepare(cli, &engine, &prompt, &w);
    if (rc == 0) rc = answer_prompt(cli, &engine, &prompt, &w, &answer);
    tn_cli_sampling_deinit(&w);
    tn_cli_answer_deinit(&answer);
    tn_cli_prompt_deinit(&prompt);
    tn_cli_engine_close(&engine);
    return rc;
}
