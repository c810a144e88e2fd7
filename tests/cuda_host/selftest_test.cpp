// The self-test at open: devices that are right pass in every form; each kernel that computes wrongly is noticed, and its device left out;
// a call of the driver that fails on the way is told, and nothing stays behind.
#include "cuda_host/fault_walk.hpp"
#include "support/quick.hpp"

#include <algorithm>
#include <map>

extern "C" {
#include "backend/builtin.h"
}

namespace cuda_test
{
namespace
{

using Names = std::set<std::string>;

// Opens the device with its self-test, and closes it. calls: of the driver, as far as the device is open.
tn_status open_once(std::map<std::string, uint32_t> *calls = nullptr)
{
    Host host;
    host.hooks.skips_selftest = false;
    tn_device *device = nullptr;
    const tn_status status = tn_cuda_backend_table.device_open(&host.host, 0, &device);
    EXPECT_EQ(device != nullptr, status == TN_OK);
    if (calls) *calls = cuda_driver::calls();
    tn_cuda_backend_table.device_close(device);
    return status;
}

cuda_driver::DriverOptions device_of(int capability, int n_sms = 4)
{
    cuda_driver::DriverOptions options;
    options.capability = capability;
    options.n_sms = n_sms;
    return options;
}

// Whether another kernel takes all that this one would compute: many tokens go through wgmma.
bool is_replaced(const std::string &kernel, int capability) { return capability == 90 && kernel == "ternary_many_mma"; }

// Kernels of exact steps that a device of this capability has.
Names kernels_of(int capability)
{
    enum class Form { ANY, DP4A, MMA, BMMA, NO_BMMA, WGMMA };
    struct Listed {
        std::string name;
        Form form;
    };
    const Listed all[] = {
#define TN_CUDA_KERNEL(name, params, threads, form) {#name, Form::form},
#include "cuda/kernels/cuda_kernels.inc"
#undef TN_CUDA_KERNEL
    };
    Names names;
    for (const Listed &kernel : all) {
        const bool is_probe = kernel.name.rfind("probe_", 0) == 0;           // measures the card
        const bool is_fast = kernel.name.find("_fast") != std::string::npos; // has no bits to be compared with
        const bool has_mma = capability >= 80, has_bits = has_mma && capability < 100;
        const std::map<Form, bool> fits = {{Form::ANY, true},      {Form::DP4A, !has_mma},     {Form::MMA, has_mma},
                                           {Form::BMMA, has_bits}, {Form::NO_BMMA, !has_bits}, {Form::WGMMA, capability == 90}};
        if (fits.at(kernel.form) && !is_probe && !is_fast && !is_replaced(kernel.name, capability)) names.insert(kernel.name);
    }
    return names;
}

class SelfTest : public DriverTest
{
};

TEST_F(SelfTest, PassesInEveryForm)
{
    for (const auto &[capability, n_sms] : {std::pair(75, 40), std::pair(80, 1), std::pair(90, 132), std::pair(120, 20)}) {
        cuda_driver::reset(device_of(capability, n_sms));
        EXPECT_EQ(open_once(), TN_OK) << capability << ": " << last_error();
        EXPECT_EQ(cuda_driver::complaints(), Lines());
    }
}

class SelfTestOf : public DriverTest, public testing::WithParamInterface<int>
{
};

TEST_P(SelfTestOf, RunsEveryKernel)
{
    cuda_driver::reset(device_of(GetParam()));
    ASSERT_EQ(open_once(), TN_OK) << last_error();
    EXPECT_EQ(cuda_driver::launched(), kernels_of(GetParam()));
}

// Whether nobody need hear that a call of it failed: it gives something back, as a context is entered and left for too.
bool may_be_silent(const std::string &function)
{
    return kSilent.count(function) > 0 || function.rfind("cuCtxP", 0) == 0 || function == "cuDevicePrimaryCtxRelease";
}

// A device whose self-test cannot be run is no device. The results are those that a kernel or memory may end with.
TEST_F(SelfTest, TellsOfACallThatFailsOnTheWay)
{
    std::map<std::string, uint32_t> calls;
    ASSERT_EQ(open_once(&calls), TN_OK) << last_error();
    EXPECT_GT(calls.at("cuGraphLaunch"), 5u);
    size_t next = 0;
    for (const auto &[function, n] : calls) {
        bool is_heard = false;
        const uint32_t sampled = tn_test::is_quick() ? n / 8 + 1 : (n + 1) / 2;
        for (const uint32_t nth : std::set<uint32_t>{sampled, tries_all() ? n : sampled}) {
            const Fault &fault = kFaults[next++ % 3];
            SCOPED_TRACE(function + ", call " + std::to_string(nth) + ", " + fault.name);
            cuda_driver::reset();
            cuda_driver::fail(function, nth, fault.result);
            const tn_status status = open_once();
            is_heard = is_heard || status != TN_OK;
            EXPECT_TRUE(status != TN_OK || may_be_silent(function));
            if (status != TN_OK) {
                const bool has_name = last_error().find(fault.name) != std::string::npos;
                EXPECT_TRUE(has_name || last_error().find("(" + std::to_string(fault.result) + ")") != std::string::npos) << last_error();
                EXPECT_EQ(last_error().find("left out"), std::string::npos) << last_error();
            }
            check_traces(function);
            if (HasFailure()) return;
        }
        EXPECT_TRUE(is_heard || kSilent.count(function) > 0) << function;
    }
    cuda_driver::reset();
}

const int kForms[] = {75, 80, 90};

// Kernels that are made to compute wrongly on a device of this form. In a quick run each of them in one form, of those that have it in
// turn. What `begin` copies are sizes and addresses, which the other kernels follow anywhere; of what `rank_groups` finds the upper bits
// matter.
Names bent_on(int capability)
{
    std::map<std::string, std::vector<int>> forms;
    for (const int form : kForms) {
        for (const std::string &kernel : kernels_of(form)) forms[kernel].push_back(form);
    }
    forms.erase("begin");
    forms.erase("rank_groups");
    Names names;
    size_t i = 0;
    for (const auto &[kernel, those] : forms) {
        const bool is_one = std::count(those.begin(), those.end(), capability) > 0;
        if (is_one && (!tn_test::is_quick() || those[i % those.size()] == capability)) names.insert(kernel);
        i++;
    }
    return names;
}

TEST_P(SelfTestOf, LeavesOutADeviceOnWhichAKernelComputesWrongly)
{
    const Names kernels = bent_on(GetParam());
    EXPECT_FALSE(kernels.empty());
    for (const std::string &kernel : kernels) {
        cuda_driver::DriverOptions options = device_of(GetParam());
        options.bent = kernel;
        cuda_driver::reset(options);
        EXPECT_EQ(open_once(), TN_INTERNAL) << kernel;
        const std::string message = tn_error_last()->message;
        EXPECT_EQ(message.rfind("cuda:host: self-test: ", 0), 0u) << kernel << ": " << message;
        EXPECT_NE(message.find("(sm_" + std::to_string(GetParam()) + ", a step of "), std::string::npos) << kernel << ": " << message;
        EXPECT_NE(message.find(" than the reference: CUDA 13.0; this device is left out"), std::string::npos) << kernel << ": " << message;
        EXPECT_EQ(cuda_driver::alive(), Lines()) << kernel;
        EXPECT_EQ(cuda_driver::complaints(), Lines()) << kernel;
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, SelfTestOf, testing::ValuesIn(kForms), [](const auto &form) { return "sm_" + std::to_string(form.param); });

} // namespace
} // namespace cuda_test
