// Two sides for tn_cli_exact_find: a model on a CPU device as it is, and one on a device that a test bends.
#pragma once

#include "support/bent_device.hpp"
#include "support/tiny_model.hpp"
#include "ternion/ternion.h"

#include <gtest/gtest.h>
#include <unistd.h>

extern "C" {
#include "compare_exact.h"
#include "model/model_internal.h"
}

namespace tn_test
{

// Rows of a trace by position and node: what the finder must not keep, for tests to look through.
struct KeptRows {
    std::map<std::pair<uint32_t, std::string>, std::vector<float>> rows;
    static void row(void *user, uint32_t, uint32_t position, const char *op, const float *row, size_t n)
    {
        auto *self = static_cast<KeptRows *>(user);
        self->rows[{position, op}].assign(row, row + n);
        if (self->next.row && !self->drops(op)) self->next.row(self->next.user, 0, position, op, row, n);
    }
    tn_trace next = {};
    std::function<bool(const std::string &op)> drops = [](const std::string &) { return false; };
};

// A model file on a host of its own.
class ExactSide
{
  public:
    explicit ExactSide(const std::string &path, const char *isa = nullptr, uint32_t n_threads = 1, uint32_t n_devices = 1)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = n_threads;
        params.n_cpu_devices = n_devices;
        params.cpu_isa_max = isa;
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
        tn_model_params model_params = TN_MODEL_PARAMS_INIT;
        model_params.log.level_max = TN_LOG_ERROR; // there is no tokenizer, and none is needed
        EXPECT_EQ(tn_model_open(path.c_str(), &model_params, &model), TN_OK) << tn_error_last()->message;
    }
    ~ExactSide()
    {
        EXPECT_EQ(n_open, 0);
        tn_model_close(model);
        tn_host_close(host);
    }
    ExactSide(const ExactSide &) = delete;
    ExactSide &operator=(const ExactSide &) = delete;

    tn_cli_exact_side side(const char *name) { return {name, open, close, this}; }

    tn_host *host = nullptr;
    tn_model *model = nullptr;
    std::string devices;
    uint32_t n_ubatch = 8, n_logits_max = 64;
    KeptRows kept;                                                      // of the session that was traced last
    std::function<tn_status(int n)> before = [](int) { return TN_OK; }; // told before each session is made, which it may refuse
    int n_opened = 0, n_open = 0;

  private:
    static tn_status open(void *user, tn_trace trace, tn_session **out_session)
    {
        auto *self = static_cast<ExactSide *>(user);
        const tn_status refused = self->before(self->n_opened++);
        if (refused != TN_OK) return refused;
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.n_ubatch = self->n_ubatch;
        params.n_logits_max = self->n_logits_max;
        params.no_recovery = true;
        self->kept.next = trace;
        if (trace.row) {
            self->kept.rows.clear();
            params.trace = {KeptRows::row, &self->kept};
        }
        tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
        placement_params.devices = self->devices.empty() ? nullptr : self->devices.c_str();
        tn_status status = tn_placement_create(self->model, self->host, &placement_params, &self->placement_);
        if (status != TN_OK) return status;
        params.placement = self->placement_;
        status = tn_session_create(self->model, self->host, &params, out_session);
        if (status == TN_OK)
            self->n_open++;
        else
            tn_placement_destroy(self->placement_);
        return status;
    }
    static void close(void *user, tn_session *session)
    {
        auto *self = static_cast<ExactSide *>(user);
        self->n_open--;
        tn_session_destroy(session);
        tn_placement_destroy(self->placement_);
    }
    tn_placement *placement_ = nullptr;
};

inline std::string exact_path(
    const std::string &name, const tiny_model &m, const std::function<void(std::vector<model_tensor> &)> &change = [](auto &) {})
{
    const std::string path = testing::TempDir() + name + "." + std::to_string(getpid()) + ".gguf";
    write_tiny_model(m, path, change);
    return path;
}

// Small enough for some hundreds of comparisons in a few seconds; all ops are in it.
inline tiny_model exact_model()
{
    tiny_model m;
    m.n_embd = 128, m.n_heads = 2, m.n_kv_heads = 1, m.head_dim = 64, m.n_ff = 128, m.n_vocab = 64, m.n_ctx = 32;
    return m;
}

inline std::vector<int32_t> exact_tokens(uint32_t n, uint32_t n_vocab)
{
    tiny_random random(7);
    std::vector<int32_t> tokens(n);
    for (auto &t : tokens) t = static_cast<int32_t>(random.bits() % n_vocab);
    return tokens;
}

struct Found {
    tn_cli_exact_result result;
    std::string sentence;
};

inline Found find_exact(const tn_cli_exact_request &request)
{
    Found found;
    char text[1500];
    tn_cli_exact_find(&request, &found.result);
    tn_cli_exact_sentence(&request, &found.result, text, sizeof text);
    found.sentence = text;
    return found;
}

constexpr uint32_t exact_n_tokens = 20;

class ExactSides : public testing::Test
{
  protected:
    ~ExactSides() override
    {
        for (const std::string &path : paths_) std::remove(path.c_str());
    }
    std::string write(
        const std::string &name, const tiny_model &m, const std::function<void(std::vector<model_tensor> &)> &change = [](auto &) {})
    {
        paths_.push_back(exact_path(name, m, change));
        return paths_.back();
    }
    Found find(ExactSide &a, ExactSide &b)
    {
        return find_exact({{a.side("a"), b.side("b")}, tokens.data(), exact_n_tokens, 0, n_feed, progress});
    }

    std::vector<int32_t> tokens = exact_tokens(exact_n_tokens, exact_model().n_vocab);
    uint32_t n_feed = 0;
    tn_progress progress = {};

  private:
    std::vector<std::string> paths_;
};

inline model_tensor &tensor(std::vector<model_tensor> &tensors, const std::string &name)
{
    for (model_tensor &t : tensors)
        if (t.name == name) return t;
    throw std::runtime_error(name);
}

// Of the F16 embedding, the row of the token that is at `position`, whose element is 5.
inline size_t embedding_byte(const std::vector<int32_t> &tokens, uint32_t position)
{
    return (static_cast<size_t>(tokens[position]) * exact_model().n_embd + 5) * 2;
}

inline uint32_t first_of_token(const std::vector<int32_t> &tokens, uint32_t position)
{
    return static_cast<uint32_t>(std::find(tokens.begin(), tokens.end(), tokens[position]) - tokens.begin());
}

} // namespace tn_test
