// Which backends are compiled in: one line each, in order of preference.
#include "backend/builtin.h"

static const tn_backend *const backends[] = {
    &tn_cpu_backend_table,
#ifdef TN_HAVE_CUDA
    &tn_cuda_backend_table,
#endif
#ifdef TN_HAVE_VULKAN
    &tn_vulkan_backend_table,
#endif
};

const tn_backend *const *tn_backend_list(uint32_t *out_count)
{
    *out_count = sizeof backends / sizeof *backends;
    return backends;
}
