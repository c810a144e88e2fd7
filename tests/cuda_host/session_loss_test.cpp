// A session whose CUDA device is lost, or has no memory, at any call of the driver, from the device's opening to the last reply: the CPU's
// logits, one line, and nothing left in the driver.
#include "cuda_host/fault_walk.hpp"
#include "support/loss_story.hpp"
#include "support/quick.hpp"

#include <cstdlib>

namespace cuda_test
{
namespace
{

using Calls = std::map<std::string, uint32_t>;

const Fault &kFull = kFaults[0], &kLost = kFaults[2];

// Functions that no session calls: those that find the driver and its devices, whose failures are cuda_fault_test's; the name of a result;
// a measurement's.
const std::set<std::string> kNotOfSessions = {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuGetErrorName",
                                              "cuOccupancyMaxActiveBlocksPerMultiprocessor"};

class CudaSessionLoss : public DriverTest
{
  protected:
    CudaSessionLoss()
    {
        story_.on_host = [this](tn_host *host) { tn_host_hook_cuda(host, &stand_in_.hooks); };
    }
    void SetUp() override { setenv("TN_VULKAN", "off", 1); } // whose devices would be listed too
    void TearDown() override { unsetenv("TN_VULKAN"); }

    // Calls of the session's life, and of its end.
    void count(const char *devices, Calls *in_life, Calls *at_end)
    {
        cuda_driver::reset();
        story_.on_begin = [] { cuda_driver::forget_calls(); };
        story_.on_end = [in_life] {
            *in_life = cuda_driver::calls();
            cuda_driver::forget_calls();
        };
        const tn_test::LossTold told = story_.tell(devices);
        *at_end = cuda_driver::calls();
        expect_undisturbed(told, story_);
        EXPECT_TRUE(told.lines.empty()) << told.lines[0];
    }
    tn_test::LossTold tell(const char *devices, const std::string &function, uint32_t nth, const Fault &fault, bool at_end)
    {
        const auto fail = [=, &fault] { cuda_driver::fail(function, nth, fault.result); };
        cuda_driver::reset();
        story_.on_begin = at_end ? std::function<void()>() : fail;
        story_.on_end = at_end ? fail : std::function<void()>();
        tn_test::LossTold told = story_.tell(devices);
        check_traces(function);
        expect_undisturbed(told, story_);
        return told;
    }
    void lose(const char *devices, const std::string &function, uint32_t nth, const Fault &fault)
    {
        const tn_test::LossTold told = tell(devices, function, nth, fault, false);
        // What is given back silently leaves its failure to the next call, where the device cannot be used any more.
        if (kSilent.count(function) && told.lines.empty())
            EXPECT_EQ(told.unusable, "");
        else
            expect_one_line(told, "cuda:host", fault.status == TN_DEVICE_LOST);
    }
    void lose_at_end(const char *devices, const std::string &function, uint32_t nth, const Fault &fault)
    {
        const tn_test::LossTold told = tell(devices, function, nth, fault, true);
        EXPECT_TRUE(told.lines.empty()) << told.lines[0];
        EXPECT_EQ(told.unusable, "");
    }
    // The first call and the last lose the device, and one between finds no memory; or all, with both. In a quick run one of the three,
    // from function to function another.
    static std::vector<std::pair<uint32_t, Fault>> faults_of(uint32_t n, size_t turn)
    {
        if (tn_test::is_quick() && !tries_all()) {
            const std::pair<uint32_t, Fault> sample[] = {{1, kLost}, {(n + 1) / 2, kFull}, {n, kLost}};
            return {sample[turn % std::size(sample)]};
        }
        std::vector<std::pair<uint32_t, Fault>> faults;
        for (uint32_t nth = 1; nth <= n; nth++) {
            if (tries_all() || nth == 1 || nth == n) faults.emplace_back(nth, kLost);
            if (tries_all() || nth == (n + 1) / 2) faults.emplace_back(nth, kFull);
        }
        return faults;
    }
    void for_each(const char *devices, const Calls &calls,
                  const std::function<void(const std::string &function, uint32_t nth, const Fault &fault)> &lose_at)
    {
        size_t turn = 0;
        for (const auto &[function, n] : calls) {
            for (const auto &[nth, fault] : faults_of(n, turn++)) {
                SCOPED_TRACE(std::string(devices) + ": call " + std::to_string(nth) + " of " + function + ", " + fault.name);
                lose_at(function, nth, fault);
            }
            if (HasFailure()) return;
        }
    }
    void lose_everywhere(const char *devices)
    {
        Calls in_life, at_end;
        count(devices, &in_life, &at_end);
        for_each(devices, in_life,
                 [&](const std::string &function, uint32_t nth, const Fault &fault) { lose(devices, function, nth, fault); });
        for_each(devices, at_end,
                 [&](const std::string &function, uint32_t nth, const Fault &fault) { lose_at_end(devices, function, nth, fault); });
    }

    Host stand_in_{false};
    tn_test::LossStory story_;
};

TEST_F(CudaSessionLoss, ItsCallsAreAllThatTheDriverHas)
{
    Calls all;
    for (const bool profiles : {false, true}) { // profiles have no graphs
        Calls in_life, at_end;
        story_.profiles = profiles;
        count("cuda:host", &in_life, &at_end);
        all.insert(in_life.begin(), in_life.end());
        all.insert(at_end.begin(), at_end.end());
    }
    for (const std::string function : {
#define TN_CUDA_SYM(name, ...) #name,
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
         })
        EXPECT_NE(all.count(function), kNotOfSessions.count(function)) << function;
}

TEST_F(CudaSessionLoss, AnyCallMayFailOfADeviceAlone) { lose_everywhere("cuda:host"); }

TEST_F(CudaSessionLoss, AnyCallMayFailOfADeviceBesideTheCpu) { lose_everywhere("cpu0,cuda:host"); }

TEST_F(CudaSessionLoss, AnyCallMayFailOfADeviceThatIsProfiled)
{
    story_.profiles = true;
    lose_everywhere("cuda:host");
}

// Who asks what a session will need, before there is one, is told of the devices that are left. The session says the line.
TEST_F(CudaSessionLoss, AnyCallMayFailWhileMemoryIsAskedFor)
{
    for (const char *devices : {"cpu0,cuda:host", "cuda:host"}) {
        Calls planning, in_life, at_end;
        story_.on_planned = [&] { planning = cuda_driver::calls(); };
        count(devices, &in_life, &at_end);
        EXPECT_GT(planning.size(), 14u);
        EXPECT_EQ(planning.count("cuMemAlloc"), 0u);
        story_.on_planned = [] {};
        for_each(devices, planning, [&](const std::string &function, uint32_t nth, const Fault &fault) {
            const tn_test::LossTold told = tell(devices, function, nth, fault, false);
            const bool is_lost = fault.status == TN_DEVICE_LOST;
            EXPECT_EQ(told.planned.find("cuda:host") == std::string::npos, is_lost) << told.planned;
            if (is_lost)
                expect_one_line(told, "cuda:host", true);
            else
                EXPECT_TRUE(told.lines.empty()) << told.lines[0]; // there is memory the next time
        });
        if (!tries_all()) return;
    }
}

} // namespace
} // namespace cuda_test
