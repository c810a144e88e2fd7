// The same as generate.c in C++: the C API behind unique_ptr.   usage: generate_cpp [MODEL [TEXT [SEED]]]
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <ternion/ternion.h>

#ifndef TN_DEFAULT_MODEL // from the root of the repository
#define TN_DEFAULT_MODEL "models/ternion-tales-6m.i2_s.gguf"
#endif
#include <vector>

namespace
{

void check(tn_status status)
{
    if (status != TN_OK) throw std::runtime_error(tn_error_last()->message);
}

template <typename T, void (*Destroy)(T *)> struct Deleter {
    void operator()(T *p) const { Destroy(p); }
};
template <typename T, void (*Destroy)(T *)> using Owned = std::unique_ptr<T, Deleter<T, Destroy>>;

// Calls a create function whose last parameter is the result.
template <typename T, void (*Destroy)(T *), typename Create, typename... Args> Owned<T, Destroy> make(Create create, Args... args)
{
    T *p = nullptr;
    check(create(args..., &p));
    return Owned<T, Destroy>(p);
}

void generate(const char *path, const std::string &prompt, uint64_t seed)
{
    tn_sampler_params sampling = tn_sampler_params_default();
    sampling.seed = seed;
    tn_host_params host_params = TN_HOST_PARAMS_INIT;
    host_params.n_threads = 1; // any number gives the same text

    const auto model = make<tn_model, tn_model_close>(tn_model_open, path, nullptr);
    const auto host = make<tn_host, tn_host_close>(tn_host_open, &host_params);
    const auto session = make<tn_session, tn_session_destroy>(tn_session_create, model.get(), host.get(), nullptr);
    const tn_tokenizer *tokenizer = tn_model_tokenizer(model.get());
    const auto n_vocab = static_cast<uint32_t>(tn_tokenizer_n_vocab(tokenizer));
    const auto sampler = make<tn_sampler, tn_sampler_destroy>(tn_sampler_create, &sampling, n_vocab);
    const auto stream = make<tn_text_stream, tn_text_stream_destroy>(tn_text_stream_create, tokenizer, nullptr);

    size_t n = 0;
    check(tn_tokenizer_encode(tokenizer, prompt.data(), prompt.size(), TN_ENCODE_ADD_SPECIAL, nullptr, 0, &n));
    std::vector<int32_t> tokens(n);
    check(tn_tokenizer_encode(tokenizer, prompt.data(), prompt.size(), TN_ENCODE_ADD_SPECIAL, tokens.data(), n, &n));

    std::string answer = prompt;
    const char *text = nullptr;
    size_t len = 0;
    for (int i = 0; i < 48; i++) {
        tn_batch batch = TN_BATCH_INIT;
        batch.tokens = tokens.data();
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        check(tn_session_decode(session.get(), &batch));
        int32_t token = TN_TOKEN_NONE;
        check(tn_sampler_sample(sampler.get(), tn_session_logits(session.get(), 0), tn_session_seq_length(session.get(), 0) - 1, &token));
        if (tn_tokenizer_is_eog(tokenizer, token)) break;
        check(tn_sampler_accept(sampler.get(), token));
        bool stopped = false;
        check(tn_text_stream_push(stream.get(), token, &text, &len, &stopped));
        if (len > 0) answer.append(text, len);
        tokens.assign(1, token);
    }
    check(tn_text_stream_finish(stream.get(), &text, &len));
    if (len > 0) answer.append(text, len);
    std::puts(answer.c_str());
}

} // namespace

int main(int argc, char **argv)
{
    try {
        generate(argc > 1 ? argv[1] : TN_DEFAULT_MODEL, argc > 2 ? argv[2] : "Once upon a time",
                 argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "generate: %s\n", error.what());
        return 1;
    }
}
