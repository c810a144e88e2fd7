// Calls of the backend, one after another, in which one call of the driver fails: what must hold then is checked on the way.
#ifndef TN_TESTS_CUDA_HOST_FAULT_WALK_HPP
#define TN_TESTS_CUDA_HOST_FAULT_WALK_HPP

#include "cuda_host/device_rig.hpp"
#include "support/quick.hpp"

#include <cstdlib>
#include <functional>
#include <optional>
#include <utility>

namespace cuda_test
{

struct Fault {
    CUresult result;
    const char *name;
    tn_status status;
};
constexpr Fault kFaults[] = {{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", TN_OUT_OF_MEMORY},
                             {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", TN_DEVICE_LOST},
                             {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", TN_DEVICE_LOST},
                             {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", TN_UNAVAILABLE}};

// TN_CUDA_FAULTS=all: every call of each function fails, with every result; else a sample does.
inline bool tries_all()
{
    const char *wanted = std::getenv("TN_CUDA_FAULTS");
    return wanted && std::string(wanted) == "all";
}
// Which of n calls of a function fail, and how: in a sample each result once, at the first call, the last and one between; in a quick run
// two of them, from function to function others.
inline std::vector<std::pair<uint32_t, Fault>> failures_of(uint32_t n, size_t first_fault)
{
    std::vector<std::pair<uint32_t, Fault>> failures;
    const uint32_t sample[] = {1, (n + 1) / 2, n, (n + 1) / 2};
    const size_t n_sampled = tn_test::is_quick() ? 2 : std::size(kFaults);
    for (size_t i = 0; !tries_all() && i < n_sampled; i++)
        failures.emplace_back(sample[i], kFaults[(first_fault + i) % std::size(kFaults)]);
    for (uint32_t nth = 1; tries_all() && nth <= n; nth++)
        for (const Fault &fault : kFaults) failures.emplace_back(nth, fault);
    return failures;
}

// What gives something back, or ends: nobody hears that it failed, since there is nothing that a caller could do.
inline const std::set<std::string> kSilent = {"cuMemFree",      "cuMemFreeHost",       "cuEventDestroy", "cuStreamDestroy",
                                              "cuModuleUnload", "cuStreamSynchronize", "cuGraphDestroy", "cuGraphExecDestroy"};

class Attempts
{
  public:
    explicit Attempts(const Fault *fault) : fault_(fault) {}
    // Whether the walk goes on. A call that fails is made once more, and must then succeed unless the device is lost; from then on all must
    // be refused.
    bool make(const std::string &what, const std::function<tn_status()> &call)
    {
        const bool had_failed = cuda_driver::has_failed();
        const tn_status status = call();
        const bool fails_now = !had_failed && cuda_driver::has_failed();
        if (status == TN_OK) {
            EXPECT_FALSE(is_lost_) << what;
            EXPECT_FALSE(fails_now && !silent) << what << " does not tell that a call failed in it";
            return true;
        }
        check_failure(what, status);
        if (is_lost_) return false;
        EXPECT_FALSE(failed_) << "a second failure: " << what << ": " << last_error();
        failed_ = what;
        is_lost_ = status == TN_DEVICE_LOST && has_device;
        if (is_lost_) return false;
        const tn_status again = call();
        EXPECT_EQ(again, TN_OK) << what << " the second time: " << last_error();
        return again == TN_OK;
    }
    // Of something that a call could not do and that its answer tells of.
    void note_failure(const std::string &what, const std::string &text)
    {
        failed_ = what;
        EXPECT_NE(text.find(fault_ ? fault_->name : "no failure"), std::string::npos) << text;
    }
    const std::optional<std::string> &failed() const { return failed_; }
    bool is_lost() const { return is_lost_; }
    bool has_device = false; // that can be lost
    bool silent = false;     // the function that fails is one of kSilent

  private:
    void check_failure(const std::string &what, tn_status status) const
    {
        const std::string message = last_error();
        EXPECT_NE(message.find(fault_ ? fault_->name : "no failure"), std::string::npos) << what << ": " << message;
        EXPECT_STREQ(tn_error_last()->device, "cuda:host") << message;
        EXPECT_EQ(message.find(std::string(tn_status_name(status)) + " cuda:host"), 0u) << message;
        EXPECT_EQ(tn_error_last()->native_code, fault_ ? fault_->result : 0) << message;
        EXPECT_EQ(status, fault_ ? fault_->status : TN_OK) << what << ": " << message;
    }
    const Fault *fault_;
    bool is_lost_ = false;
    std::optional<std::string> failed_;
};

// After a walk: nothing is left, nothing was done wrong, and the driver's next user finds it as new.
inline void check_traces(const std::string &function)
{
    EXPECT_TRUE(cuda_driver::has_failed());
    Lines complaints = cuda_driver::complaints();
    // Where the context cannot be entered to give things back, they go with it.
    if (function == "cuCtxPushCurrent" && !complaints.empty()) complaints.erase(complaints.begin());
    EXPECT_EQ(complaints, Lines());
    EXPECT_EQ(cuda_driver::alive(), Lines());
    EXPECT_EQ(cuda_driver::context_depth(), 0u);
}

} // namespace cuda_test

#endif
