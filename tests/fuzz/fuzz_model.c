// Fuzz target: any bytes as a model file, through the whole load: parse, tokenizer, graph, packing, tokenising a text, one step, one
// sample.
#include "base/status.h"
#include "ternion/ternion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void discard(void *user, tn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
}

static const tn_log quiet = {.write = discard};

// One thread serves all inputs: the host does not depend on them.
static tn_host *shared_host(void)
{
    static tn_host *host;
    if (!host) {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = 1;
        params.log = quiet;
        if (tn_host_open(&params, &host) != TN_OK) abort();
    }
    return host;
}

static void use_tokenizer(const tn_tokenizer *tokenizer)
{
    static const char text[] = "Once upon a time, 12345 \xe2\x82\xac\xff<|end_of_text|>\n\n  it's";
    int32_t tokens[256];
    size_t n;
    if (tn_tokenizer_encode(tokenizer, text, sizeof text - 1, TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL, tokens, 256, &n) != TN_OK)
        return;
    tn_text_stream *stream;
    const char *out;
    char whole[512];
    size_t len;
    bool stopped;
    if (tn_tokenizer_decode(tokenizer, tokens, n < 256 ? n : 256, true, whole, sizeof whole, &len) != TN_OK) abort();
    if (tn_text_stream_create(tokenizer, NULL, &stream) != TN_OK) abort();
    for (size_t i = 0; i < n && i < 256; i++) {
        if (tn_text_stream_push(stream, tokens[i], &out, &len, &stopped) != TN_OK) abort();
    }
    if (tn_text_stream_finish(stream, &out, &len) != TN_OK) abort();
    tn_text_stream_destroy(stream);
}

static void use_directory(const tn_model *model)
{
    const char *key, *type;
    char value[200];
    tn_tensor_info tensor;
    for (size_t i = 0; i < tn_model_metadata_count(model); i++) {
        if (tn_model_metadata(model, i, &key, &type, value, sizeof value) != TN_OK || strlen(value) >= sizeof value) abort();
    }
    for (size_t i = 0; i < tn_model_tensor_count(model); i++) {
        if (tn_model_tensor(model, i, &tensor) != TN_OK) abort();
    }
}

static void run_a_step(const tn_model *model)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 4;
    params.log = quiet;
    tn_session *session;
    if (tn_session_create(model, shared_host(), &params, &session) != TN_OK) {
        params.n_ctx = 1;
        if (tn_session_create(model, shared_host(), &params, &session) != TN_OK) return;
    }
    const int32_t token = 0;
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 1;
    batch.tokens = &token;
    tn_status status = tn_session_decode(session, &batch);
    if (status != TN_OK && status != TN_POISON) abort();
    const float *logits = tn_session_logits(session, 0);
    tn_session_info info;
    tn_session_get_info(session, &info);
    tn_sampler *sampler;
    tn_sampler_params sampling = tn_sampler_params_default();
    if (logits && tn_sampler_create(&sampling, info.n_vocab, &sampler) == TN_OK) {
        int32_t next;
        if (tn_sampler_sample(sampler, logits, 0, &next) != TN_OK || next < 0 || (uint32_t)next >= info.n_vocab) abort();
        tn_sampler_destroy(sampler);
    }
    tn_session_destroy(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (tn_model_load load = TN_MODEL_LOAD_ALL; load <= TN_MODEL_LOAD_METADATA; load++) {
        tn_model_params params = TN_MODEL_PARAMS_INIT;
        params.load = load;
        params.log = quiet;
        tn_model *model;
        if (tn_model_open(path, &params, &model) != TN_OK) {
            if (model || !tn_error_last()->message[0] || strchr(tn_error_last()->message, '\n')) abort();
            continue;
        }
        use_directory(model);
        if (tn_model_tokenizer(model)) use_tokenizer(tn_model_tokenizer(model));
        if (load == TN_MODEL_LOAD_ALL) run_a_step(model);
        tn_model_close(model);
    }
    close(fd);
    return 0;
}
