// A CUDA device of the backend over the driver's stand-in, opened as a host would.
#ifndef TN_TESTS_CUDA_HOST_DEVICE_RIG_HPP
#define TN_TESTS_CUDA_HOST_DEVICE_RIG_HPP

#include "cuda_host/driver.hpp"

#include <gtest/gtest.h>
#include <stdexcept>

extern "C" {
#include "backend/desc_check.h"
#include "cuda/cuda_memory.h"
}

namespace cuda_test
{

using Lines = std::vector<std::string>;

inline std::string last_error() { return std::string(tn_status_name(tn_error_last()->status)) + " " + tn_error_last()->message; }

// A host over the stand-in, with one driver for all its calls or a new one for each.
struct Host {
    explicit Host(bool keeps = true)
    {
        hooks.get_proc = cuda_driver::get_proc;
        hooks.is_stand_in = true;
        hooks.skips_selftest = true;
        hooks.staging_bytes = 64 << 10; // pinned memory is made, filled and looked through in every test
        host.cuda_hooks = &hooks;
        host.keep = keeps ? &keep : nullptr;
    }
    ~Host()
    {
        if (keep.release) keep.release(keep.state);
    }
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    tn_cuda_hooks hooks = {};
    tn_backend_keep keep = {};
    tn_backend_host host = {};
};

class OpenDevice
{
  public:
    explicit OpenDevice(const Host &host, uint32_t index = 0)
    {
        if (tn_cuda_device_open(&host.host, index, &device_) != TN_OK) throw std::runtime_error(last_error());
    }
    ~OpenDevice() { tn_cuda_device_close(device_); }
    OpenDevice(const OpenDevice &) = delete;
    OpenDevice &operator=(const OpenDevice &) = delete;
    tn_device *get() const { return device_; }
    tn_cuda_device *cuda() const { return tn_cuda_device_of(device_); }

  private:
    tn_device *device_ = nullptr;
};

// Each test has a driver of its own, in which nothing is left and nothing was done wrong.
class DriverTest : public testing::Test
{
  protected:
    DriverTest() { cuda_driver::reset(); }
    ~DriverTest() override
    {
        EXPECT_EQ(cuda_driver::alive(), Lines());
        EXPECT_EQ(cuda_driver::complaints(), Lines());
        EXPECT_EQ(cuda_driver::context_depth(), 0u);
    }
};

} // namespace cuda_test

#endif
