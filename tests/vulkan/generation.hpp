// A session of the small default model on a Vulkan device, with a layer between it and the driver, and what the CPU has to say.
#ifndef TN_TESTS_VULKAN_GENERATION_HPP
#define TN_TESTS_VULKAN_GENERATION_HPP

#include "support/run_model.hpp"
#include "vulkan/fault_layer.hpp"

extern "C" {
#include "runtime/host.h"
}

namespace vulkan_test
{

// A prompt of kPrompt tokens, and single ones.
constexpr size_t kPrompt = 6;
inline const std::vector<int32_t> kText = {5, 61, 8, 300, 12, 7, 99, 4, 41};

// A host with the layer, and a session on its first Vulkan device.
class Generation
{
  public:
    explicit Generation(FaultLayer *layer)
    {
        EXPECT_EQ(tn_host_open(nullptr, &host_), TN_OK);
        tn_host_hook_vulkan(host_, &layer->hooks);
        EXPECT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK);
    }
    ~Generation()
    {
        stop();
        tn_model_close(model_);
        tn_host_close(host_);
    }
    Generation(const Generation &) = delete;
    Generation &operator=(const Generation &) = delete;
    tn_status start(const char *devices = "vulkan0")
    {
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = devices;
        tn_session_params session_params = TN_SESSION_PARAMS_INIT;
        session_params.n_ctx = 128;
        session_params.no_recovery = true;
        tn_status status = tn_placement_create(model_, host_, &params, &placement_);
        session_params.placement = placement_;
        session_ = reinterpret_cast<tn_session *>(this); // must not stay
        if (status == TN_OK)
            status = tn_session_create(model_, host_, &session_params, &session_);
        else
            session_ = nullptr;
        EXPECT_EQ(session_ == nullptr, status != TN_OK);
        return status;
    }
    void stop()
    {
        tn_session_destroy(session_);
        tn_placement_destroy(placement_);
        session_ = nullptr;
        placement_ = nullptr;
    }
    // The logits behind tokens [begin, end) of the text, where they are decoded.
    tn_status decode(size_t begin, size_t end)
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(end - begin);
        batch.tokens = kText.data() + begin;
        const tn_status status = tn_session_decode(session_, &batch);
        if (status != TN_OK) return status;
        tn_session_info info;
        tn_session_get_info(session_, &info);
        const float *row = tn_session_logits(session_, 0);
        logits.assign(row, row + info.n_vocab);
        return TN_OK;
    }
    std::vector<float> logits;

  private:
    tn_host *host_ = nullptr;
    tn_model *model_ = nullptr;
    tn_placement *placement_ = nullptr;
    tn_session *session_ = nullptr;
};

// The rows behind the prompt and behind each token after it, by the CPU.
inline std::vector<std::vector<float>> expected()
{
    tn_test::run_result all;
    tn_test::run_options options;
    options.devices = "cpu0";
    tn_test::run_model(tn_test::default_model(), kText, options, &all);
    std::vector<std::vector<float>> rows;
    for (size_t i = kPrompt - 1; i < kText.size(); i++)
        rows.emplace_back(all.logits.begin() + static_cast<long>(i * all.n_vocab),
                          all.logits.begin() + static_cast<long>((i + 1) * all.n_vocab));
    return rows;
}

} // namespace vulkan_test

#endif
