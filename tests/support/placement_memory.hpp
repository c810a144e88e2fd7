// What a placement is said to need of memory, against what a session with it then takes.
#pragma once

#include "support/run_model.hpp"

#include <algorithm>

namespace tn_test
{

struct told_memory {
    tn_status status;
    std::vector<tn_device_memory> devices;
};

inline told_memory memory_of(const tn_placement *placement, const tn_session_params &params)
{
    told_memory told = {};
    told.status = tn_placement_memory(
        placement, &params,
        [](void *user, const tn_device_memory *memory) { static_cast<told_memory *>(user)->devices.push_back(*memory); }, &told);
    return told;
}

inline tn_device_memory sum_of(const std::vector<tn_device_memory> &devices)
{
    tn_device_memory sum = {};
    for (const tn_device_memory &m : devices) {
        EXPECT_EQ(m.needed_bytes, m.weights_bytes - m.mapped_bytes + m.kv_bytes + m.scratch_bytes) << m.device;
        EXPECT_LE(m.device_free_bytes, m.device_total_bytes) << m.device;
        sum.weights_bytes += m.weights_bytes;
        sum.mapped_bytes += m.mapped_bytes;
        sum.kv_bytes += m.kv_bytes;
        sum.scratch_bytes += m.scratch_bytes;
        sum.needed_bytes += m.needed_bytes;
    }
    return sum;
}

// Names of the placement's devices, once all figures are those of a session. `ranking_max`: candidates a row of the last device, for which
// the session has places in the host's memory.
inline std::vector<std::string> expect_what_a_session_takes(const tn_model *model, tn_host *host, const tn_placement *placement,
                                                            tn_session_params params, uint32_t ranking_max)
{
    params.placement = placement;
    const told_memory told = memory_of(placement, params);
    EXPECT_EQ(told.status, TN_OK) << tn_error_last()->message;
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    std::vector<std::string> names;
    for (const tn_device_memory &m : told.devices) names.push_back(m.device);
    if (!session) return names;
    const tn_device_memory sum = sum_of(told.devices);
    tn_session_info info;
    tn_session_get_info(session, &info);
    const uint64_t row_bytes = uint64_t(info.n_vocab) * sizeof(float) + (ranking_max ? (uint64_t(ranking_max) + 1) * sizeof(uint32_t) : 0);
    EXPECT_EQ(sum.weights_bytes, info.weights_bytes);
    EXPECT_EQ(sum.kv_bytes, info.kv_bytes);
    // Rows of the first lane, and of others, which are never of more than a step.
    const uint64_t n_rows = info.n_logits_max + uint64_t(info.n_lanes - 1) * std::min(info.n_logits_max, info.n_ubatch);
    EXPECT_EQ(sum.scratch_bytes + n_rows * row_bytes, info.scratch_bytes);
    tn_session_destroy(session);
    return names;
}

// The default model, and a placement of it on devices of a host that the test opens.
struct Placed {
    Placed() { EXPECT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message; }
    ~Placed()
    {
        close();
        tn_model_close(model);
    }
    Placed(const Placed &) = delete;
    Placed &operator=(const Placed &) = delete;
    void open(const tn_host_params *params = nullptr)
    {
        close();
        EXPECT_EQ(tn_host_open(params, &host), TN_OK) << tn_error_last()->message;
    }
    void close()
    {
        tn_placement_destroy(placement);
        placement = nullptr;
        tn_host_close(host);
        host = nullptr;
    }
    void place(const char *devices, int n_gpu_layers = -1)
    {
        tn_placement_destroy(placement);
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = devices;
        params.has_n_gpu_layers = n_gpu_layers >= 0;
        params.n_gpu_layers = n_gpu_layers;
        EXPECT_EQ(tn_placement_create(model, host, &params, &placement), TN_OK) << tn_error_last()->message;
    }
    told_memory memory(const tn_session_params &params = TN_SESSION_PARAMS_INIT) const { return memory_of(placement, params); }
    std::vector<std::string> expect(const tn_session_params &params, uint32_t ranking_max = 0) const
    {
        return expect_what_a_session_takes(model, host, placement, params, ranking_max);
    }
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
};

// Of one token a step, of many sequences, and as a session is without being told.
inline std::vector<tn_session_params> sessions_of_all_sizes()
{
    tn_session_params usual = TN_SESSION_PARAMS_INIT, many = usual, one = usual;
    many.n_ctx = 300, many.n_seqs_max = 5, many.n_logits_max = 7, many.n_ubatch = 70;
    one.n_ctx = 64, one.n_ubatch = 1;
    return {usual, many, one};
}

} // namespace tn_test
