// One of a host's devices that is lost, or has no memory, at a chosen call from the library.
#pragma once

#include <cstdio>
#include <gtest/gtest.h>
#include <mutex>
#include <string>

extern "C" {
#include "runtime/host.h"
}

namespace tn_test
{

// One at a time; ends before the host is closed, behind all sessions.
class LosingDevice
{
  public:
    LosingDevice(tn_host *host, uint32_t index) : host_(host), index_(index)
    {
        current = this;
        EXPECT_EQ(tn_host_device(host, index, nullptr, &device_), TN_OK);
        name_ = tn_host_descs(host, &n_)[index].name;
        real_ = device_->backend;
        table_ = *real_;
        table_.program_submit = [](tn_program *p, const tn_submit *submit, tn_fence *fence) {
            return call(p->device, [&] { return current->real_->program_submit(p, submit, fence); });
        };
        table_.fence_wait = [](tn_device *d, tn_fence fence) {
            const tn_status status = current->real_->fence_wait(d, fence); // threads of the device rest before it is lost
            return call(d, [&] { return status; });
        };
        table_.buffer_read = [](tn_buffer *b, uint64_t at, void *to, uint64_t n) {
            return call(b->device, [&] { return current->real_->buffer_read(b, at, to, n); });
        };
        table_.buffer_write = [](tn_buffer *b, uint64_t at, const void *from, uint64_t n) {
            return call(b->device, [&] { return current->real_->buffer_write(b, at, from, n); });
        };
        table_.buffer_create = [](tn_device *d, uint64_t n, tn_buffer **out) {
            *out = nullptr;
            return call(d, [&] { return current->real_->buffer_create(d, n, out); });
        };
        table_.program_create = [](tn_device *d, const tn_program_desc *desc, tn_program **out) {
            *out = nullptr;
            return call(d, [&] { return current->real_->program_create(d, desc, out); });
        };
        table_.weight_pack = [](tn_device *d, const tn_weight_source *source, tn_buffer *b, uint64_t at) {
            return call(d, [&] { return current->real_->weight_pack(d, source, b, at); });
        };
        device_->backend = &table_;
    }
    ~LosingDevice()
    {
        tn_device *device = nullptr;
        if (tn_host_device(host_, index_, nullptr, &device) == TN_OK) device->backend = real_; // else it is closed
        current = nullptr;
    }
    LosingDevice(const LosingDevice &) = delete;
    LosingDevice &operator=(const LosingDevice &) = delete;

    // The call after `n` others fails; where the device is lost, all behind it too, for the same reason.
    void fail_after(uint64_t n, tn_status status)
    {
        n_calls = 0;
        at_ = n;
        status_ = status;
        failed = false;
    }
    uint64_t n_calls = 0;
    bool failed = false;

  private:
    template <class Do> static tn_status call(const tn_device *device, const Do &real)
    {
        LosingDevice &self = *current;
        if (device != self.device_ || self.status_ == TN_OK) return real();
        std::unique_lock<std::mutex> guard(self.mutex_);
        const uint64_t n = self.n_calls++;
        const bool fails = n == self.at_ || (self.failed && self.status_ == TN_DEVICE_LOST);
        self.failed = self.failed || fails;
        guard.unlock();
        if (!fails) return real();
        tn_error error = {};
        error.status = self.status_;
        error.file = __FILE__;
        snprintf(error.device, sizeof error.device, "%s", self.name_.c_str());
        snprintf(error.message, sizeof error.message, "%s: call %u is made to fail: try another", self.name_.c_str(), (unsigned)self.at_);
        tn_error_set(&error);
        return self.status_;
    }

    static inline LosingDevice *current = nullptr;
    tn_host *host_;
    uint32_t index_, n_ = 0;
    tn_device *device_ = nullptr;
    const tn_backend *real_ = nullptr;
    tn_backend table_ = {};
    std::string name_;
    std::mutex mutex_;
    uint64_t at_ = 0;
    tn_status status_ = TN_OK;
};

} // namespace tn_test
