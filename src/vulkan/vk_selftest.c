// The self-test at open. A driver whose compiler bends a rule of the exact mode, or loses a barrier, is refused here instead of giving
// other answers later.
#include "vulkan/vk_selftest.h"

#include "base/alloc.h"
#include "base/folder.h"
#include "base/hash.h"
#include "base/log.h"
#include "selftest/selftest.h"
#include "vulkan/vk_describe.h"
#include "vulkan/vk_pipeline_file.h"
#include "vulkan/vk_shaders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- what was found out before ----

static uint32_t form_bit(const tn_vk_traits *traits) { return traits->use_dot ? 1 : !traits->use_texels ? 4 : traits->use_shuffle ? 8 : 2; }

const char *tn_vk_selftest_verdict(const tn_vk_instance *instance, uint32_t index, const tn_vk_traits *traits)
{
    const tn_vk_tested *tested = &instance->tested[index];
    return tested->failed_forms & form_bit(traits) ? tested->failed : "";
}

// The file's path, and what it holds: of which shaders, sources, form and way to memory the device passed.
static tn_status pass_of(const tn_vk_device *device, char **out_path, char text[256])
{
    snprintf(text, 256, "%s %s %s%s%s", tn_vk_shaders_hash, TN_VK_SOURCES_ID, tn_vk_form_name(&device->traits),
             device->traits.use_shuffle ? " shuffle" : "", device->maps_memory ? "" : " staged");
    const uint64_t parts[2] = {tn_hash(device->cache_key, sizeof device->cache_key), tn_hash(text, strlen(text))};
    const size_t capacity = strlen(device->cache_folder) + 48;
    TN_TRY(tn_alloc(capacity, 1, out_path));
    snprintf(*out_path, capacity, "%s/vulkan-%016" PRIx64 ".selftest", device->cache_folder, tn_hash(parts, sizeof parts));
    return TN_OK;
}

static bool has_passed(const tn_vk_device *device)
{
    char *path, text[256];
    uint8_t *bytes = NULL;
    size_t n = 0;
    if (!device->cache_folder || pass_of(device, &path, text) != TN_OK) return false;
    const bool found =
        tn_vk_pipeline_file_read(path, device->cache_key, text, &bytes, &n) == TN_OK && n == strlen(text) && memcmp(bytes, text, n) == 0;
    tn_free(bytes);
    tn_free(path);
    return found;
}

static tn_status keep_pass(const tn_vk_device *device)
{
    tn_status status;
    char *path = NULL, text[256];
    TN_TRY(tn_folder_make(device->cache_folder, "results of self-tests"));
    TN_TRY(pass_of(device, &path, text));
    status = tn_vk_pipeline_file_write(path, device->cache_key, text, (const uint8_t *)text, strlen(text));
    tn_free(path);
    return status;
}

tn_status tn_vk_selftest(tn_vk_device *device, uint32_t index, const char *driver, const tn_progress *progress)
{
    const tn_vk_hooks *hooks = device->instance->hooks;
    const tn_vk_selftest_when when = hooks ? hooks->selftest : TN_VK_SELFTEST_ONCE;
    tn_vk_tested *tested = &device->instance->tested[index];
    const uint32_t form = form_bit(&device->traits);
    if (when == TN_VK_SELFTEST_NEVER) return TN_OK;
    if (when == TN_VK_SELFTEST_ONCE) {
        if (tested->failed_forms & form) return tn_fail(TN_INTERNAL, "%s", tested->failed);
        if ((tested->passed_forms & form) || has_passed(device)) return TN_OK;
    }
    bool differs;
    tn_log_write(&device->log, TN_LOG_INFO, "%s: testing its kernels against the reference, once for this driver and version",
                 device->name);
    // A software device takes half a minute to compile what is for steps of more than one token.
    const tn_selftest_params params = {.name = device->name,
                                       .form = tn_vk_form_name(&device->traits),
                                       .driver = driver,
                                       .progress = progress,
                                       .steps_of_one = when == TN_VK_SELFTEST_ONCE && device->traits.is_software};
    const tn_status status = tn_selftest_run(&device->base, &params, &differs);
    if (differs) {
        tested->failed_forms |= form;
        snprintf(tested->failed, sizeof tested->failed, "%.*s", (int)sizeof tested->failed - 1, tn_error_last()->message);
    }
    if (status != TN_OK) return differs ? status : tn_fail_prefix("%s: self-test: ", device->name);
    tested->passed_forms |= form;
    if (device->cache_folder && keep_pass(device) != TN_OK)
        tn_log_write(&device->log, TN_LOG_INFO, "%s: that it passed its self-test is not kept: %s", device->name, tn_error_last()->message);
    return TN_OK;
}
