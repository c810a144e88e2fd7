// The one file of the suite that knows Vulkan's own headers.
#include "conformance/vulkan_hooks.h"

#include <deque>

#ifdef TN_TEST_VULKAN
extern "C" {
#include "vulkan/vk_loader.h"
}
#endif

namespace conformance
{

#ifdef TN_TEST_VULKAN
const tn_vk_hooks *vulkan_hooks_of(const VulkanHooks &hooks)
{
    static std::deque<tn_vk_hooks> kept; // a deque keeps them in place
    tn_vk_hooks made = {};
    made.fills_scratch = true;
    made.range_bytes_max = hooks.range_bytes_max;
    made.n_row_threads = hooks.n_row_threads;
    made.force_staging = hooks.force_staging;
    made.job_work = hooks.job_work;
    made.compiles_early = hooks.compiles_early;
    kept.push_back(made);
    return &kept.back();
}
#else
const tn_vk_hooks *vulkan_hooks_of(const VulkanHooks &) { return nullptr; }
#endif

} // namespace conformance
