// Changes to SPIR-V that depend on the device.
#ifndef TN_VULKAN_VK_SPIRV_H
#define TN_VULKAN_VK_SPIRV_H

#include "base/status.h"

// A copy of a module whose entry points say that f32 operations round to nearest even (rte), and that signed zeros, infinities and NaNs
// are kept (preserve).  Returns owned words.  Errors: INTERNAL (no SPIR-V), OUT_OF_MEMORY.
tn_status tn_vk_spirv_declare(const uint32_t *words, uint32_t n_words, bool rte, bool preserve, uint32_t **out_words,
                              uint32_t *out_n_words);

#endif
