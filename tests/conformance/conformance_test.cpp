// One suite for every registered backend, bit by bit against src/ref: every case of *_cases.cpp on every device.
#include "conformance/cases.h"
#include "conformance/expectations.h"
#include "support/isa_levels.hpp"

#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>

namespace conformance
{
namespace
{

// A device with a driver in each form of its kernels. Where it is a software device the short set is the default, since compiling the
// shaders takes most of the time there; TN_CONFORMANCE=long asks for all shapes in all forms.
void add_driver_targets(const tn_device_desc &desc, const tn_backend *backend, uint32_t index, std::vector<Target> *targets)
{
    Target target = {desc.name, backend, index, 0, "", "", "", "", {}, {}, true};
    if (desc.unusable[0]) return; // ternion devices says why
    const char *set = std::getenv("TN_CONFORMANCE");
    const bool is_emulated = desc.is_software || (tn_test::is_quick() && std::getenv("TN_CUDA_LIBRARY"));
    target.is_thorough = !is_emulated || (set && std::string(set) == "long");
    if (std::string(backend->name) == "cuda") {
        std::replace(target.name.begin(), target.name.end(), ':', '_'); // the stand-in's, which no name of a test may have
        targets->push_back(target);
        target.cuda.compute_capability = 75; // without matrix instructions
        target.name += "_sm_75";
        targets->push_back(target);
        return;
    }
    for (const char *kernels : {"dot", "mul", "mul_texel"}) {
        if (std::string(kernels) == "dot" && std::string(desc.integer_dot) == "none") continue;
        target.kernels = kernels;
        target.name = std::string(desc.name) + "_" + kernels;
        target.vulkan.job_work = target.kernels == "mul" ? 1 : 0; // attention's rows one by one
        targets->push_back(target);
        if (target.kernels == "mul_texel") { // as on a discrete GPU, every dispatch in a job of its own
            Target other = target;
            other.vulkan.force_staging = other.vulkan.compiles_early = true;
            other.vulkan.job_work = 1;
            other.name += "_staged_in_jobs";
            targets->push_back(other);
        }
        if (!target.is_thorough) continue;
        for (uint32_t n_row_threads : {16u, 64u}) {
            Target other = target;
            other.vulkan.n_row_threads = n_row_threads;
            other.name += "_rows_" + std::to_string(n_row_threads);
            targets->push_back(other);
        }
    }
}

// Every device of every registered backend; CPU devices at each level that this machine has and at several numbers of threads.
std::vector<Target> all_targets()
{
    std::vector<Target> targets;
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cuda_library = std::getenv("TN_CUDA_LIBRARY");
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
                add_driver_targets(best, backends[b], d, &targets);
                continue;
            }
            for (const std::string &isa : tn_test::sampled_isa_levels()) {
                host.cpu_isa_max = isa.c_str();
                tn_device_desc desc;
                if (backends[b]->device_describe(&host, d, &desc) != TN_OK || desc.isa != isa) continue;
                targets.push_back({std::string(desc.name) + "_" + isa + "_1", backends[b], d, 1, isa, "t2_16", "off", "", {}, {}, true});
                targets.push_back(
                    {std::string(desc.name) + "_" + isa + "_3_dense_skipping", backends[b], d, 3, isa, "t5_16", "on", "", {}, {}, true});
            }
            targets.push_back({std::string(best.name) + "_best_3", backends[b], d, 3, "", "t2_16", "off", "", {}, {}, true});
            targets.push_back({std::string(best.name) + "_best_8", backends[b], d, 8, "", "", "", "", {}, {}, true});
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

std::vector<std::tuple<Target, Case>> all_pairs()
{
    std::vector<std::tuple<Target, Case>> pairs;
    const std::vector<Case> cases = all_cases();
    for (const Target &target : all_targets()) {
        for (const Case &test : cases) {
            if (!test.applies || test.applies(target)) pairs.emplace_back(target, test);
        }
    }
    return pairs;
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

// A library that is not found, or not used, would leave nothing to test.
TEST(Cuda, HasTheDeviceOfTheLibraryThatIsNamed)
{
    const char *library = std::getenv("TN_CUDA_LIBRARY");
    if (!library) GTEST_SKIP() << "TN_CUDA_LIBRARY names no driver";
    for (const auto &[target, test] : all_pairs()) {
        if (std::string(target.backend->name) == "cuda") return;
    }
    FAIL() << library << " has no device that can be used";
}

#ifdef TN_TEST_VULKAN
TEST(Vulkan, HasADeviceHere)
{
    for (const auto &[target, test] : all_pairs()) {
        if (is_vulkan(target)) return;
    }
    if (std::getenv("CI")) FAIL() << "no Vulkan device can be used here, where there has to be one: ternion devices says why";
    GTEST_SKIP() << "no Vulkan device can be used here: ternion devices says why";
}

// What validation.sh runs would be silent without the layer too.
TEST(Vulkan, RunsUnderTheLayerThatWasAskedFor)
{
    const char *layers = std::getenv("VK_INSTANCE_LAYERS");
    if (!layers) return;
    std::vector<std::tuple<Target, Case>> pairs = all_pairs();
    for (const auto &[target, test] : pairs) {
        if (!is_vulkan(target)) continue;
        const Device device(target);
        std::ifstream maps("/proc/self/maps");
        std::stringstream text;
        text << maps.rdbuf();
        EXPECT_NE(text.str().find("libVkLayer_khronos_validation"), std::string::npos) << "VK_INSTANCE_LAYERS is " << layers;
        return;
    }
}
#endif

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, testing::ValuesIn(all_pairs()),
                         [](const testing::TestParamInfo<std::tuple<Target, Case>> &test) {
                             return std::get<0>(test.param).name + "_" + std::get<1>(test.param).name;
                         });

} // namespace
} // namespace conformance
