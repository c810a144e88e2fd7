// A program's dispatches for steps of up to so many tokens, as data: what is compiled (vk_compile.c), then recorded (vk_record.c).
#ifndef TN_VULKAN_VK_LIST_H
#define TN_VULKAN_VK_LIST_H

#include "backend/fuse.h"
#include "vulkan/shaders/shader_params.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pipeline.h"

// Workgroups in one dimension: a number, or what a step brings, counted in groups of `divisor`.
typedef enum tn_vk_count { TN_VK_FIXED, TN_VK_PER_TOKENS, TN_VK_PER_LOGITS, TN_VK_PER_CHUNKS, TN_VK_PER_COPIES } tn_vk_count;
typedef struct tn_vk_axis {
    tn_vk_count by;
    uint32_t n;       // FIXED: the number
    uint32_t divisor; // else: workgroups = ceil((what the step has of it, from `first` on, at most `n_max`) / divisor)
    uint32_t first, n_max;
} tn_vk_axis;

typedef struct tn_vk_grid {
    tn_vk_axis axes[3];
} tn_vk_grid;

// A part of a buffer, as a binding takes it.
typedef struct tn_vk_range {
    const tn_vk_buffer *buffer; // NULL: nothing is bound
    uint64_t offset_bytes, n_bytes;
} tn_vk_range;

// Buffers that are known when a list is recorded only.
typedef enum tn_vk_outer { TN_VK_NOT_OUTER, TN_VK_OUTER_IN, TN_VK_OUTER_OUT } tn_vk_outer;

typedef struct tn_vk_dispatch {
    const char *shader; // of shaders.list
    uint32_t constants[TN_VK_CONSTANTS_MAX], n_constants;
    uint32_t params[32], n_params; // words of push constants
    tn_vk_grid grid;
    uint64_t work; // products of the largest step of the list
    // Whose time it is: nodes of the graph and how they share it; TN_NONE: nobody's.
    uint32_t nodes[3], parts[3];
    tn_vk_range weights, kv;
    tn_vk_range weights_texels;       // what the first texel binding holds: of attention the KV pages
    tn_vk_range from;                 // bound in place of the arena for reading: copies from outside
    tn_vk_range to;                   // bound for what the op stores; NULL: the arena
    tn_vk_outer from_outer, to_outer; // the submit's buffers; `offset_bytes` and `n_bytes` of the range count
} tn_vk_dispatch;

typedef struct tn_vk_list {
    uint32_t n_tokens_max, n_logits_max;
    tn_vk_dispatch *dispatches; // owned
    uint32_t n_dispatches;
    size_t capacity;
    uint64_t arena_words;
    uint32_t n_counters; // words of the state behind the poison
    bool is_direct;      // of one token: its steps have no other number of them

    // Recorded, when first submitted and when the submit's buffers are others than the last time.
    VkCommandBuffer parts[TN_VK_JOBS_MAX]; // in the order of the dispatches
    uint64_t parts_work[TN_VK_JOBS_MAX];   // products of each in a step of n_tokens_max tokens
    uint32_t n_parts;
    VkDescriptorPool descriptors;
    VkBufferView *views; // owned
    uint32_t n_views;
    uint32_t *grid_slots;           // owned, [n_dispatches]: which set of indirect arguments
    VkQueryPool times;              // of programs that keep statistics: a timestamp before the first dispatch and behind each
    uint64_t in_serial, out_serial; // of those buffers; 0: none
    bool is_recorded;
} tn_vk_list;

// What the compiler is told.
typedef struct tn_vk_compile_params {
    tn_vk_device *device;
    const tn_program_desc *desc;
    tn_step_layout step_layout;
    uint32_t n_tokens_max;
} tn_vk_compile_params;

// Fills `list` (dispatches, arena_words, n_counters).  Errors: OUT_OF_MEMORY, UNSUPPORTED (with the reason), INVALID_ARGUMENT.
tn_status tn_vk_compile(const tn_vk_compile_params *params, tn_vk_list *list);
void tn_vk_list_deinit(tn_vk_device *device, tn_vk_list *list);

#endif
