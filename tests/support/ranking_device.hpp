// A host's CPU devices that rank: as they are opened, but for the best logits of rows, which they then give apart. What was ranked is
// spoilt in the rows, so that whoever reads it there has something else.
#pragma once

#include "support/swapped_devices.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

namespace tn_test
{

// One at a time. Stages of a model may use the devices at the same time, each its own.
class RankingDevices : public SwappedDevices
{
  public:
    RankingDevices(tn_host *host, uint32_t n_devices, uint32_t ranking_max) : SwappedDevices(host, n_devices)
    {
        current = this;
        table_.program_create = program_create;
        table_.program_submit = program_submit;
        table_.fence_wait = fence_wait;
        table_.buffer_read = buffer_read;
        swap();
        for (tn_device *device : devices_) device->ranking_max = ranking_max;
    }
    ~RankingDevices()
    {
        for (tn_device *device : devices_) device->ranking_max = 0;
        current = nullptr;
    }

    uint32_t n_ranked = 0;     // rows
    uint64_t n_bytes_read = 0; // from devices
    uint32_t n_rankings = 0;   // submits that had room for one
    uint32_t wrong_id = 0;     // not 0: what is given for the best id
    uint32_t n_more = 0;       // added to the counts
    bool ranks = true;

  private:
    static tn_status program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
    {
        const std::lock_guard<std::mutex> guard(current->mutex_);
        current->limits_ = desc->limits;
        return current->real_->program_create(device, desc, out_program);
    }
    static tn_status program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
    {
        {
            const std::lock_guard<std::mutex> guard(current->mutex_);
            current->submits_[program->device] = *submit;
        }
        return current->real_->program_submit(program, submit, out_fence);
    }
    static tn_status fence_wait(tn_device *device, tn_fence fence)
    {
        const tn_status status = current->real_->fence_wait(device, fence);
        const std::lock_guard<std::mutex> guard(current->mutex_);
        const tn_submit &submit = current->submits_[device];
        if (status == TN_OK && submit.ranking) current->rank(submit);
        return status;
    }
    static tn_status buffer_read(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
    {
        {
            const std::lock_guard<std::mutex> guard(current->mutex_);
            current->n_bytes_read += n_bytes;
        }
        return current->real_->buffer_read(buffer, offset_bytes, dst, n_bytes);
    }
    void rank(const tn_submit &submit)
    {
        tn_step_layout layout;
        ASSERT_EQ(tn_step_layout_of(&limits_, &layout), TN_OK);
        const tn_step_view step = tn_step_view_of(submit.step, &layout);
        const tn_ranking *to = submit.ranking;
        const size_t n_vocab = submit.out->size_bytes / sizeof(float) / limits_.n_logits;
        n_rankings++;
        ASSERT_NE(step.n_top, nullptr);
        for (uint32_t r = 0; r < step.n_logits; r++) {
            const uint32_t n = step.n_top[r];
            to->counts[r] = 0;
            if (!ranks || n == 0 || n > to->max) continue;
            std::vector<float> row(n_vocab);
            std::vector<uint32_t> ids(step.n_top_ids);
            const uint64_t at = r * n_vocab * sizeof(float);
            ASSERT_EQ(real_->buffer_read(submit.out, at, row.data(), n_vocab * sizeof(float)), TN_OK);
            std::iota(ids.begin(), ids.end(), 0u);
            std::sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
            for (uint32_t i = 0; i < n; i++) {
                to->ids[(size_t)r * to->max + i] = ids[i];
                to->logits[(size_t)r * to->max + i] = row[ids[i]];
            }
            if (wrong_id) to->ids[(size_t)r * to->max] = wrong_id;
            to->counts[r] = n + n_more;
            std::fill(row.begin(), row.end(), NAN);
            ASSERT_EQ(real_->buffer_write(submit.out, at, row.data(), n_vocab * sizeof(float)), TN_OK);
            n_ranked++;
        }
    }
    inline static RankingDevices *current = nullptr;
    tn_step_limits limits_ = {};
    std::map<const tn_device *, tn_submit> submits_; // the last one
    std::mutex mutex_;
};

} // namespace tn_test
