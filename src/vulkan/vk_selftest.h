// The self-test of a device: programs over a small net, in steps of one, a few and many tokens, against src/ref by bits.
#ifndef TN_VULKAN_VK_SELFTEST_H
#define TN_VULKAN_VK_SELFTEST_H

#include "vulkan/vk_device.h"
#include "vulkan/vk_loader.h"

// Tests an opened device (software devices in steps of one token alone, since they take long to compile the others), unless it passed in
// this form before: with this instance, or, as a file in the host's cache folder says, with the same driver, shaders and sources.
// tn_vk_hooks.selftest decides otherwise. `progress` is told of shaders that are compiled for it.  Errors: CANCELLED; INTERNAL (other bits;
// kept with the instance, where tn_vk_selftest_verdict finds it), what running programs ends with.
tn_status tn_vk_selftest(tn_vk_device *device, uint32_t index, const char *driver, const tn_progress *progress);
// Why a device of the instance that was tested in this form is left out; "" where it is not.
const char *tn_vk_selftest_verdict(const tn_vk_instance *instance, uint32_t index, const tn_vk_traits *traits);

#endif
