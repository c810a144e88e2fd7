// One suite for every registered backend, bit by bit against src/ref: every case of *_cases.cpp on every device.
#include "conformance/cases.h"
#include "conformance/expectations.h"
#include "support/isa_levels.hpp"

#include <gtest/gtest.h>

namespace conformance
{
namespace
{

// Every device of every registered backend; CPU devices at each level that this machine has and at several numbers of threads.
std::vector<Target> all_targets()
{
    std::vector<Target> targets;
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    uint32_t n_backends;
    const tn_backend *const *backends = tn_backend_list(&n_backends);
    for (uint32_t b = 0; b < n_backends; b++) {
        uint32_t n_devices = 0;
        host.keep = shared_keep(backends[b]);
        if (backends[b]->device_count(&host, &n_devices) != TN_OK) continue;
        for (uint32_t d = 0; d < n_devices; d++) {
            tn_device_desc best;
            if (backends[b]->device_describe(&host, d, &best) != TN_OK) continue;
            if (!best.isa[0]) {
                targets.push_back({best.name, backends[b], d, 0, "", "", ""});
                continue;
            }
            for (const std::string &isa : tn_test::isa_levels()) {
                host.cpu_isa_max = isa.c_str();
                tn_device_desc desc;
                if (backends[b]->device_describe(&host, d, &desc) != TN_OK || desc.isa != isa) continue;
                targets.push_back({std::string(desc.name) + "_" + isa + "_1", backends[b], d, 1, isa, "t2_16", "off"});
                targets.push_back({std::string(desc.name) + "_" + isa + "_3_dense_skipping", backends[b], d, 3, isa, "t5_16", "on"});
            }
            targets.push_back({std::string(best.name) + "_best_3", backends[b], d, 3, "", "t2_16", "off"});
            targets.push_back({std::string(best.name) + "_best_8", backends[b], d, 8, "", "", ""});
            host.cpu_isa_max = nullptr;
        }
    }
    return targets;
}

std::vector<Case> all_cases()
{
    std::vector<Case> cases;
    for (const std::vector<Case> &part : {interface_cases(), op_cases(), model_cases()})
        cases.insert(cases.end(), part.begin(), part.end());
    return cases;
}

class Conformance : public testing::TestWithParam<std::tuple<Target, Case>>
{
};

TEST_P(Conformance, Passes)
{
    const auto &[target, test] = GetParam();
    const Expectation expected = expectation_of(target.backend->name, test.name);
    if (expected.expect == Expect::kUnsupported) GTEST_SKIP() << expected.reason;
    Result result;
    try {
        result = test.run(target);
    } catch (const std::runtime_error &error) {
        result = error.what();
    }
    if (expected.expect == Expect::kFailure) {
        EXPECT_NE(result, "") << "passes although it is listed as an expected failure (" << expected.reason << "): take it off the list";
    } else {
        EXPECT_EQ(result, "");
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, testing::Combine(testing::ValuesIn(all_targets()), testing::ValuesIn(all_cases())),
                         [](const testing::TestParamInfo<std::tuple<Target, Case>> &test) {
                             return std::get<0>(test.param).name + "_" + std::get<1>(test.param).name;
                         });

} // namespace
} // namespace conformance
