// Fuzz target: parses any bytes as a line of a batch file, and writes the line that answers it.
#include "batch_result.h"
#include "output.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_CTX = 256 };

// The program around the parser: nothing is printed, and nobody asks for the name of a verb.
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {{0}};
void tn_cli_warn(const char *fmt, ...) { (void)fmt; }
int tn_cli_usage(const char *fmt, ...)
{
    (void)fmt;
    return TN_CLI_WRONG_USAGE;
}
int tn_cli_fail(const char *try_command, const char *fmt, ...)
{
    (void)try_command;
    (void)fmt;
    return TN_CLI_FAILED;
}
int tn_cli_fail_status(const char *try_command)
{
    (void)try_command;
    return TN_CLI_FAILED;
}
int tn_cli_out_of_memory(void) { return TN_CLI_FAILED; }
int tn_cli_print(const char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    return 0;
}

// The default model's vocabulary, with a template that it lacks the tokens of: messages are read, and refused at the end.
static tn_cli_batch_context *context_of_all(void)
{
    static tn_cli cli;
    static tn_cli_engine engine;
    static tn_cli_batch_context context;
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    if (engine.model) return &context;
    params.load = TN_MODEL_LOAD_TOKENIZER;
    if (tn_model_open(TN_SOURCE_DIR "/models/ternion-tales-6m.i2_s.gguf", &params, &engine.model) != TN_OK) abort();
    engine.tokenizer = tn_model_tokenizer(engine.model);
    engine.session_info.n_ctx = N_CTX;
    tn_model_get_info(engine.model, &engine.info);
    if (tn_cli_batch_context_init(&cli, &engine, &context) != 0) abort();
    if (tn_chat_template_find("qwen3", &context.chat_template) != TN_OK) abort();
    return &context;
}

// What is promised of a line that was understood.
static void check_request(const tn_cli_batch_request *request)
{
    if (!request->custom_id || request->n_prompts == 0 || request->params.sampler != &request->sampler) abort();
    if (request->params.n_samples == 0 || request->params.n_samples > TN_REQUEST_SAMPLES_MAX) abort();
    if (request->n_choices != (request->params.n_best ? request->params.n_best : request->params.n_samples)) abort();
    for (size_t i = 0; i < request->n_prompts; i++) {
        if (request->n_prompt_tokens[i] == 0 || request->n_prompt_tokens[i] > N_CTX) abort();
    }
}

static void answer(const tn_cli_batch_context *context, const tn_cli_batch_where *where, const tn_cli_batch_request *request)
{
    static const tn_sample sample = {.text = "", .finish = TN_FINISH_END};
    tn_result *results = calloc(request->n_prompts, sizeof *results);
    const tn_result **list = calloc(request->n_prompts, sizeof *list);
    size_t len = 0;
    for (size_t i = 0; results && list && i < request->n_prompts; i++) {
        results[i].samples = &sample;
        results[i].n_samples = 1;
        list[i] = &results[i];
    }
    char *line = results && list ? tn_cli_batch_result_line(context, where, request, list, &len) : NULL;
    if (!line || line[len - 1] != '\n' || memchr(line, '\n', len - 1)) abort();
    free(line);
    free(results);
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tn_cli_batch_where where = {.line = 1, .hash = 2, .model = "model", .fingerprint = "fp", .created = 1};
    tn_cli_batch_context *context = context_of_all();
    tn_cli_batch_request request;
    tn_cli_batch_error error;
    size_t len = 0;
    if (tn_cli_batch_request_parse(context, 1, (const char *)data, size, &request, &error)) {
        check_request(&request);
        answer(context, &where, &request);
    } else {
        char *line = error.message[0] && error.code[0] ? tn_cli_batch_error_line(&where, request.custom_id, &error, &len) : NULL;
        if (!line || line[len - 1] != '\n' || memchr(line, '\n', len - 1)) abort();
        free(line);
    }
    tn_cli_batch_request_deinit(&request);
    return 0;
}
