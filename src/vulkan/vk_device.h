// An opened Vulkan device as the backend's other files see it.
#ifndef TN_VULKAN_VK_DEVICE_H
#define TN_VULKAN_VK_DEVICE_H

#include "backend/backend.h"
#include "vulkan/vk_api.h"

#include <pthread.h>

// What the device allows.
typedef struct tn_vk_limits {
    uint64_t range_bytes;      // of one storage buffer binding
    uint64_t allocation_bytes; // of one buffer and its memory; less may be what the driver has
    uint64_t texel_elements;   // of a buffer view
    uint32_t offset_alignment; // bytes, of bindings and of texel views; at least 16
    uint32_t n_invocations;    // of a workgroup
    uint32_t n_groups;         // of a dispatch, in each dimension
    uint32_t shared_bytes;
    uint32_t subgroup_size;
    uint32_t atom_bytes;     // granularity of flushes of mapped memory
    uint64_t timestamp_mask; // valid bits of the queue's timestamps; 0: it has none
    float timestamp_ns;      // of one tick
} tn_vk_limits;

// What the device has, and what of it is used.
typedef struct tn_vk_traits {
    bool is_software, is_uma;
    bool has_dot, has_fast_dot; // OpSDot works; it is an instruction of the device
    bool has_rte, has_preserve; // rounding mode and signed zeros can be declared for f32
    bool use_dot;               // shaders of the form "dot": else "mul"
    bool use_texels;            // "mul" shaders read weights and codes as texels
    bool has_shuffle;           // subgroups of 8 lanes, which can read each other's values
    bool use_shuffle;           // shaders with texels load a unit a lane and hand it on; else all lanes load all of them
    uint32_t n_row_threads;     // invocations of a workgroup, a power of two; shaders that want fewer take fewer
} tn_vk_traits;

typedef struct tn_vk_pipelines tn_vk_pipelines; // vk_pipeline.h
typedef struct tn_vk_transfer tn_vk_transfer;   // vk_memory.h
struct tn_vk_instance;                          // vk_loader.h
struct tn_vk_program;

typedef struct tn_vk_device {
    tn_device base;
    // Held in the functions of the backend's table that run steps and move bytes, but not while a step is waited for.
    pthread_mutex_t mutex;
    char name[32];
    tn_vk_api vk;                    // a copy of the instance's, with the device's own functions
    struct tn_vk_instance *instance; // shared with the host and its other devices
    VkPhysicalDevice physical;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t memory_heap;  // of buffers that the device works on, as long as there is room
    uint64_t memory_bytes; // of all heaps that they may lie in
    bool has_budget;       // the driver tells what is free of them
    VkDevice handle;
    VkQueue queue;
    uint32_t queue_family;
    tn_vk_limits limits;
    tn_vk_traits traits;
    bool compiles_early; // shaders of all steps when a program is made; false only in tests
    uint64_t poll_ns;    // that a wait looks again and again before it sleeps
    uint64_t job_work;   // products that a job has at most, as far as its dispatches can be parted
    tn_log log;
    uint64_t mirror_bytes_max;        // of host memory beside a buffer (vk_mirror.h)
    bool maps_memory;                 // device memory that the host sees is mapped; false only in tests
    bool fills_scratch;               // programs' memory begins as NaN; true only in tests
    const char *cache_folder;         // borrowed from the host; NULL: compiled shaders are not kept
    uint8_t cache_key[16 + 16];       // vendor, device, driver, reserved; pipelineCacheUUID
    VkDescriptorSetLayout set_layout; // bindings 0..5 storage buffers, 6 and 7 uniform texel buffers (shaders/common.glsl)
    VkPipelineLayout pipeline_layout; // that set and 128 bytes of push constants
    tn_vk_pipelines *pipelines;
    tn_vk_transfer *transfer;
    VkSemaphore timeline;            // every submit signals the next value
    uint64_t n_submits;              // value of the last one
    uint64_t n_ended;                // value of the latest that was seen to be over
    uint64_t n_buffers;              // that were ever made: their serial numbers
    struct tn_vk_program *in_flight; // programs whose fence was not waited for
    VkResult lost;                   // why the device is lost, from then on; VK_SUCCESS: it is not
    bool may_be_busy;                // it was not seen to have ended what it was given (tn_vk_settle)
} tn_vk_device;

static inline tn_vk_device *tn_vk_device_of(tn_device *device) { return (tn_vk_device *)device; }

// The status of a VkResult: OUT_OF_MEMORY for lack of host or device memory, DEVICE_LOST, UNAVAILABLE (initialisation, incompatible
// driver), else INTERNAL. Records `what` failed with the result's name as text and number.
tn_status tn_vk_check_at(const char *file, int line, VkResult result, const char *what);
#define TN_VK_CHECK(result, what) tn_vk_check_at(__FILE__, __LINE__, (result), (what))
// "VK_ERROR_DEVICE_LOST"; static text.
const char *tn_vk_result_name(VkResult result);

// Around each function of the backend's table that reaches the driver. A device that is lost stays lost, whatever its driver says later:
// what it was given is half done.  Errors: DEVICE_LOST, at once.
tn_status tn_vk_enter(const tn_vk_device *device);
// Returns `status`; of failures of the driver the record names the device, and DEVICE_LOST is remembered.
tn_status tn_vk_leave(tn_vk_device *device, tn_status status);

// A pool of command buffers that are recorded anew one by one; and one of its buffers. What they are created in is set where they succeed.
tn_status tn_vk_command_pool_create(const tn_vk_device *device, VkCommandPool *out_pool);
tn_status tn_vk_commands_allocate(const tn_vk_device *device, VkCommandPool pool, VkCommandBuffer *out_commands);

// Command buffers that the driver gets as one piece of work. Systems reset a GPU that takes seconds for one.
typedef struct tn_vk_job {
    const VkCommandBuffer *commands;
    uint32_t n_commands;
} tn_vk_job;
enum { TN_VK_JOBS_MAX = 256 };

// Submits up to TN_VK_JOBS_MAX jobs, one after another, in one call, and gives the timeline's value that the end of all signals.
tn_status tn_vk_submit_jobs(tn_vk_device *device, const tn_vk_job *jobs, uint32_t n_jobs, uint64_t *out_value);
// The same for one job.
tn_status tn_vk_submit(tn_vk_device *device, const VkCommandBuffer *commands, uint32_t n_commands, uint64_t *out_value);
// Waits until the timeline reaches `value`.  Errors: DEVICE_LOST (also where it takes longer than ten minutes), OUT_OF_MEMORY.
tn_status tn_vk_wait(tn_vk_device *device, uint64_t value);
// The same, but the device's mutex, which the caller holds, is free meanwhile.
tn_status tn_vk_wait_unlocked(tn_vk_device *device, uint64_t value);
// Before something is destroyed: where a wait failed or was given up, waits until the device works on nothing any more.
void tn_vk_settle(tn_vk_device *device);

#endif
