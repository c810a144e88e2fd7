// Walks a model through the public API.
#include "fuzz/use_model.hpp"

#include <cmath>
#include <cstring>
#include <vector>

namespace tn_test
{

const char *const stage_names[n_stages] = {"metadata", "tokenizer", "load", "encode", "session", "decode", "sample", "text"};

namespace
{

class Walk
{
  public:
    Walk(tn_host *host, volatile int *stage) : host_(host), stage_(stage)
    {
        for (int &status : outcome_.status) status = -1;
        quiet_.write = [](void *, tn_log_level, const char *) {};
    }

    Outcome run(const std::string &path)
    {
        const tn_model_load loads[] = {TN_MODEL_LOAD_METADATA, TN_MODEL_LOAD_TOKENIZER, TN_MODEL_LOAD_ALL};
        for (int stage = stage_metadata; stage <= stage_load; stage++) {
            tn_model_params params = TN_MODEL_PARAMS_INIT;
            params.load = loads[stage];
            params.log = quiet_;
            tn_model *model = nullptr;
            const bool open = check(static_cast<Stage>(stage), [&] { return tn_model_open(path.c_str(), &params, &model); });
            if (open != (model != nullptr)) wrong("a status and a model that do not fit");
            if (open) read_directory(model);
            if (open && stage == stage_load) use(model);
            tn_model_close(model);
        }
        if (outcome_.status[stage_load] == TN_OK && outcome_.status[stage_metadata] != TN_OK) wrong("loads, but its metadata do not");
        return outcome_;
    }

  private:
    void wrong(const std::string &what)
    {
        if (outcome_.wrong.empty()) outcome_.wrong = what;
    }

    // A failure must be one that a file can cause, and say why in one line.
    template <typename Call> bool check(Stage stage, Call call)
    {
        if (stage_) *stage_ = stage;
        const tn_status status = call();
        outcome_.status[stage] = status;
        if (status == TN_OK) return true;
        const std::string message = tn_error_last()->message, where = std::string(stage_names[stage]) + ": ";
        if (message.empty() || message.find('\n') != std::string::npos) wrong(where + "not one line: " + message);
        if (tn_error_last()->status != status) wrong(where + "the record of the error is of another status");
        if (status == TN_INTERNAL || status == TN_OUT_OF_MEMORY || status == TN_DEVICE_LOST || status == TN_CANCELLED)
            wrong(where + tn_status_name(status) + ": " + message);
        return false;
    }

    void read_directory(const tn_model *model)
    {
        char value[200];
        const char *key, *type;
        tn_tensor_info tensor;
        for (size_t i = 0; i < tn_model_metadata_count(model); i++) {
            if (tn_model_metadata(model, i, &key, &type, value, sizeof value) != TN_OK) wrong("a metadata entry cannot be read");
            for (const char *c = value; *c; c++) {
                if (static_cast<unsigned char>(*c) < 32 || *c == 127) wrong("a metadata value could drive the terminal");
            }
        }
        for (size_t i = 0; i < tn_model_tensor_count(model); i++) {
            if (tn_model_tensor(model, i, &tensor) != TN_OK || !tensor.name || !tensor.type) wrong("a tensor cannot be described");
        }
    }

    void use(const tn_model *model)
    {
        const tn_tokenizer *tokenizer = tn_model_tokenizer(model);
        if (tokenizer) encode(tokenizer);
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.n_ctx = 1; // every model has as many
        params.log = quiet_;
        tn_session *session = nullptr;
        if (!check(stage_session, [&] { return tn_session_create(model, host_, &params, &session); })) return;
        decode(session, tokenizer);
        tn_session_destroy(session);
    }

    void encode(const tn_tokenizer *tokenizer)
    {
        static const char text[] = "Once upon a time, 12345 \xe2\x82\xac\xff<|end_of_text|>\n\n  it's <|user|></s>";
        int32_t ids[512];
        size_t n = 0;
        const unsigned flags = TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL;
        if (!check(stage_encode, [&] { return tn_tokenizer_encode(tokenizer, text, sizeof text - 1, flags, ids, 512, &n); })) return;
        for (size_t i = 0; i < n && i < 512; i++) {
            if (ids[i] < 0 || ids[i] >= tn_tokenizer_n_vocab(tokenizer)) wrong("a token outside the vocabulary");
        }
    }

    void decode(tn_session *session, const tn_tokenizer *tokenizer)
    {
        const int32_t token = 0;
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = 1;
        batch.tokens = &token;
        if (!check(stage_decode, [&] { return tn_session_decode(session, &batch); })) return;
        tn_session_info info;
        tn_session_get_info(session, &info);
        const float *logits = tn_session_logits(session, 0);
        if (!logits) {
            wrong("a step without logits");
            return;
        }
        for (uint32_t i = 0; i < info.n_vocab; i++) {
            if (!std::isfinite(logits[i])) wrong("a logit that is not finite, and no poison reported");
        }
        sample(logits, info.n_vocab, tokenizer);
    }

    void sample(const float *logits, uint32_t n_vocab, const tn_tokenizer *tokenizer)
    {
        const tn_sampler_params params = tn_sampler_params_default();
        tn_sampler *sampler = nullptr;
        int32_t next = -1;
        const bool done = check(stage_sample, [&] {
            const tn_status status = tn_sampler_create(&params, n_vocab, &sampler);
            return status == TN_OK ? tn_sampler_sample(sampler, logits, 0, &next) : status;
        });
        tn_sampler_destroy(sampler);
        if (!done) return;
        if (next < 0 || static_cast<uint32_t>(next) >= n_vocab) wrong("a sampled token outside the vocabulary");
        if (tokenizer && next < tn_tokenizer_n_vocab(tokenizer)) show(tokenizer, next);
    }

    void show(const tn_tokenizer *tokenizer, int32_t token)
    {
        tn_text_stream *stream = nullptr;
        const char *text = nullptr;
        size_t len = 0;
        bool stopped = false;
        check(stage_text, [&] {
            tn_status status = tn_text_stream_create(tokenizer, nullptr, &stream);
            for (int32_t id = 0; status == TN_OK && id < tn_tokenizer_n_vocab(tokenizer); id++) // any token may come, not only this one
                status = tn_text_stream_push(stream, id, &text, &len, &stopped);
            if (status == TN_OK) status = tn_text_stream_push(stream, token, &text, &len, &stopped);
            return status == TN_OK ? tn_text_stream_finish(stream, &text, &len) : status;
        });
        tn_text_stream_destroy(stream);
    }

    tn_host *host_;
    volatile int *stage_;
    tn_log quiet_ = {};
    Outcome outcome_;
};

} // namespace

Outcome use_model(const std::string &path, tn_host *host, volatile int *out_stage) { return Walk(host, out_stage).run(path); }

} // namespace tn_test
