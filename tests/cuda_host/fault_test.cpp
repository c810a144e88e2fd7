// Every call of the driver fails once, between a driver that is found and a device that is closed: a status with the result's name comes
// back, what was not lost goes on, and nothing stays behind.
#include "cuda_host/fault_walk.hpp"

namespace cuda_test
{
namespace
{

// All that a host does with a device but programs.
class Walk
{
  public:
    explicit Walk(const Fault *fault, bool silent = false) : fault_(fault), attempts_(fault)
    {
        host_.hooks.staging_bytes = 4096;
        attempts_.silent = silent;
    }
    ~Walk() { close(); }
    Walk(const Walk &) = delete;
    void run()
    {
        if (!find() || !open()) return;
        for (tn_buffer **buffer : {&first_, &second_})
            if (!attempts_.make("create", [&] { return tn_cuda_buffer_create(device_, 10000, buffer); })) return;
        std::vector<uint8_t> in(10000), out(10000);
        for (size_t i = 0; i < in.size(); i++) in[i] = (uint8_t)(i % 251);
        attempts_.make("write", [&] { return tn_cuda_buffer_write(first_, 0, in.data(), in.size()); });
        if (attempts_.make("read", [&] { return tn_cuda_buffer_read(first_, 0, out.data(), out.size()); })) {
            EXPECT_EQ(in, out);
        }
        if (attempts_.make("read", [&] { return tn_cuda_buffer_read(second_, 5, out.data(), 9000); })) {
            EXPECT_TRUE(std::all_of(out.begin(), out.begin() + 9000, [](uint8_t byte) { return byte == 0; }));
        }
        attempts_.make("map", [&] { return tn_cuda_buffer_map(device_, kMapped, sizeof kMapped, &mapped_); });
    }
    void close()
    {
        for (tn_buffer **buffer : {&first_, &second_, &mapped_}) tn_cuda_buffer_destroy(*buffer), *buffer = nullptr;
        tn_cuda_device_close(device_);
        device_ = nullptr;
    }
    const std::optional<std::string> &failed() const { return start_failed_ ? start_failed_ : attempts_.failed(); }

  private:
    // Where the driver cannot be started there are no devices, and the reason has the result's name or says it in words.
    bool find()
    {
        uint32_t n = 0;
        EXPECT_EQ(tn_cuda_device_count(&host_.host, &n), TN_OK);
        if (n == 1) return true;
        start_failed_ = "find";
        const std::string reason = host_.keep.absent, number = "(" + std::to_string(fault_ ? fault_->result : 0) + ")";
        EXPECT_TRUE(reason.find(number) != std::string::npos || reason == "the driver found no GPU of NVIDIA's") << reason;
        return false;
    }
    bool open()
    {
        tn_device_desc desc = {};
        attempts_.make("describe", [&] {
            const tn_status status = tn_cuda_device_describe(&host_.host, 0, &desc);
            if (status != TN_OK || !desc.unusable[0]) return status;
            attempts_.note_failure("describe", desc.unusable); // a device that takes no context
            attempts_.silent = true;
            return TN_OK;
        });
        attempts_.has_device = attempts_.make("open", [&] { return tn_cuda_device_open(&host_.host, 0, &device_); });
        return attempts_.has_device;
    }

    alignas(64) static constexpr uint8_t kMapped[100] = {1, 2, 3};
    const Fault *fault_;
    Attempts attempts_;
    Host host_;
    tn_device *device_ = nullptr;
    tn_buffer *first_ = nullptr, *second_ = nullptr, *mapped_ = nullptr;
    std::optional<std::string> start_failed_;
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
    for (const auto &[function, n] : calls) {
        const bool silent = kSilent.count(function) > 0;
        uint32_t n_failed = 0; // walks that heard of it
        for (uint32_t nth = 1; nth <= n; nth++) {
            for (const Fault &fault : kFaults) {
                SCOPED_TRACE(function + ", call " + std::to_string(nth) + ", " + fault.name);
                cuda_driver::reset();
                cuda_driver::fail(function, nth, fault.result);
                Walk walk(&fault, silent);
                walk.run();
                n_failed += walk.failed().has_value();
                walk.close();
                check_traces(function);
                Walk again(nullptr);
                again.run();
                EXPECT_FALSE(again.failed()) << *again.failed();
            }
            if (HasFailure()) return;
        }
        EXPECT_EQ(n_failed == 0, silent) << function;
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
