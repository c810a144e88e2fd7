// What a request must come to: computed alone, token by token, by a session and a sampler. Knows nothing of batchers.
#ifndef TN_TESTS_STRESS_ORACLE_HPP
#define TN_TESTS_STRESS_ORACLE_HPP

#include "support/tiny_model.hpp"
#include "ternion/ternion.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <unistd.h>

namespace tn_test
{

constexpr uint32_t kBatchContext = 512;
constexpr int32_t kPoisonToken = 33;
constexpr uint32_t kBatchVocab = 36;

// A vocabulary in which characters are cut into tokens, so that text is held back, with a control token and one that ends answers.
inline void write_batch_vocabulary(tn_gguf_writer *writer)
{
    std::vector<std::string> tokens;
    for (char c = 'a'; c <= 'p'; c++) tokens.push_back(std::string(1, c));
    // A space, a line's end, "on", " a", the four bytes of U+1F600, the two of U+00E9, one that begins nothing.
    for (const char *token : {"\u0120", "\u010a", "on", "\u0120a", "\u00f0", "\u0141", "\u013a", "\u0122", "\u00c3", "\u00a9", "\u00ff"})
        tokens.push_back(token);
    for (const char *token : {"no", "ab", "\u0120on", "pp", "lm", "q", "r"}) tokens.push_back(token);
    tokens.push_back("<|begin|>");
    tokens.push_back("<|end|>");
    ASSERT_EQ(tokens.size(), kBatchVocab);
    std::vector<int32_t> kinds(tokens.size(), 1);
    kinds[kBatchVocab - 1] = kinds[kBatchVocab - 2] = 3;
    std::vector<tn_str> views;
    for (const std::string &token : tokens) views.push_back({token.data(), token.size()});
    const tn_str merge = {"o n", 3};
    ASSERT_EQ(tn_gguf_writer_str(writer, "tokenizer.ggml.model", "gpt2"), TN_OK);
    ASSERT_EQ(tn_gguf_writer_str(writer, "tokenizer.ggml.pre", "default"), TN_OK);
    ASSERT_EQ(tn_gguf_writer_str_array(writer, "tokenizer.ggml.tokens", views.data(), views.size()), TN_OK);
    ASSERT_EQ(tn_gguf_writer_i32_array(writer, "tokenizer.ggml.token_type", kinds.data(), kinds.size()), TN_OK);
    ASSERT_EQ(tn_gguf_writer_str_array(writer, "tokenizer.ggml.merges", &merge, 1), TN_OK);
    ASSERT_EQ(tn_gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", kBatchVocab - 2), TN_OK);
    ASSERT_EQ(tn_gguf_writer_u32(writer, "tokenizer.ggml.eos_token_id", kBatchVocab - 1), TN_OK);
}

// Two layers; where `poisoned`, a sequence is poisoned by kPoisonToken.
inline void write_batch_model(const std::string &path, bool poisoned)
{
    tiny_model m;
    m.n_embd = m.n_ff = 128;
    m.n_layers = 2;
    m.head_dim = 32;
    m.n_vocab = kBatchVocab;
    m.n_ctx = kBatchContext;
    m.seed = 77;
    m.more_keys = write_batch_vocabulary;
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, path, [&](std::vector<model_tensor> &tensors) {
        for (model_tensor &t : tensors) {
            if (t.name != "token_embd.weight" || !poisoned) continue;
            std::vector<float> values(t.bytes.size() / 2);
            for (size_t i = 0; i < values.size(); i++) {
                uint16_t half;
                memcpy(&half, t.bytes.data() + 2 * i, 2);
                values[i] = tn_f16_to_f32(half);
            }
            values[size_t{m.n_embd} * kPoisonToken + 5] = 0x1p100f;
            t.dtype = TN_DTYPE_F32;
            t.bytes = raw_bytes(values.data(), values.size() * 4);
        }
    }));
}

// A model in a file that goes with it, opened on a host.
class BatchModel
{
  public:
    explicit BatchModel(bool poisoned, uint32_t n_threads = 1, uint32_t n_devices = 1)
    {
        const std::string path = testing::TempDir() + "tn_batch_" + std::to_string(getpid()) + (poisoned ? "_poisoned" : "") + ".gguf";
        write_batch_model(path, poisoned);
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = n_threads;
        params.n_cpu_devices = n_devices;
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        unlink(path.c_str());
    }
    ~BatchModel()
    {
        for (auto &placement : placements_) tn_placement_destroy(placement.second);
        tn_model_close(model);
        tn_host_close(host);
    }
    BatchModel(const BatchModel &) = delete;
    BatchModel &operator=(const BatchModel &) = delete;
    // devices: as in tn_placement_params, but "" is the first: which of several is the best would have to be measured.
    tn_session *session(tn_session_params params, const std::string &devices = "") const
    {
        tn_session *made = nullptr;
        params.placement = placement(devices.empty() ? "cpu0" : devices);
        params.no_recovery = true; // failures are wanted
        EXPECT_EQ(tn_session_create(model, host, &params, &made), TN_OK) << tn_error_last()->message;
        return made;
    }
    tn_host *host = nullptr;
    tn_model *model = nullptr;

  private:
    tn_placement *placement(const std::string &devices) const
    {
        tn_placement *&made = placements_[devices];
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = devices.c_str();
        if (!made) {
            EXPECT_EQ(tn_placement_create(model, host, &params, &made), TN_OK) << tn_error_last()->message;
        }
        return made;
    }
    mutable std::map<std::string, tn_placement *> placements_;
};

// A request without what says how it is run.
struct Spec {
    std::vector<int32_t> prompt = {0};
    tn_sampler_params sampler = tn_sampler_params_default();
    std::vector<tn_logit_bias> bias;
    uint32_t n_samples = 1, n_best = 0, n_tokens_max = 8, n_top = 0;
    bool ignore_eog = false, special = false, logprobs = false, prompt_logprobs = false, prompt_only = false;
    std::vector<std::string> stops;
};

// Fills what does not change with the run. Borrows `spec`, and `stops` for as long as the parameters are used.
inline tn_request_params request_of(const Spec &spec, std::vector<const char *> *stops, tn_sampler_params *sampler)
{
    tn_request_params p = TN_REQUEST_PARAMS_INIT;
    stops->clear();
    for (const std::string &stop : spec.stops) stops->push_back(stop.c_str());
    *sampler = spec.sampler;
    sampler->logit_bias = spec.bias.data();
    sampler->n_logit_bias = spec.bias.size();
    p.tokens = spec.prompt.data();
    p.n_tokens = spec.prompt.size();
    p.sampler = sampler;
    p.n_samples = spec.n_samples;
    p.n_best = spec.n_best;
    p.n_tokens_max = spec.n_tokens_max;
    p.ignore_eog = spec.ignore_eog;
    p.special = spec.special;
    p.stops = stops->data();
    p.n_stops = stops->size();
    p.logprobs = spec.logprobs;
    p.prompt_logprobs = spec.prompt_logprobs;
    p.prompt_only = spec.prompt_only;
    p.n_top_logprobs = spec.n_top;
    return p;
}

struct Scored {
    int32_t token = TN_TOKEN_NONE;
    double logprob = 0;
};

struct Answer {
    tn_finish finish = TN_FINISH_NONE;
    tn_status status = TN_OK;
    std::string text;
    std::vector<int32_t> tokens;
    std::vector<double> logprobs;
    std::vector<std::vector<Scored>> top;
    std::vector<size_t> text_ends;
    double end_logprob = 0; // of the token that ended it
    // The mean log-probability of its tokens, the one that ended it too.
    double mean() const
    {
        const size_t n = tokens.size() + (finish == TN_FINISH_END);
        return n ? (std::accumulate(logprobs.begin(), logprobs.end(), 0.0) + end_logprob) / static_cast<double>(n) : 0;
    }
};

struct Expected {
    std::vector<Answer> answers; // by the sample's index
    std::vector<Scored> prompt;  // of all but the first token, where they are wanted and the prompt is not poisoned
    std::vector<std::vector<Scored>> prompt_top;
};

class Oracle
{
  public:
    explicit Oracle(const BatchModel &model) : tokenizer_(tn_model_tokenizer(model.model))
    {
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.n_ctx = kBatchContext;
        params.n_logits_max = kBatchContext;
        session_ = model.session(params);
    }
    ~Oracle() { tn_session_destroy(session_); }
    Oracle(const Oracle &) = delete;
    Oracle &operator=(const Oracle &) = delete;

    Expected ask(const Spec &spec)
    {
        Expected expected;
        const tn_status status = decode_prompt(spec, &expected);
        const std::vector<float> row = status == TN_OK ? last_row_ : std::vector<float>();
        for (uint32_t i = 0; i < spec.n_samples; i++) {
            // The prompt stands in the session; what an answer put behind it goes.
            if (status == TN_OK && tn_session_seq_status(session_, 0) != TN_OK) {
                EXPECT_EQ(decode_prompt(spec, &expected), TN_OK);
            }
            if (status == TN_OK) {
                EXPECT_EQ(tn_session_seq_truncate(session_, 0, static_cast<uint32_t>(spec.prompt.size())), TN_OK);
            }
            expected.answers.push_back(status == TN_OK ? answer(spec, i, row) : failed(status));
        }
        return expected;
    }

  private:
    static Answer failed(tn_status status)
    {
        Answer a;
        a.status = status;
        return a;
    }
    static double logprob_of(const float *row, int32_t token)
    {
        double most = row[0], sum = 0;
        for (uint32_t i = 1; i < kBatchVocab; i++) most = std::max(most, static_cast<double>(row[i]));
        for (uint32_t i = 0; i < kBatchVocab; i++) sum += std::exp(row[i] - most);
        return row[token] - most - std::log(sum);
    }
    static std::vector<Scored> best_of(const float *row, uint32_t n)
    {
        std::vector<int32_t> ids(kBatchVocab);
        std::iota(ids.begin(), ids.end(), 0);
        std::stable_sort(ids.begin(), ids.end(), [row](int32_t a, int32_t b) { return row[a] > row[b]; });
        std::vector<Scored> best;
        for (uint32_t i = 0; i < std::min(n, kBatchVocab); i++) best.push_back({ids[i], logprob_of(row, ids[i])});
        return best;
    }
    tn_status decode(const std::vector<int32_t> &tokens, bool all_rows)
    {
        const std::vector<uint8_t> all(tokens.size(), 1);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.logits = all_rows ? all.data() : nullptr;
        const tn_status status = tn_session_decode(session_, &batch);
        const float *row = status == TN_OK ? tn_session_logits(session_, all_rows ? batch.n_tokens - 1 : 0) : nullptr;
        if (row) last_row_.assign(row, row + kBatchVocab);
        return status;
    }
    tn_status decode_prompt(const Spec &spec, Expected *expected)
    {
        EXPECT_EQ(tn_session_seq_truncate(session_, 0, 0), TN_OK);
        const tn_status status = decode(spec.prompt, spec.prompt_logprobs);
        if (!spec.prompt_logprobs || status != TN_OK) return status;
        expected->prompt.clear();
        expected->prompt_top.clear();
        for (uint32_t i = 1; i < spec.prompt.size(); i++) {
            const float *row = tn_session_logits(session_, i - 1);
            expected->prompt.push_back({spec.prompt[i], logprob_of(row, spec.prompt[i])});
            expected->prompt_top.push_back(best_of(row, spec.n_top));
        }
        return status;
    }
    // Behind the prompt, whose last row of logits is `row`.
    Answer answer(const Spec &spec, uint32_t index, std::vector<float> row)
    {
        tn_sampler_params params;
        std::vector<const char *> stops;
        request_of(spec, &stops, &params);
        params.sequence += index;
        tn_sampler *sampler = nullptr;
        tn_text_stream_params stream_params = TN_TEXT_STREAM_PARAMS_INIT;
        stream_params.stops = stops.data();
        stream_params.n_stops = stops.size();
        stream_params.special = spec.special;
        tn_text_stream *stream = nullptr;
        EXPECT_EQ(tn_sampler_create(&params, kBatchVocab, &sampler), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(tn_text_stream_create(tokenizer_, &stream_params, &stream), TN_OK) << tn_error_last()->message;
        for (int32_t token : spec.prompt) EXPECT_EQ(tn_sampler_accept(sampler, token), TN_OK);
        Answer a;
        if (spec.prompt_only) a.finish = TN_FINISH_LENGTH;
        while (a.finish == TN_FINISH_NONE && a.status == TN_OK) {
            add_token(spec, sampler, stream, row, &a);
            if (a.finish != TN_FINISH_NONE || a.status != TN_OK) break;
            a.status = decode({a.tokens.back()}, false);
            row = last_row_;
        }
        tn_sampler_destroy(sampler);
        tn_text_stream_destroy(stream);
        return a;
    }
    void add_token(const Spec &spec, tn_sampler *sampler, tn_text_stream *stream, const std::vector<float> &row, Answer *a)
    {
        const uint32_t length = tn_session_seq_length(session_, 0);
        const char *text;
        size_t len;
        int32_t token;
        bool stopped = false;
        a->status = tn_sampler_sample(sampler, row.data(), length - 1, &token);
        if (a->status != TN_OK) return;
        if (!spec.ignore_eog && tn_tokenizer_is_eog(tokenizer_, token)) {
            a->finish = TN_FINISH_END;
            a->end_logprob = logprob_of(row.data(), token);
        } else {
            EXPECT_EQ(tn_sampler_accept(sampler, token), TN_OK);
            a->tokens.push_back(token);
            a->logprobs.push_back(logprob_of(row.data(), token));
            a->top.push_back(best_of(row.data(), spec.n_top));
            EXPECT_EQ(tn_text_stream_push(stream, token, &text, &len, &stopped), TN_OK);
            a->text.append(text, len);
            if (stopped)
                a->finish = TN_FINISH_STOP;
            else if (a->tokens.size() == spec.n_tokens_max)
                a->finish = TN_FINISH_LENGTH;
            else if (length == kBatchContext)
                a->finish = TN_FINISH_CONTEXT;
        }
        if (a->finish != TN_FINISH_NONE && !stopped) {
            EXPECT_EQ(tn_text_stream_finish(stream, &text, &len), TN_OK);
            a->text.append(text, len);
        }
        if (a->text_ends.size() == a->tokens.size()) return;
        // What the tokens write without stop strings, as far as it is part of the answer.
        tn_text_stream_params plain_params = TN_TEXT_STREAM_PARAMS_INIT;
        tn_text_stream *plain = nullptr;
        plain_params.special = spec.special;
        EXPECT_EQ(tn_text_stream_create(tokenizer_, &plain_params, &plain), TN_OK);
        size_t end = 0;
        for (int32_t written : a->tokens) {
            EXPECT_EQ(tn_text_stream_push(plain, written, &text, &len, &stopped), TN_OK);
            end += len;
        }
        tn_text_stream_destroy(plain);
        a->text_ends.push_back(end);
        if (a->finish == TN_FINISH_NONE) return;
        for (size_t &e : a->text_ends) e = std::min(e, a->text.size());
    }

    const tn_tokenizer *tokenizer_;
    tn_session *session_ = nullptr;
    std::vector<float> last_row_;
};

// Requests of all kinds. Prompts are beginnings of a few texts, so that they share pages, whole and in part, and then diverge.
enum class Kind {
    mixed,
    poisoned, // some prompts have the poison, and answers may come to it
    lengthy,  // short prompts, answers of pages
};

class Specs
{
  public:
    Specs(uint64_t seed, size_t n, Kind kind) : random_(seed), kind_(kind)
    {
        for (int i = 0; i < 4; i++) texts_.push_back(tokens(kBatchContext - 1));
        // The second page of one text is the second of another and the first of a third: the same tokens, and not the same keys and values.
        std::copy_n(texts_[0].begin() + 128, 128, texts_[1].begin() + 128);
        std::copy_n(texts_[0].begin() + 128, 128, texts_[2].begin());
        for (size_t i = 0; i < n; i++) all.push_back(make());
    }
    std::vector<Spec> all;

  private:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
    bool chance(uint32_t percent) { return below(100) < percent; }
    std::vector<int32_t> tokens(uint32_t n)
    {
        std::vector<int32_t> t(n);
        for (int32_t &token : t) {
            do token = static_cast<int32_t>(below(kBatchVocab));
            while (token == kPoisonToken);
        }
        return t;
    }
    std::vector<int32_t> prompt()
    {
        const uint32_t borders[] = {1, 2, 127, 128, 129, 130, 255, 256, 257, 383, 384, 385};
        const uint32_t n = kind_ == Kind::lengthy || chance(55) ? 1 + below(40) : chance(50) ? borders[below(12)] : 100 + below(290);
        std::vector<int32_t> p(texts_[below(4)]);
        p.resize(n);
        if (kind_ != Kind::lengthy && chance(3))
            p.resize(std::max<size_t>(n, kBatchContext - 1 - below(6)), 3); // the answer meets the context's end
        if (chance(60)) {
            const std::vector<int32_t> own = tokens(1 + below(12));
            const size_t keep = std::min<size_t>(p.size(), kBatchContext - 1 - own.size());
            p.resize(keep);
            p.insert(p.end(), own.begin(), own.end());
        }
        if (kind_ == Kind::poisoned && chance(15)) p[below(static_cast<uint32_t>(p.size()))] = kPoisonToken;
        return p;
    }
    void fill_sampler(Spec *s)
    {
        s->sampler.seed = below(3);
        s->sampler.sequence = below(4);
        s->sampler.temperature = chance(25) ? 0.0f : 0.5f + 0.25f * static_cast<float>(below(6));
        s->sampler.top_k = chance(50) ? 0 : 1 + static_cast<int32_t>(below(20));
        s->sampler.top_p = chance(50) ? 1.0f : 0.5f;
        s->sampler.min_p = chance(50) ? 0.0f : 0.1f;
        if (chance(30)) {
            s->sampler.repeat_penalty = 1.3f;
            s->sampler.presence_penalty = 0.5f;
            s->sampler.frequency_penalty = 0.25f;
            s->sampler.repeat_last_n = chance(30) ? -1 : static_cast<int32_t>(below(80));
        }
        if (chance(30)) s->bias.push_back({static_cast<int32_t>(kBatchVocab) - 1, static_cast<float>(below(7))});
        if (chance(10)) s->bias.push_back({static_cast<int32_t>(below(8)), -INFINITY});
        if (chance(1)) {
            s->bias.clear();
            for (uint32_t i = 0; i < kBatchVocab; i++) s->bias.push_back({static_cast<int32_t>(i), -INFINITY});
        }
    }
    Spec make()
    {
        Spec s;
        s.prompt = prompt();
        fill_sampler(&s);
        const bool is_lengthy = kind_ == Kind::lengthy;
        s.n_tokens_max = is_lengthy ? 100 + below(320) : chance(80) ? 1 + below(12) : s.prompt.size() > 480 ? 0 : 20 + below(130);
        if (chance(15)) s.n_samples = 2 + below(is_lengthy ? 2 : 5);
        if (s.n_tokens_max && s.n_tokens_max < 4 && chance(3)) s.n_samples = TN_REQUEST_SAMPLES_MAX - below(30);
        if (s.n_samples > 1 && chance(40)) s.n_best = 1 + below(s.n_samples);
        s.ignore_eog = is_lengthy || chance(20);
        s.special = chance(20);
        s.logprobs = chance(25);
        s.prompt_logprobs = chance(8);
        if ((s.logprobs || s.prompt_logprobs) && chance(60)) s.n_top = 1 + below(TN_REQUEST_LOGPROBS_MAX);
        const char *const stops[] = {"a", "on", "no", "\u00e9", "ab", " a", "\xF0\x9F\x98\x80", "p\n", "abc", "lm"};
        for (uint32_t n = !is_lengthy && chance(40) ? 1 + below(3) : 0; n > 0; n--) s.stops.push_back(stops[below(10)]);
        s.prompt_only = s.prompt_logprobs && s.n_samples == 1 && chance(30);
        if (s.prompt_only && chance(20)) s.prompt.resize(kBatchContext, 2); // no room is needed behind it
        return s;
    }

    std::mt19937_64 random_;
    const Kind kind_;
    std::vector<std::vector<int32_t>> texts_;
};

// ---- what all these tests begin with ----

inline uint64_t number_of(const char *name, uint64_t default_value)
{
    const char *text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : default_value;
}

inline uint64_t stress_seed()
{
    static const uint64_t seed = [] {
        const uint64_t value = number_of("TN_STRESS_SEED", 20260731);
        std::printf("TN_STRESS_SEED=%llu\n", static_cast<unsigned long long>(value));
        return value;
    }();
    return seed;
}

// Models, what is asked of them, and what the answers are; answers are computed when they are first looked at.
class Exam
{
  public:
    Exam(Kind kind, size_t n_specs, uint64_t seed, uint32_t n_devices = 1)
        : model(kind == Kind::poisoned, n_devices, n_devices), specs(seed, n_specs, kind), oracle_(model)
    {
        expected_.resize(n_specs);
        bits_.resize(n_specs);
    }
    const Expected &expected(size_t spec)
    {
        if (!expected_[spec]) expected_[spec] = oracle_.ask(specs.all[spec]);
        return *expected_[spec];
    }
    // Log-probabilities of a sample, or of the prompt (sample -1), must have the same bits in every run.
    void check_bits(size_t spec, int sample, const tn_token_logprob *values, size_t n)
    {
        std::vector<float> now(n);
        for (size_t i = 0; i < n; i++) now[i] = values[i].logprob;
        auto [place, is_new] = bits_[spec].emplace(sample, now);
        if (is_new) return;
        ASSERT_EQ(place->second.size(), n);
        ASSERT_TRUE(n == 0 || memcmp(place->second.data(), now.data(), n * sizeof(float)) == 0)
            << "log-probabilities of other bits than before";
    }
    const BatchModel model;
    const Specs specs;

  private:
    Oracle oracle_;
    std::vector<std::optional<Expected>> expected_;
    std::vector<std::map<int, std::vector<float>>> bits_;
};

inline uint64_t page_bytes(const Exam &exam)
{
    uint64_t bytes = 0;
    EXPECT_EQ(tn_session_kv_bytes(exam.model.model, 1, 1, &bytes), TN_OK);
    return bytes;
}

// How a batcher is set up, and how it is used.
struct Trial {
    // A session of the batcher: all of them are as `session`, but for this.
    struct Member {
        std::string devices;
        uint32_t n_lanes = 0;
        uint64_t kv_bytes = 0; // 0: as `session`
        double share = 1;
    };
    std::vector<Member> members = {{}};
    tn_session_params session = TN_SESSION_PARAMS_INIT;
    tn_batcher_params batcher = TN_BATCHER_PARAMS_INIT;
    uint32_t n_flows = 1, cancel_percent = 0, burst = 8;
    bool changes_n_seqs = false, steps_fail = false;
};

// The most sequences that a batcher takes: each has a token and a row of logits in a step.
inline uint32_t n_seqs_cap(const Trial &t)
{
    const uint32_t n_rows = t.session.n_logits_max ? t.session.n_logits_max : t.session.n_seqs_max;
    return std::min({t.session.n_seqs_max, n_rows, t.session.n_ubatch});
}

inline uint32_t n_seqs_all(const Trial &t) { return n_seqs_cap(t) * static_cast<uint32_t>(t.members.size()); }

// Few pages, few tokens a step, few sequences: each of them often, with all the others. `tight`: pages for one sequence and little more.
inline Trial random_trial(const Exam &exam, std::mt19937_64 *random, bool tight = false)
{
    auto below = [random](uint32_t n) { return static_cast<uint32_t>((*random)() % n); };
    auto chance = [&](uint32_t percent) { return below(100) < percent; };
    const uint32_t n_ubatches[] = {16, 24, 64, 130, 512}, page_counts[] = {6, 30};
    Trial t;
    t.session.n_ctx = kBatchContext;
    t.session.n_seqs_max = (tight ? 3 : 1) + below(10);
    t.session.n_ubatch = !tight && chance(15) ? 1 + below(8) : n_ubatches[below(5)];
    t.session.n_logits_max = tight || chance(60) ? 0 : 1 + below(50);
    if (tight || chance(70)) t.session.kv_bytes = page_bytes(exam) * (kBatchContext / 128 + below(tight ? 4 : page_counts[below(2)]));
    if (chance(25)) t.session.two_stage = "on";
    t.batcher.n_seqs = tight || chance(50) ? 0 : 1 + below(n_seqs_cap(t));
    t.batcher.n_queue_max = chance(50) ? 0 : 1 + below(100);
    t.batcher.n_prompt_chunk = chance(50) ? 0 : 1 + below(50);
    t.batcher.no_prefix_reuse = chance(25);
    t.batcher.prefix_bytes = chance(75) ? 0 : page_bytes(exam) * (1 + below(6));
    t.n_flows = 1 + below(4);
    t.cancel_percent = chance(50) ? 0 : 1 + below(20);
    t.burst = 1 + below(chance(50) ? 4 : 40);
    t.changes_n_seqs = chance(40);
    return t;
}

// One to three sessions on two devices, one or both, with one to four lanes. One of them may have pages for short requests only.
inline void spread_trial(const Exam &exam, std::mt19937_64 *random, Trial *t)
{
    auto below = [random](uint32_t n) { return static_cast<uint32_t>((*random)() % n); };
    const char *const devices[] = {"cpu0", "cpu1", "cpu0,cpu1", "cpu1,cpu0"};
    t->members.clear();
    for (uint32_t i = 1 + below(3); i > 0; i--) {
        Trial::Member m;
        m.devices = devices[below(4)];
        m.n_lanes = below(5);
        m.kv_bytes = t->session.kv_bytes && below(2) ? t->session.kv_bytes + below(4) * page_bytes(exam) : 0;
        m.share = 0.5 + 0.5 * below(4);
        t->members.push_back(m);
    }
    if (t->members.size() > 1 && below(4) == 0) t->members.back().kv_bytes = 2 * page_bytes(exam);
    if (t->members.size() > 1 && below(4) == 0) std::swap(t->members.front(), t->members.back());
    if (t->batcher.n_seqs) t->batcher.n_seqs = 1 + below(n_seqs_all(*t));
}

} // namespace tn_test

#endif
