// Fast numerics: how far the logits of the model that comes with ternion are from the exact ones, and that nothing else changes. What comes
// before the head is exact in both (docs/design/0013-cuda.md says why), so the CPU computes most of it here.
#include "cuda_host/device_rig.hpp"
#include "support/quick.hpp"
#include "support/run_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

extern "C" {
#include "runtime/host.h"
#include "ternion/placement.h"
}

namespace cuda_test
{
namespace
{

struct Distance {
    double mean_kld = 0, max_kld = 0, max_delta = 0, same_top = 0;
    size_t n = 0; // rows
};

// Natural logarithms of the probabilities of a row.
std::vector<double> log_probabilities(const float *row, size_t n)
{
    const double max = *std::max_element(row, row + n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += std::exp(row[i] - max);
    std::vector<double> p(row, row + n);
    for (double &value : p) value -= max + std::log(sum);
    return p;
}

void add_distance(const std::vector<float> &exact, const std::vector<float> &fast, size_t n_vocab, Distance &d)
{
    ASSERT_EQ(exact.size(), fast.size());
    for (size_t at = 0; at < exact.size(); at += n_vocab, d.n++) {
        const std::vector<double> p = log_probabilities(&exact[at], n_vocab), q = log_probabilities(&fast[at], n_vocab);
        double kld = 0;
        for (size_t i = 0; i < n_vocab; i++) {
            kld += std::exp(p[i]) * (p[i] - q[i]);
            d.max_delta = std::max(d.max_delta, std::fabs((double)exact[at + i] - fast[at + i]));
        }
        d.mean_kld += kld;
        d.max_kld = std::max(d.max_kld, kld);
        d.same_top += std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    }
}

class FastNumerics : public DriverTest
{
  protected:
    void SetUp() override
    {
        setenv("TN_VULKAN", "off", 1); // whose devices would be listed too
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model), TN_OK) << last_error();
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
        tn_host_hook_cuda(host, &stand_in.hooks);
        ids = tn_test::read_golden("default_model.golden").ids;
        ASSERT_GE(ids.size(), 400u);
    }
    void TearDown() override
    {
        tn_host_close(host);
        tn_model_close(model);
        unsetenv("TN_VULKAN");
    }
    // All rows of logits, `feed` tokens a step; the last layer and the head are on the device.
    std::vector<float> logits(const char *device, const char *numerics, uint32_t feed)
    {
        std::vector<float> rows;
        compute(device, numerics, feed, rows);
        return rows;
    }
    void compute(const char *device, const char *numerics, uint32_t feed, std::vector<float> &rows)
    {
        tn_placement *placement = nullptr;
        tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
        const std::string devices = std::string("cpu0,cpu0,cpu0,cpu0,cpu0,") + device;
        placement_params.devices = devices.c_str();
        ASSERT_EQ(tn_placement_create(model, host, &placement_params, &placement), TN_OK) << last_error();
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.no_recovery = true; // the device that is meant, and no other
        params.placement = placement;
        params.n_ubatch = params.n_logits_max = feed;
        params.numerics = numerics;
        tn_session *session = nullptr;
        ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << last_error();
        tn_session_info info;
        tn_session_get_info(session, &info);
        n_vocab = info.n_vocab;
        const std::vector<uint8_t> all(ids.size(), 1);
        for (size_t at = 0; at < ids.size(); at += feed) {
            tn_batch batch = TN_BATCH_INIT;
            batch.n_tokens = (uint32_t)std::min<size_t>(feed, ids.size() - at);
            batch.tokens = ids.data() + at;
            batch.logits = all.data();
            ASSERT_EQ(tn_session_decode(session, &batch), TN_OK) << last_error();
            for (uint32_t i = 0; i < batch.n_tokens; i++) {
                const float *row = tn_session_logits(session, i);
                ASSERT_NE(row, nullptr);
                rows.insert(rows.end(), row, row + n_vocab);
            }
        }
        tn_session_destroy(session);
        tn_placement_destroy(placement);
    }
    static bool is_same(const std::vector<float> &a, const std::vector<float> &b)
    {
        return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    }
    Host stand_in;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    std::vector<int32_t> ids;
    size_t n_vocab = 0;
};

TEST_F(FastNumerics, StayCloseToTheExactOnes)
{
    const uint32_t n = tn_test::is_quick() ? 120 : 400;
    ids.resize(n);
    const std::vector<float> exact = logits("cpu0", "exact", n);
    Distance d;
    for (const uint32_t feed : {n, 40u, 7u}) { // tensor cores; tensor cores and, of the last step, a half tile; fused multiply-adds
        const std::vector<float> fast = logits("cuda:host", "fast", feed);
        EXPECT_FALSE(is_same(exact, fast)) << "the exact kernels were run, " << feed << " tokens a step";
        add_distance(exact, fast, n_vocab, d);
    }
    d.mean_kld /= (double)d.n;
    d.same_top /= (double)d.n;
    std::printf("fast numerics, %zu rows: mean KLD %.3g, max KLD %.3g, max |delta logit| %.3g, same top %.3f %%\n", d.n, d.mean_kld,
                d.max_kld, d.max_delta, 100 * d.same_top);
    EXPECT_EQ(d.n, 3 * n);
    EXPECT_LE(d.mean_kld, 1e-5);
    EXPECT_LE(d.max_kld, 1e-2);
    EXPECT_LE(d.max_delta, 1e-4);
    EXPECT_GE(d.same_top, 0.999);
}

TEST_F(FastNumerics, StayCloseOnDevicesWithoutMatrixInstructions)
{
    stand_in.hooks.compute_capability = 75;
    ids.resize(60);
    const std::vector<float> exact = logits("cpu0", "exact", 60), fast = logits("cuda:host", "fast", 60);
    Distance d;
    EXPECT_FALSE(is_same(exact, fast));
    add_distance(exact, fast, n_vocab, d);
    EXPECT_LE(d.max_kld, 1e-5);
    EXPECT_LE(d.max_delta, 1e-4);
    EXPECT_EQ(d.same_top, 60);
}

TEST_F(FastNumerics, LeaveExactSessionsOfTheSameDeviceExact)
{
    ids.resize(60);
    const std::vector<float> exact = logits("cpu0", nullptr, 60);
    EXPECT_FALSE(is_same(exact, logits("cuda:host", "fast", 60)));
    EXPECT_TRUE(is_same(exact, logits("cuda:host", "exact", 60)));
    EXPECT_TRUE(is_same(exact, logits("cuda:host", nullptr, 7)));
}

TEST_F(FastNumerics, AreAPermissionThatTheCpuDoesNotUse)
{
    EXPECT_TRUE(is_same(logits("cpu0", "exact", 400), logits("cpu0", "fast", 400)));
}

TEST_F(FastNumerics, AreRefusedByAnotherName)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.no_recovery = true; // the device that is meant, and no other
    tn_session *session = nullptr;
    for (const char *name : {"", "Fast", "fastest", "quick"}) {
        params.numerics = name;
        EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT) << name;
        EXPECT_EQ(std::string(tn_error_last()->message), "numerics can not be '" + std::string(name) + "': exact or fast are known");
    }
}

} // namespace
} // namespace cuda_test
