// A host's first devices with a table of functions of the test's, for as long as it lives.
#pragma once

#include <gtest/gtest.h>
#include <vector>

extern "C" {
#include "runtime/host.h"
}

namespace tn_test
{

// The devices are of one backend. Ends before the host is closed, behind all sessions.
class SwappedDevices
{
  public:
    SwappedDevices(tn_host *host, uint32_t n_devices)
    {
        for (uint32_t i = 0; i < n_devices; i++) {
            tn_device *device = nullptr;
            EXPECT_EQ(tn_host_device(host, i, nullptr, &device), TN_OK);
            real_ = device->backend;
            table_ = *real_;
            devices_.push_back(device);
        }
    }
    ~SwappedDevices()
    {
        for (tn_device *device : devices_) device->backend = real_;
    }
    SwappedDevices(const SwappedDevices &) = delete;
    SwappedDevices &operator=(const SwappedDevices &) = delete;

  protected:
    // Once table_, which is the real one at first, has the test's functions.
    void swap()
    {
        for (tn_device *device : devices_) device->backend = &table_;
    }
    const tn_backend *real_ = nullptr;
    tn_backend table_ = {};
    std::vector<tn_device *> devices_;
};

} // namespace tn_test
