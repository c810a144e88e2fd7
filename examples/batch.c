// Many requests at once: one told as it is written, one with two answers fetched when it is finished, one cancelled.
// usage: batch_c [MODEL [TEXT [SEED]]]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ternion/ternion.h>

#ifndef TN_DEFAULT_MODEL // from the root of the repository
#define TN_DEFAULT_MODEL "models/ternion-tales-6m.i2_s.gguf"
#endif

enum { N_GENERATE = 48, N_PROMPT_MAX = 256, N_SEQS = 4, N_STEPS_BEFORE_CANCEL = 12 };

static void check(tn_status status)
{
    if (status == TN_OK) return;
    fprintf(stderr, "batch: %s\n", tn_error_last()->message);
    exit(1);
}

// Called by tn_batcher_step for every token: its text never ends within a character.
static void on_token(void *user, const tn_token_event *event)
{
    (void)user;
    printf("%.*s", (int)event->text_len, event->text);
    fflush(stdout);
}

// The result is borrowed; with this callback it does not wait for tn_batcher_poll.
static void on_end(void *user, const tn_result *result)
{
    (void)user;
    printf("\n");
    if (result->status != TN_OK) fprintf(stderr, "batch: request %llu: %s\n", (unsigned long long)result->request, result->message);
}

static void print_result(const tn_result *result, const char *prompt)
{
    for (uint32_t i = 0; i < result->n_samples; i++) {
        const tn_sample *sample = &result->samples[i];
        const char *end = sample->finish == TN_FINISH_NONE ? " [cancelled]" : "";
        printf("[%s %u] %s%s%s\n", (const char *)result->user, (unsigned)sample->index, prompt, sample->text, end);
    }
}

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    tn_sampler_params sampling = tn_sampler_params_default();
    sampling.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    tn_model *model;
    tn_host *host;
    tn_session *session;
    tn_batcher *batcher;
    tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    session_params.n_seqs_max = N_SEQS; // answers that are written at a time: all memory is taken here
    check(tn_model_open(argc > 1 ? argv[1] : TN_DEFAULT_MODEL, NULL, &model));
    check(tn_host_open(NULL, &host));
    check(tn_session_create(model, host, &session_params, &session));
    check(tn_batcher_create(session, NULL, &batcher));

    int32_t tokens[N_PROMPT_MAX];
    size_t n = 0;
    check(tn_tokenizer_encode(tn_model_tokenizer(model), prompt, strlen(prompt), TN_ENCODE_ADD_SPECIAL, tokens, N_PROMPT_MAX, &n));
    if (n == 0 || n > N_PROMPT_MAX) {
        fprintf(stderr, "batch: the text must have 1 to %d tokens, not %zu\n", (int)N_PROMPT_MAX, n);
        return 1;
    }

    tn_request_params request = TN_REQUEST_PARAMS_INIT;
    request.tokens = tokens;
    request.n_tokens = n;
    request.sampler = &sampling;
    request.n_tokens_max = N_GENERATE;

    tn_request_params told = request, fetched = request, given_up = request;
    uint64_t to_cancel;
    told.on_token = on_token;
    told.on_end = on_end;
    fetched.n_samples = 2; // both answers share the memory of the prompt
    fetched.user = "fetched";
    given_up.user = "given up";
    check(tn_batcher_submit(batcher, &told, NULL));
    check(tn_batcher_submit(batcher, &fetched, NULL));
    check(tn_batcher_submit(batcher, &given_up, &to_cancel));

    printf("[told] %s", prompt);
    uint32_t left = 1;
    for (int step = 0; left > 0; step++) {
        if (step == N_STEPS_BEFORE_CANCEL && tn_batcher_cancel(batcher, to_cancel) == TN_NOT_FOUND)
            fprintf(stderr, "batch: the answer was finished before it could be cancelled\n");
        check(tn_batcher_step(batcher, &left));
    }
    for (tn_result *result = tn_batcher_poll(batcher); result; result = tn_batcher_poll(batcher)) {
        if (result->status == TN_OK || result->status == TN_CANCELLED)
            print_result(result, prompt);
        else
            fprintf(stderr, "batch: request %llu: %s\n", (unsigned long long)result->request, result->message);
        tn_result_destroy(result);
    }

    tn_batcher_destroy(batcher);
    tn_session_destroy(session);
    tn_host_close(host);
    tn_model_close(model);
    return 0;
}
