// A host's CPU devices whose steps fail at random, before they begin or behind their end.
#pragma once

#include "support/swapped_devices.hpp"

#include <atomic>
#include <mutex>
#include <random>

namespace tn_test
{

// One at a time. Any thread may use the devices.
class FailingDevices : public SwappedDevices
{
  public:
    FailingDevices(tn_host *host, uint32_t n_devices, uint64_t seed) : SwappedDevices(host, n_devices), random_(seed)
    {
        current = this;
        table_.program_submit = program_submit;
        table_.fence_wait = fence_wait;
        swap();
    }
    ~FailingDevices() { current = nullptr; }

    std::atomic<uint32_t> percent{0}; // of submits, and of waits
    std::atomic<int> only{-1};        // the device that fails; -1: all

  private:
    bool fails(const tn_device *device)
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        return (only < 0 || devices_[static_cast<size_t>(only)] == device) && random_() % 100 < percent;
    }
    static tn_status fail(const tn_device *device)
    {
        tn_error error = {};
        error.status = TN_DEVICE_LOST;
        error.file = __FILE__;
        snprintf(error.message, sizeof error.message, "the device is made to fail");
        (void)device;
        tn_error_set(&error);
        return TN_DEVICE_LOST;
    }
    static tn_status program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
    {
        if (current->fails(program->device)) return fail(program->device);
        return current->real_->program_submit(program, submit, out_fence);
    }
    static tn_status fence_wait(tn_device *device, tn_fence fence)
    {
        const tn_status status = current->real_->fence_wait(device, fence);
        return status == TN_OK && current->fails(device) ? fail(device) : status;
    }

    static inline FailingDevices *current = nullptr;
    std::mutex mutex_;
    std::mt19937_64 random_;
};

} // namespace tn_test
