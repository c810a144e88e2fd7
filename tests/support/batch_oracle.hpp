// What a request gives when nothing else runs: the session and the sampler by hand, without a batcher. The oracle of the batcher's tests.
#pragma once

#include "support/run_model.hpp"

#include <cmath>

namespace tn_test
{

// A request as tests write it.
struct Ask {
    std::vector<int32_t> prompt;
    tn_sampler_params sampler = tn_sampler_params_default();
    uint32_t n_samples = 1, n_best = 0, n_tokens_max = 8, n_top = 0;
    std::vector<std::string> stops;
    bool logprobs = false, prompt_logprobs = false, prompt_only = false, ignore_eog = false;
    uint64_t flow = 0;

    // Borrows this object and `stop_texts`, which it fills.
    tn_request_params params(std::vector<const char *> *stop_texts) const
    {
        tn_request_params p = TN_REQUEST_PARAMS_INIT;
        stop_texts->clear();
        for (const std::string &stop : stops) stop_texts->push_back(stop.c_str());
        p.tokens = prompt.data();
        p.n_tokens = prompt.size();
        p.sampler = &sampler;
        p.n_samples = n_samples;
        p.n_best = n_best;
        p.n_tokens_max = n_tokens_max;
        p.stops = stop_texts->data();
        p.n_stops = stops.size();
        p.logprobs = logprobs;
        p.prompt_logprobs = prompt_logprobs;
        p.prompt_only = prompt_only;
        p.ignore_eog = ignore_eog;
        p.n_top_logprobs = n_top;
        p.flow = flow;
        return p;
    }
};

struct Answer {
    std::vector<int32_t> tokens;
    std::string text;
    tn_finish finish = TN_FINISH_NONE;
    std::vector<double> logprobs; // of the tokens, in long double and rounded
};

inline double logprob_of(const float *logits, uint32_t n, int32_t token)
{
    long double best = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++) best = std::max(best, static_cast<long double>(logits[i]));
    for (uint32_t i = 0; i < n; i++) sum += std::exp(static_cast<long double>(logits[i]) - best);
    return static_cast<double>(static_cast<long double>(logits[token]) - best - std::log(sum));
}

// Sample `index` of the request, computed alone in sequence 0 of a session that no batcher has.
inline Answer answer_alone(tn_session *session, const tn_tokenizer *tokenizer, const Ask &ask, uint32_t index)
{
    Answer answer;
    tn_session_info info;
    tn_session_get_info(session, &info);
    const uint32_t n_vocab = static_cast<uint32_t>(tn_tokenizer_n_vocab(tokenizer));
    tn_sampler_params sampling = ask.sampler;
    sampling.sequence += index;
    tn_sampler *sampler = nullptr;
    tn_text_stream *stream = nullptr;
    tn_text_stream_params stream_params = TN_TEXT_STREAM_PARAMS_INIT;
    std::vector<const char *> stops;
    for (const std::string &stop : ask.stops) stops.push_back(stop.c_str());
    stream_params.stops = stops.data();
    stream_params.n_stops = stops.size();
    EXPECT_EQ(tn_session_seq_truncate(session, 0, 0), TN_OK);
    EXPECT_EQ(tn_sampler_create(&sampling, n_vocab, &sampler), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(tn_text_stream_create(tokenizer, &stream_params, &stream), TN_OK);
    for (int32_t token : ask.prompt) EXPECT_EQ(tn_sampler_accept(sampler, token), TN_OK);
    std::vector<int32_t> feed = ask.prompt;
    while (answer.finish == TN_FINISH_NONE) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(feed.size());
        batch.tokens = feed.data();
        const tn_status status = tn_session_decode(session, &batch);
        EXPECT_EQ(status, TN_OK) << tn_error_last()->message;
        if (status != TN_OK) break;
        const float *logits = tn_session_logits(session, 0);
        const uint32_t length = tn_session_seq_length(session, 0);
        const char *text = nullptr;
        size_t len = 0;
        bool stopped = false;
        int32_t token = 0;
        EXPECT_EQ(tn_sampler_sample(sampler, logits, length - 1, &token), TN_OK);
        if (!ask.ignore_eog && tn_tokenizer_is_eog(tokenizer, token)) {
            answer.finish = TN_FINISH_END;
        } else {
            EXPECT_EQ(tn_sampler_accept(sampler, token), TN_OK);
            answer.tokens.push_back(token);
            answer.logprobs.push_back(logprob_of(logits, n_vocab, token));
            EXPECT_EQ(tn_text_stream_push(stream, token, &text, &len, &stopped), TN_OK);
            answer.text.append(text, len);
            if (stopped)
                answer.finish = TN_FINISH_STOP;
            else if (ask.n_tokens_max && answer.tokens.size() >= ask.n_tokens_max)
                answer.finish = TN_FINISH_LENGTH;
            else if (length >= info.n_ctx)
                answer.finish = TN_FINISH_CONTEXT;
        }
        feed = {token};
    }
    if (answer.finish != TN_FINISH_STOP) {
        const char *text = nullptr;
        size_t len = 0;
        EXPECT_EQ(tn_text_stream_finish(stream, &text, &len), TN_OK);
        answer.text.append(text, len);
    }
    tn_text_stream_destroy(stream);
    tn_sampler_destroy(sampler);
    return answer;
}

} // namespace tn_test
