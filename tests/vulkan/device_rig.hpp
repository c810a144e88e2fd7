// A Vulkan device of the backend, opened as a host would, with hooks between it and the driver.
#ifndef TN_TESTS_VULKAN_DEVICE_RIG_HPP
#define TN_TESTS_VULKAN_DEVICE_RIG_HPP

#include <stdexcept>
#include <string>

extern "C" {
#include "backend/builtin.h"
#include "vulkan/vk_device.h"
#include "vulkan/vk_loader.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pipeline.h"
}

namespace vulkan_test
{

inline const tn_backend &vulkan() { return tn_vulkan_backend_table; }

inline std::string last_error() { return std::string(tn_status_name(tn_error_last()->status)) + " " + tn_error_last()->message; }

// A host without anything kept, or with one driver for all its calls. Without hooks its devices are not tested when they are opened.
struct Host {
    explicit Host(const tn_vk_hooks *hooks = nullptr, bool keeps = true)
    {
        untested.selftest = TN_VK_SELFTEST_NEVER;
        host.vulkan_hooks = hooks ? hooks : &untested;
        host.keep = keeps ? &keep : nullptr;
    }
    ~Host()
    {
        if (keep.release) keep.release(keep.state);
    }
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    tn_vk_hooks untested = {};
    tn_backend_keep keep = {};
    tn_backend_host host = {};
};

class OpenDevice
{
  public:
    explicit OpenDevice(const Host &host)
    {
        if (vulkan().device_open(&host.host, 0, &device_) != TN_OK) throw std::runtime_error(last_error());
    }
    ~OpenDevice() { vulkan().device_close(device_); }
    OpenDevice(const OpenDevice &) = delete;
    OpenDevice &operator=(const OpenDevice &) = delete;
    tn_device *get() const { return device_; }
    tn_vk_device *vk() const { return tn_vk_device_of(device_); }

  private:
    tn_device *device_ = nullptr;
};

} // namespace vulkan_test

#endif
