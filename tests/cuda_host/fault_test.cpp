// Every call of the driver fails once, between a driver that is found and a device that is closed: a status with the result's name comes
// back, what was not lost goes on, and nothing stays behind.
#include "cuda_host/device_rig.hpp"

#include <functional>
#include <optional>

namespace cuda_test
{
namespace
{

struct Fault {
    CUresult result;
    const char *name;
    tn_status status;
};
const Fault kFaults[] = {{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", TN_OUT_OF_MEMORY},
                         {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", TN_DEVICE_LOST},
                         {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", TN_DEVICE_LOST},
                         {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", TN_UNAVAILABLE}};

// All that a host does with a device but programs. A call that fails is made once more, and must then succeed unless the device is lost.
class Walk
{
  public:
    explicit Walk(const Fault *fault) : fault_(fault) { host_.hooks.staging_bytes = 4096; }
    ~Walk() { close(); }
    Walk(const Walk &) = delete;
    void run()
    {
        if (!find()) return;
        attempt("describe", [&] { return tn_cuda_device_describe(&host_.host, 0, &desc_); });
        if (!attempt("open", [&] { return tn_cuda_device_open(&host_.host, 0, &device_); })) return;
        for (tn_buffer **buffer : {&first_, &second_})
            if (!attempt("create", [&] { return tn_cuda_buffer_create(device_, 10000, buffer); })) return;
        std::vector<uint8_t> in(10000), out(10000);
        for (size_t i = 0; i < in.size(); i++) in[i] = (uint8_t)(i % 251);
        attempt("write", [&] { return tn_cuda_buffer_write(first_, 0, in.data(), in.size()); });
        if (attempt("read", [&] { return tn_cuda_buffer_read(first_, 0, out.data(), out.size()); })) {
            EXPECT_EQ(in, out);
        }
        if (attempt("read", [&] { return tn_cuda_buffer_read(second_, 5, out.data(), 9000); })) {
            EXPECT_TRUE(std::all_of(out.begin(), out.begin() + 9000, [](uint8_t byte) { return byte == 0; }));
        }
        attempt("map", [&] { return tn_cuda_buffer_map(device_, kMapped, sizeof kMapped, &mapped_); });
    }
    void close()
    {
        for (tn_buffer **buffer : {&first_, &second_, &mapped_}) tn_cuda_buffer_destroy(*buffer), *buffer = nullptr;
        tn_cuda_device_close(device_);
        device_ = nullptr;
    }
    const std::optional<std::string> &failed() const { return failed_; }

  private:
    // Where the driver cannot be started there are no devices, and the reason has the result's name or says it in words.
    bool find()
    {
        uint32_t n = 0;
        EXPECT_EQ(tn_cuda_device_count(&host_.host, &n), TN_OK);
        if (n == 1) return true;
        failed_ = "find";
        const std::string reason = host_.keep.absent, number = "(" + std::to_string(fault_ ? fault_->result : 0) + ")";
        EXPECT_TRUE(reason.find(number) != std::string::npos || reason == "the driver found no GPU of NVIDIA's") << reason;
        return false;
    }
    bool attempt(const std::string &what, const std::function<tn_status()> &call)
    {
        const bool had_failed = cuda_driver::has_failed();
        tn_status status = call();
        const bool fails_now = !had_failed && cuda_driver::has_failed();
        if (status == TN_OK && what == "describe" && desc_.unusable[0]) { // a device that takes no context
            failed_ = what;
            EXPECT_NE(std::string(desc_.unusable).find(fault_->name), std::string::npos) << desc_.unusable;
            return true;
        }
        if (status == TN_OK) {
            EXPECT_FALSE(is_lost_) << what;
            EXPECT_FALSE(fails_now) << what << " does not tell that a call failed in it";
            return true;
        }
        const std::string message = last_error();
        EXPECT_NE(message.find(fault_ ? fault_->name : "no failure"), std::string::npos) << what << ": " << message;
        EXPECT_STREQ(tn_error_last()->device, "cuda:host") << message;
        EXPECT_EQ(message.find(std::string(tn_status_name(status)) + " cuda:host"), 0u) << message;
        EXPECT_EQ(tn_error_last()->native_code, fault_ ? fault_->result : 0) << message;
        EXPECT_EQ(status, fault_ ? fault_->status : TN_OK) << what << ": " << message;
        if (is_lost_) return false; // which is refused from then on
        EXPECT_FALSE(failed_) << "a second failure: " << what << ": " << message;
        failed_ = what;
        is_lost_ = status == TN_DEVICE_LOST && device_;
        if (is_lost_) return false;
        status = call();
        EXPECT_EQ(status, TN_OK) << what << " the second time: " << last_error();
        return status == TN_OK;
    }

    alignas(64) static constexpr uint8_t kMapped[100] = {1, 2, 3};
    const Fault *fault_;
    Host host_;
    tn_device_desc desc_ = {};
    tn_device *device_ = nullptr;
    tn_buffer *first_ = nullptr, *second_ = nullptr, *mapped_ = nullptr;
    bool is_lost_ = false;
    std::optional<std::string> failed_;
};

class Faults : public DriverTest
{
};

TEST_F(Faults, AnyCallMayFailOnce)
{
    {
        Walk walk(nullptr);
        walk.run();
        walk.close();
        EXPECT_FALSE(walk.failed());
    }
    const std::map<std::string, uint32_t> calls = cuda_driver::calls();
    EXPECT_GT(calls.size(), 25u);
    // What gives something back is not heard of: there is nothing that a caller could do.
    const std::set<std::string> silent = {"cuMemFree",       "cuMemFreeHost",  "cuEventDestroy",
                                          "cuStreamDestroy", "cuModuleUnload", "cuStreamSynchronize"};
    for (const auto &[function, n] : calls) {
        uint32_t n_failed = 0; // walks that heard of it
        for (uint32_t nth = 1; nth <= n; nth++) {
            for (const Fault &fault : kFaults) {
                SCOPED_TRACE(function + ", call " + std::to_string(nth) + ", " + fault.name);
                cuda_driver::reset();
                cuda_driver::fail(function, nth, fault.result);
                Walk walk(&fault);
                walk.run();
                n_failed += walk.failed().has_value();
                walk.close();
                EXPECT_TRUE(cuda_driver::has_failed());
                Lines complaints = cuda_driver::complaints();
                // Where the context cannot be entered to give things back, they go with it.
                if (function == "cuCtxPushCurrent" && !complaints.empty()) complaints.erase(complaints.begin());
                EXPECT_EQ(complaints, Lines());
                EXPECT_EQ(cuda_driver::alive(), Lines());
                EXPECT_EQ(cuda_driver::context_depth(), 0u);
                Walk again(nullptr);
                again.run();
                EXPECT_FALSE(again.failed()) << *again.failed();
            }
            if (HasFailure()) return;
        }
        EXPECT_EQ(n_failed == 0, silent.count(function) == 1) << function;
    }
    cuda_driver::reset();
}

TEST_F(Faults, AResultWithoutANameHasItsNumber)
{
    Host host;
    OpenDevice device(host);
    tn_buffer *buffer = nullptr;
    cuda_driver::fail("cuMemsetD8Async", 1, 4711);
    EXPECT_EQ(tn_cuda_buffer_create(device.get(), 1, &buffer), TN_INTERNAL);
    EXPECT_EQ(last_error(),
              "INTERNAL cuda:host: cuMemsetD8Async failed with an unknown CUresult (4711): please report it with the name and "
              "version of the driver (ternion devices)");
}

} // namespace
} // namespace cuda_test
