// Continues a text: model, host, session, tokens in, sampled tokens out.   usage: generate_c [MODEL [TEXT [SEED]]]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ternion/ternion.h>

#ifndef TN_DEFAULT_MODEL // from the root of the repository
#define TN_DEFAULT_MODEL "models/ternion-tales-6m.i2_s.gguf"
#endif

enum { N_GENERATE = 48, N_PROMPT_MAX = 256 };

static void check(tn_status status)
{
    if (status == TN_OK) return;
    fprintf(stderr, "generate: %s\n", tn_error_last()->message);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    tn_sampler_params sampling = tn_sampler_params_default();
    sampling.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    tn_model *model;
    tn_host *host;
    tn_session *session;
    tn_sampler *sampler;
    tn_text_stream *stream;
    check(tn_model_open(argc > 1 ? argv[1] : TN_DEFAULT_MODEL, NULL, &model));
    check(tn_host_open(NULL, &host));
    check(tn_session_create(model, host, NULL, &session));
    const tn_tokenizer *tokenizer = tn_model_tokenizer(model);
    check(tn_sampler_create(&sampling, (uint32_t)tn_tokenizer_n_vocab(tokenizer), &sampler));
    check(tn_text_stream_create(tokenizer, NULL, &stream));

    int32_t tokens[N_PROMPT_MAX];
    size_t n = 0, len = 0;
    const char *text;
    bool stopped;
    check(tn_tokenizer_encode(tokenizer, prompt, strlen(prompt), TN_ENCODE_ADD_SPECIAL, tokens, N_PROMPT_MAX, &n));
    if (n == 0 || n > N_PROMPT_MAX) {
        fprintf(stderr, "generate: the text must have 1 to %d tokens, not %zu\n", (int)N_PROMPT_MAX, n);
        return 1;
    }
    fputs(prompt, stdout);
    for (int i = 0; i < N_GENERATE; i++) {
        tn_batch batch = TN_BATCH_INIT;
        batch.tokens = tokens;
        batch.n_tokens = (uint32_t)n; // the whole prompt at first, then one token at a time
        check(tn_session_decode(session, &batch));
        check(tn_sampler_sample(sampler, tn_session_logits(session, 0), tn_session_seq_length(session, 0) - 1, &tokens[0]));
        if (tn_tokenizer_is_eog(tokenizer, tokens[0])) break;
        check(tn_sampler_accept(sampler, tokens[0]));
        check(tn_text_stream_push(stream, tokens[0], &text, &len, &stopped));
        printf("%.*s", (int)len, text);
        n = 1;
    }
    check(tn_text_stream_finish(stream, &text, &len));
    printf("%.*s\n", (int)len, text);

    tn_text_stream_destroy(stream);
    tn_sampler_destroy(sampler);
    tn_session_destroy(session);
    tn_host_close(host);
    tn_model_close(model);
    return 0;
}
