// The shaders as the build made them from shaders/: SPIR-V, decorated and checked (scripts/build_shaders.py).
#ifndef TN_VULKAN_VK_SHADERS_H
#define TN_VULKAN_VK_SHADERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct tn_vk_shader {
    const char *name; // as in shaders.list: "matmul_ternary_dot"
    const uint32_t *words;
    uint32_t n_words;
} tn_vk_shader;

extern const tn_vk_shader tn_vk_shaders[];
extern const uint32_t tn_vk_n_shaders;
extern const char tn_vk_shaders_hash[]; // of all their words, hexadecimal

#endif
