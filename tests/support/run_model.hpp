// Runs a model through the public API and returns all logits: what end-to-end tests compare by bits.
#pragma once

#include "ternion/ternion.h"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include <xxhash.h>
}

namespace tn_test
{

inline std::string source_dir() { return TN_SOURCE_DIR; }
inline std::string default_model() { return source_dir() + "/models/ternion-tales-6m.i2_s.gguf"; }
// Data that may not be shipped: TN_TEST_DATA, or the folder beside the repository.
inline std::string shared_data(const std::string &name)
{
    const char *dir = std::getenv("TN_TEST_DATA");
    return (dir ? std::string(dir) : source_dir() + "/../shared/data") + "/" + name;
}
inline bool exists(const std::string &path) { return std::ifstream(path).good(); }

inline std::string hex64(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return text;
}
inline std::string hash(const void *data, size_t bytes) { return hex64(XXH64(data, bytes, 0)); }

// How to run: the zero of each field is the library's default.
struct run_options {
    std::string isa;
    uint32_t threads = 0, cpu_devices = 0, ubatch = 0, feed = 0; // feed: tokens a decode call; 0: all at once
    std::string devices;
    int32_t n_gpu_layers = -2; // -2: not given
    bool traced = false;
    const char *i2s_layout = nullptr, *tl_preset = nullptr, *head = nullptr;
};

struct run_result {
    std::vector<float> logits; // [n][n_vocab]
    uint32_t n_vocab = 0;
    uint32_t n_segments = 0;
    std::map<std::string, std::string> op_hashes; // of the concatenated row hashes, as make_golden.py makes them
    std::string digest() const { return hash(logits.data(), logits.size() * sizeof(float)); }
    std::string row_hash(size_t row) const { return hash(logits.data() + row * n_vocab, n_vocab * sizeof(float)); }
};

struct trace_store {
    std::map<std::string, std::string> rows;
    static void row(void *user, uint32_t, uint32_t, const char *op, const float *data, size_t n)
    {
        static_cast<trace_store *>(user)->rows[op] += hash(data, n * sizeof(float));
    }
};

// Opens everything, feeds the ids and collects every row of logits. Failures are fatal test failures; the result is then empty.
inline void run_model(const std::string &path, const std::vector<int32_t> &ids, const run_options &options, run_result *result)
{
    tn_host_params host_params = TN_HOST_PARAMS_INIT;
    host_params.n_threads = options.threads;
    host_params.n_cpu_devices = options.cpu_devices;
    host_params.cpu_isa_max = options.isa.empty() ? nullptr : options.isa.c_str();
    tn_host *host = nullptr;
    ASSERT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
    tn_model *model = nullptr;
    tn_model_params model_params = TN_MODEL_PARAMS_INIT;
    model_params.i2s_layout = options.i2s_layout;
    model_params.tl_preset = options.tl_preset;
    ASSERT_EQ(tn_model_open(path.c_str(), &model_params, &model), TN_OK) << tn_error_last()->message;
    tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
    placement_params.devices = options.devices.empty() ? nullptr : options.devices.c_str();
    placement_params.has_n_gpu_layers = options.n_gpu_layers != -2;
    placement_params.n_gpu_layers = options.n_gpu_layers;
    tn_placement *placement = nullptr;
    ASSERT_EQ(tn_placement_create(model, host, &placement_params, &placement), TN_OK) << tn_error_last()->message;
    result->n_segments = tn_placement_segment_count(placement);

    trace_store store;
    uint32_t feed = options.feed ? options.feed : static_cast<uint32_t>(ids.size());
    tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    session_params.placement = placement;
    session_params.n_ubatch = options.ubatch;
    session_params.n_logits_max = feed;
    session_params.head = options.head;
    session_params.no_recovery = true; // the device that is meant, and no other
    if (options.traced) session_params.trace = {trace_store::row, &store};
    tn_session *session = nullptr;
    ASSERT_EQ(tn_session_create(model, host, &session_params, &session), TN_OK) << tn_error_last()->message;
    tn_session_info info;
    tn_session_get_info(session, &info);
    result->n_vocab = info.n_vocab;
    const std::vector<uint8_t> all(ids.size(), 1);
    for (size_t at = 0; at < ids.size(); at += feed) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(std::min<size_t>(feed, ids.size() - at));
        batch.tokens = ids.data() + at;
        batch.logits = all.data();
        ASSERT_EQ(tn_session_decode(session, &batch), TN_OK) << tn_error_last()->message;
        for (uint32_t i = 0; i < batch.n_tokens; i++) {
            const float *row = tn_session_logits(session, i);
            ASSERT_NE(row, nullptr);
            result->logits.insert(result->logits.end(), row, row + info.n_vocab);
        }
    }
    for (const auto &[op, hashes] : store.rows) result->op_hashes[op] = hash(hashes.data(), hashes.size());
    tn_session_destroy(session);
    tn_placement_destroy(placement);
    tn_model_close(model);
    tn_host_close(host);
}

// A file of make_golden.py.
struct golden {
    std::vector<int32_t> ids;
    std::string logits;
    std::map<std::string, std::string> ops;
    std::vector<std::string> rows;
};

inline golden read_golden(const std::string &name)
{
    golden g;
    std::ifstream file(source_dir() + "/tests/data/golden/" + name);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string kind, a, b;
        words >> kind;
        if (kind == "ids") {
            for (int32_t id; words >> id;) g.ids.push_back(id);
        } else if (kind == "logits") {
            words >> g.logits;
        } else if (kind == "op") {
            words >> a >> b;
            g.ops[a] = b;
        } else if (kind == "row") {
            words >> a >> b;
            g.rows.push_back(b);
        }
    }
    return g;
}

} // namespace tn_test
