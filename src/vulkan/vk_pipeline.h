// Pipelines: made when first asked for, kept until the device closes; the driver's compiled form is kept in a file.
#ifndef TN_VULKAN_VK_PIPELINE_H
#define TN_VULKAN_VK_PIPELINE_H

#include "vulkan/vk_device.h"

enum { TN_VK_CONSTANTS_MAX = 10 };

// `shader`: a name of shaders.list. Specialisation constants 0, 1, .. of the values given. The pipeline belongs to the device.
// Errors: INTERNAL (no such shader), OUT_OF_MEMORY, DEVICE_LOST.
tn_status tn_vk_pipeline_get(tn_vk_device *device, const char *shader, const uint32_t *constants, uint32_t n_constants,
                             VkPipeline *out_pipeline);

// Whether it is made already.
bool tn_vk_pipeline_is_made(const tn_vk_device *device, const char *shader, const uint32_t *constants, uint32_t n_constants);

// With the device. The cache's file is read at creation and, if pipelines were added, written at destruction; what goes wrong with the file
// is logged and otherwise of no matter.
tn_status tn_vk_pipelines_create(tn_vk_device *device);
void tn_vk_pipelines_destroy(tn_vk_device *device);

#endif
