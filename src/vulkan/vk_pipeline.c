// Pipelines by shader and constants, and the driver's cache of what it compiled.
#include "vulkan/vk_pipeline.h"

#include "base/alloc.h"
#include "base/folder.h"
#include "base/hash.h"
#include "base/log.h"
#include "vulkan/vk_pipeline_file.h"
#include "vulkan/vk_shaders.h"
#include "vulkan/vk_spirv.h"

#include <assert.h>
#include <string.h>

typedef struct pipeline_entry {
    uint32_t shader, n_constants;
    uint32_t constants[TN_VK_CONSTANTS_MAX];
    VkPipeline pipeline;
} pipeline_entry;

struct tn_vk_pipelines {
    VkPipelineCache cache;
    uint64_t loaded_hash; // of the bytes that the cache began with; 0: none
    pipeline_entry *entries;
    size_t n, capacity;
};

static_assert(sizeof((tn_vk_device *)0)->cache_key == TN_VK_CACHE_KEY_BYTES, "the key of the file");

static tn_status find_shader(const char *name, uint32_t *out_shader)
{
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) {
        if (strcmp(tn_vk_shaders[i].name, name) != 0) continue;
        *out_shader = i;
        return TN_OK;
    }
    return tn_fail(TN_INTERNAL, "there is no shader %.60s", name);
}

static tn_status create_module(tn_vk_device *device, const tn_vk_shader *shader, VkShaderModule *out_module)
{
    uint32_t *words, n_words;
    TN_TRY(tn_vk_spirv_declare(shader->words, shader->n_words, device->traits.has_rte, device->traits.has_preserve, &words, &n_words));
    const VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = n_words * sizeof *words,
        .pCode = words,
    };
    const VkResult result = device->vk.vkCreateShaderModule(device->handle, &info, NULL, out_module);
    tn_free(words);
    return TN_VK_CHECK(result, "vkCreateShaderModule");
}

static tn_status create_pipeline(tn_vk_device *device, pipeline_entry *entry)
{
    VkShaderModule module;
    VkSpecializationMapEntry map[TN_VK_CONSTANTS_MAX];
    TN_TRY(create_module(device, &tn_vk_shaders[entry->shader], &module));
    for (uint32_t i = 0; i < entry->n_constants; i++)
        map[i] = (VkSpecializationMapEntry){.constantID = i, .offset = i * (uint32_t)sizeof(uint32_t), .size = sizeof(uint32_t)};
    const VkSpecializationInfo constants = {
        .mapEntryCount = entry->n_constants,
        .pMapEntries = map,
        .dataSize = entry->n_constants * sizeof(uint32_t),
        .pData = entry->constants,
    };
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = device->pipeline_layout,
    };
    VkPipeline pipeline;
    const VkResult result = device->vk.vkCreateComputePipelines(device->handle, device->pipelines->cache, 1, &info, NULL, &pipeline);
    device->vk.vkDestroyShaderModule(device->handle, module, NULL);
    TN_TRY(TN_VK_CHECK(result, "vkCreateComputePipelines"));
    entry->pipeline = pipeline;
    return TN_OK;
}

static tn_status wanted_of(const char *shader, const uint32_t *constants, uint32_t n_constants, pipeline_entry *out_wanted)
{
    *out_wanted = (pipeline_entry){.n_constants = n_constants};
    if (n_constants > TN_VK_CONSTANTS_MAX) return tn_fail(TN_INTERNAL, "shader %.60s: too many constants", shader);
    for (uint32_t i = 0; i < n_constants; i++) out_wanted->constants[i] = constants[i];
    return find_shader(shader, &out_wanted->shader);
}

// NULL: it is not made.
static const pipeline_entry *find_made(const tn_vk_pipelines *p, const pipeline_entry *wanted)
{
    for (size_t i = 0; i < p->n; i++) {
        const pipeline_entry *e = &p->entries[i];
        if (e->shader == wanted->shader && e->n_constants == wanted->n_constants &&
            memcmp(e->constants, wanted->constants, sizeof e->constants) == 0)
            return e;
    }
    return NULL;
}

bool tn_vk_pipeline_is_made(const tn_vk_device *device, const char *shader, const uint32_t *constants, uint32_t n_constants)
{
    pipeline_entry wanted;
    return wanted_of(shader, constants, n_constants, &wanted) == TN_OK && find_made(device->pipelines, &wanted) != NULL;
}

tn_status tn_vk_pipeline_get(tn_vk_device *device, const char *shader, const uint32_t *constants, uint32_t n_constants,
                             VkPipeline *out_pipeline)
{
    *out_pipeline = VK_NULL_HANDLE;
    tn_vk_pipelines *p = device->pipelines;
    pipeline_entry wanted;
    TN_TRY(wanted_of(shader, constants, n_constants, &wanted));
    const pipeline_entry *made = find_made(p, &wanted);
    if (made) {
        *out_pipeline = made->pipeline;
        return TN_OK;
    }
    TN_TRY(tn_grow(&p->entries, &p->capacity, p->n + 1, sizeof *p->entries));
    const tn_status status = create_pipeline(device, &wanted);
    if (status != TN_OK) return tn_fail_prefix("shader %.60s: ", shader);
    p->entries[p->n++] = wanted;
    *out_pipeline = wanted.pipeline;
    return TN_OK;
}

// The head that every driver's bytes begin with: length, version 1, vendor, device, UUID.
static bool is_of_this_driver(const tn_vk_device *device, const uint8_t *bytes, size_t n)
{
    uint32_t head[4];
    if (n < sizeof head + VK_UUID_SIZE) return false;
    memcpy(head, bytes, sizeof head);
    return head[0] >= sizeof head + VK_UUID_SIZE && head[0] <= n && head[1] == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           memcmp(&head[2], device->cache_key, 8) == 0 && memcmp(bytes + sizeof head, device->cache_key + 16, VK_UUID_SIZE) == 0;
}

// What the file holds, or nothing.
static void load(const tn_vk_device *device, uint8_t **out_bytes, size_t *out_n)
{
    char *path = NULL;
    *out_bytes = NULL;
    *out_n = 0;
    if (!device->cache_folder) return;
    tn_status status = tn_vk_pipeline_file_path(device->cache_folder, device->cache_key, tn_vk_shaders_hash, &path);
    if (status == TN_OK) status = tn_vk_pipeline_file_read(path, device->cache_key, tn_vk_shaders_hash, out_bytes, out_n);
    if (status != TN_OK && status != TN_NOT_FOUND)
        tn_log_write(&device->log, TN_LOG_INFO, "%s: compiled shaders are not used: %s", device->name, tn_error_last()->message);
    if (status == TN_OK && !is_of_this_driver(device, *out_bytes, *out_n)) {
        tn_log_write(&device->log, TN_LOG_INFO, "%s: compiled shaders are not used: %.400s is of another driver", device->name, path);
        tn_free(*out_bytes);
        *out_bytes = NULL;
        *out_n = 0;
    }
    tn_free(path);
}

tn_status tn_vk_pipelines_create(tn_vk_device *device)
{
    TN_TRY(tn_alloc_zero(1, sizeof *device->pipelines, &device->pipelines));
    uint8_t *bytes;
    size_t n;
    load(device, &bytes, &n);
    VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = n,
        .pInitialData = bytes,
    };
    VkPipelineCache cache;
    VkResult result = device->vk.vkCreatePipelineCache(device->handle, &info, NULL, &cache);
    if (result == VK_SUCCESS && n > 0) device->pipelines->loaded_hash = tn_hash(bytes, n);
    if (result != VK_SUCCESS && n > 0) { // the driver does not take it back
        info.initialDataSize = 0;
        result = device->vk.vkCreatePipelineCache(device->handle, &info, NULL, &cache);
    }
    tn_free(bytes);
    TN_TRY(TN_VK_CHECK(result, "vkCreatePipelineCache"));
    device->pipelines->cache = cache;
    return TN_OK;
}

static tn_status save(tn_vk_device *device)
{
    const tn_vk_api *vk = &device->vk;
    tn_status status;
    uint8_t *bytes = NULL;
    char *path = NULL;
    size_t n = 0;
    TN_TRY(TN_VK_CHECK(vk->vkGetPipelineCacheData(device->handle, device->pipelines->cache, &n, NULL), "vkGetPipelineCacheData"));
    TN_TRY_GOTO(tn_alloc_zero(n, 1, &bytes));
    TN_TRY_GOTO(TN_VK_CHECK(vk->vkGetPipelineCacheData(device->handle, device->pipelines->cache, &n, bytes), "vkGetPipelineCacheData"));
    if (!is_of_this_driver(device, bytes, n) || tn_hash(bytes, n) == device->pipelines->loaded_hash)
        goto fail; // nothing to keep, no failure
    TN_TRY_GOTO(tn_folder_make(device->cache_folder, "compiled shaders"));
    TN_TRY_GOTO(tn_vk_pipeline_file_path(device->cache_folder, device->cache_key, tn_vk_shaders_hash, &path));
    TN_TRY_GOTO(tn_vk_pipeline_file_write(path, device->cache_key, tn_vk_shaders_hash, bytes, n));
fail:
    tn_free(path);
    tn_free(bytes);
    return status;
}

void tn_vk_pipelines_destroy(tn_vk_device *device)
{
    tn_vk_pipelines *p = device->pipelines;
    if (!p) return;
    if (device->cache_folder && p->n > 0 && p->cache && save(device) != TN_OK)
        tn_log_write(&device->log, TN_LOG_INFO, "%s: compiled shaders are not kept: %s", device->name, tn_error_last()->message);
    for (size_t i = 0; i < p->n; i++) device->vk.vkDestroyPipeline(device->handle, p->entries[i].pipeline, NULL);
    device->vk.vkDestroyPipelineCache(device->handle, p->cache, NULL);
    tn_free(p->entries);
    tn_free(p);
    device->pipelines = NULL;
}
