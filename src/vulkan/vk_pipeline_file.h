// The file that keeps a driver's compiled shaders from one start to the next.
#ifndef TN_VULKAN_VK_PIPELINE_FILE_H
#define TN_VULKAN_VK_PIPELINE_FILE_H

#include "base/status.h"

enum { TN_VK_CACHE_KEY_BYTES = 32 }; // tn_vk_device.cache_key

// "<folder>/vulkan-<hash of key and shaders>.pipelines". Returns owned.
tn_status tn_vk_pipeline_file_path(const char *folder, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, char **out_path);
// Reads what tn_vk_pipeline_file_write wrote with the same key and shaders. Returns owned bytes.  Errors: NOT_FOUND, UNSUPPORTED (others
// may write to the file), BAD_FILE (damaged, or of something else), IO, OUT_OF_MEMORY.
tn_status tn_vk_pipeline_file_read(const char *path, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, uint8_t **out_bytes,
                                   size_t *out_n);
// Whoever reads meanwhile gets the old file or the new one.  Errors: IO, OUT_OF_MEMORY.
tn_status tn_vk_pipeline_file_write(const char *path, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, const uint8_t *bytes,
                                    size_t n);

#endif
