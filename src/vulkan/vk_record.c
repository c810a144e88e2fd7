// Records lists: a descriptor set a dispatch, made once; all that changes from step to step is in buffers.
#include "vulkan/vk_record.h"

#include "base/alloc.h"

enum {
    N_STORAGE = 6,
    N_TEXELS = 2
}; // bindings of shaders/common.glsl: texels of the weights (attention: of the KV pages), then of the arena

static bool same_axis(const tn_vk_axis *a, const tn_vk_axis *b)
{
    return a->by == b->by && a->n == b->n && a->divisor == b->divisor && a->first == b->first && a->n_max == b->n_max;
}

static bool same_grid(const tn_vk_grid *a, const tn_vk_grid *b)
{
    return same_axis(&a->axes[0], &b->axes[0]) && same_axis(&a->axes[1], &b->axes[1]) && same_axis(&a->axes[2], &b->axes[2]);
}

tn_status tn_vk_collect_grids(tn_vk_list *list, tn_vk_grids *grids)
{
    TN_TRY(tn_alloc_zero(list->n_dispatches, sizeof *list->grid_slots, &list->grid_slots));
    for (uint32_t i = 0; i < list->n_dispatches; i++) {
        const tn_vk_grid *grid = &list->dispatches[i].grid;
        uint32_t slot = 0;
        while (slot < grids->n_grids && !same_grid(&grids->grids[slot], grid)) slot++;
        list->grid_slots[i] = slot;
        if (slot < grids->n_grids) continue;
        TN_TRY(tn_grow(&grids->grids, &grids->capacity, (size_t)slot + 1, sizeof *grids->grids));
        grids->grids[grids->n_grids++] = *grid;
    }
    return TN_OK;
}

void tn_vk_barrier(tn_vk_device *device, VkCommandBuffer commands)
{
    const VkAccessFlags written = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = written,
                                     .dstAccessMask = written | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                                                      VK_ACCESS_INDIRECT_COMMAND_READ_BIT | VK_ACCESS_HOST_READ_BIT};
    const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    device->vk.vkCmdPipelineBarrier(commands, work, work | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier,
                                    0, NULL, 0, NULL);
}

// Between dispatches: arguments and copies come before the first of a list or behind its last. Narrower than the one above, since drivers
// flush more the more is named.
static void barrier_between(tn_vk_device *device, VkCommandBuffer commands)
{
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                                     .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
    device->vk.vkCmdPipelineBarrier(commands, work, work, 0, 1, &barrier, 0, NULL, 0, NULL);
}

tn_status tn_vk_begin(tn_vk_device *device, VkCommandPool pool, VkCommandBuffer *commands)
{
    if (!*commands) TN_TRY(tn_vk_commands_allocate(device, pool, commands));
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    return TN_VK_CHECK(device->vk.vkBeginCommandBuffer(*commands, &begin), "vkBeginCommandBuffer");
}

tn_status tn_vk_end(tn_vk_device *device, VkCommandBuffer commands)
{
    return TN_VK_CHECK(device->vk.vkEndCommandBuffer(commands), "vkEndCommandBuffer");
}

// The part that is being recorded.
static VkCommandBuffer commands_of(const tn_vk_list *list) { return list->parts[list->n_parts - 1]; }

static tn_status create_descriptors(tn_vk_device *device, tn_vk_list *list)
{
    if (list->descriptors)
        return TN_VK_CHECK(device->vk.vkResetDescriptorPool(device->handle, list->descriptors, 0), "vkResetDescriptorPool");
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, N_STORAGE * list->n_dispatches},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, N_TEXELS * list->n_dispatches}};
    const VkDescriptorPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = list->n_dispatches, .poolSizeCount = 2, .pPoolSizes = sizes};
    VkDescriptorPool descriptors;
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateDescriptorPool(device->handle, &info, NULL, &descriptors), "vkCreateDescriptorPool"));
    list->descriptors = descriptors;
    return TN_OK;
}

static void destroy_views(tn_vk_device *device, tn_vk_list *list)
{
    for (uint32_t i = 0; i < list->n_views; i++) device->vk.vkDestroyBufferView(device->handle, list->views[i], NULL);
    list->n_views = 0;
}

static tn_status create_view(tn_vk_device *device, tn_vk_list *list, const tn_vk_range *range, VkBufferView *out_view)
{
    const VkBufferViewCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                         .buffer = range->buffer->handle,
                                         .format = VK_FORMAT_R32G32B32A32_UINT,
                                         .offset = range->offset_bytes,
                                         .range = range->n_bytes};
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateBufferView(device->handle, &info, NULL, out_view), "vkCreateBufferView"));
    list->views[list->n_views++] = *out_view;
    return TN_OK;
}

// As much of an outer buffer as there is: it has room for the rows of its steps, which may be fewer than the list's most. Dispatches over
// rows further on are empty then; what is bound for them is of no matter.
static tn_vk_range within(const tn_vk_range *range)
{
    const uint64_t size = range->buffer->base.size_bytes ? range->buffer->base.size_bytes : 1;
    tn_vk_range found = *range;
    if (found.offset_bytes >= size) found.offset_bytes = 0;
    if (found.n_bytes > size - found.offset_bytes) found.n_bytes = size - found.offset_bytes;
    return found;
}

// The range of an outer buffer, or the arena where the dispatch names none.
static tn_vk_range resolve(const tn_vk_range *range, tn_vk_outer outer, const tn_vk_buffer *in, const tn_vk_buffer *out,
                           const tn_vk_range *arena)
{
    tn_vk_range found = *range;
    if (outer == TN_VK_OUTER_IN) found.buffer = in;
    if (outer == TN_VK_OUTER_OUT) found.buffer = out;
    if (outer != TN_VK_NOT_OUTER) return within(&found);
    return found.buffer ? found : *arena;
}

// Every binding is bound: to the arena where the dispatch has nothing for it and its shader does not look.
static tn_status write_set(tn_vk_device *device, const tn_vk_bound *bound, const tn_vk_buffer *in, const tn_vk_buffer *out,
                           tn_vk_list *list, const tn_vk_dispatch *d, VkDescriptorSet set)
{
    const tn_vk_range whole_arena = {bound->arena, 0, bound->arena->base.size_bytes}; // of a list without values too: never empty
    const tn_vk_range storage[N_STORAGE] = {{bound->step, 0, bound->args_offset},
                                            resolve(&d->from, d->from_outer, in, out, &whole_arena),
                                            d->weights,
                                            d->kv,
                                            {bound->state, 0, bound->state->base.size_bytes},
                                            resolve(&d->to, d->to_outer, in, out, &whole_arena)};
    const tn_vk_range texels[N_TEXELS] = {d->weights_texels, whole_arena};
    VkDescriptorBufferInfo buffers[N_STORAGE];
    VkBufferView views[N_TEXELS];
    VkWriteDescriptorSet writes[N_STORAGE + N_TEXELS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_STORAGE; i++) {
        const tn_vk_range *range = storage[i].buffer ? &storage[i] : &whole_arena;
        buffers[i] = (VkDescriptorBufferInfo){range->buffer->handle, range->offset_bytes, range->n_bytes};
        writes[n++] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                             .dstSet = set,
                                             .dstBinding = i,
                                             .descriptorCount = 1,
                                             .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                             .pBufferInfo = &buffers[i]};
    }
    for (uint32_t i = 0; device->traits.use_texels && i < N_TEXELS; i++) {
        TN_TRY(create_view(device, list, texels[i].buffer ? &texels[i] : &whole_arena, &views[i]));
        writes[n++] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                             .dstSet = set,
                                             .dstBinding = N_STORAGE + i,
                                             .descriptorCount = 1,
                                             .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
                                             .pTexelBufferView = &views[i]};
    }
    device->vk.vkUpdateDescriptorSets(device->handle, n, writes, 0, NULL);
    return TN_OK;
}

// Workgroups that every step of a list of one token has, or may have: rows of logits that a step does not want are left out by the shaders.
// false: steps differ.
static bool are_known(const tn_vk_list *list, const tn_vk_axis *axis, uint32_t *out_n)
{
    *out_n = axis->n;
    if (axis->by == TN_VK_FIXED) return true;
    if (axis->by != TN_VK_PER_TOKENS && axis->by != TN_VK_PER_LOGITS) return false;
    *out_n = axis->first == 0 && (axis->by == TN_VK_PER_TOKENS || list->n_logits_max > 0);
    return true;
}

// Directly where that can be: a driver fetches arguments from memory while nothing else runs.
static void dispatch(tn_vk_device *device, const tn_vk_bound *bound, const tn_vk_list *list, uint32_t index)
{
    const tn_vk_axis *axes = list->dispatches[index].grid.axes;
    uint32_t n[3];
    bool all_known = list->is_direct;
    for (uint32_t i = 0; i < 3; i++) all_known = are_known(list, &axes[i], &n[i]) && all_known;
    if (all_known)
        device->vk.vkCmdDispatch(commands_of(list), n[0], n[1], n[2]);
    else
        device->vk.vkCmdDispatchIndirect(commands_of(list), bound->step->handle,
                                         bound->args_offset + (uint64_t)list->grid_slots[index] * 12);
}

static tn_status record_dispatch(tn_vk_device *device, const tn_vk_bound *bound, const tn_vk_buffer *in, const tn_vk_buffer *out,
                                 tn_vk_list *list, uint32_t index)
{
    const tn_vk_dispatch *d = &list->dispatches[index];
    const VkDescriptorSetAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                  .descriptorPool = list->descriptors,
                                                  .descriptorSetCount = 1,
                                                  .pSetLayouts = &device->set_layout};
    VkPipeline pipeline;
    VkDescriptorSet set;
    TN_TRY(tn_vk_pipeline_get(device, d->shader, d->constants, d->n_constants, &pipeline));
    TN_TRY(TN_VK_CHECK(device->vk.vkAllocateDescriptorSets(device->handle, &allocate, &set), "vkAllocateDescriptorSets"));
    TN_TRY(write_set(device, bound, in, out, list, d, set));
    if (index == 0)
        tn_vk_barrier(device, commands_of(list));
    else
        barrier_between(device, commands_of(list));
    device->vk.vkCmdBindPipeline(commands_of(list), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    device->vk.vkCmdBindDescriptorSets(commands_of(list), VK_PIPELINE_BIND_POINT_COMPUTE, device->pipeline_layout, 0, 1, &set, 0, NULL);
    device->vk.vkCmdPushConstants(commands_of(list), device->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, d->n_params * 4, d->params);
    dispatch(device, bound, list, index);
    return TN_OK;
}

static tn_status create_times(tn_vk_device *device, tn_vk_list *list)
{
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = list->n_dispatches + 1};
    VkQueryPool times; // what a failed call leaves in it is not said anywhere
    if (list->times) return TN_OK;
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateQueryPool(device->handle, &info, NULL, &times), "vkCreateQueryPool"));
    list->times = times;
    return TN_OK;
}

static void write_time(tn_vk_device *device, const tn_vk_list *list, uint32_t index)
{
    if (list->times) device->vk.vkCmdWriteTimestamp(commands_of(list), VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, list->times, index);
}

tn_status tn_vk_add_times(tn_vk_device *device, const tn_vk_list *list, uint64_t *node_ns)
{
    if (!list->times) return TN_OK;
    tn_status status;
    const uint32_t n = list->n_dispatches + 1;
    uint64_t *times;
    TN_TRY(tn_alloc_zero(n, sizeof *times, &times));
    const VkResult result = device->vk.vkGetQueryPoolResults(device->handle, list->times, 0, n, n * sizeof *times, times, sizeof *times,
                                                             VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    TN_TRY_GOTO(TN_VK_CHECK(result, "vkGetQueryPoolResults"));
    for (uint32_t i = 0; i < list->n_dispatches; i++) {
        const tn_vk_dispatch *d = &list->dispatches[i];
        const double ns = (double)((times[i + 1] - times[i]) & device->limits.timestamp_mask) * device->limits.timestamp_ns;
        uint64_t parts = 0;
        for (uint32_t k = 0; k < 3 && d->nodes[k] != TN_NONE; k++) parts += d->parts[k];
        for (uint32_t k = 0; k < 3 && d->nodes[k] != TN_NONE; k++) node_ns[d->nodes[k]] += (uint64_t)(ns * d->parts[k] / (double)parts);
    }
fail:
    tn_free(times);
    return status;
}

static bool begins_part(const tn_vk_list *list, uint32_t index, uint64_t work, uint64_t work_max)
{
    return index == 0 || work + list->dispatches[index].work > work_max;
}

static uint32_t n_parts_of(const tn_vk_list *list, uint64_t work_max)
{
    uint32_t n = 0;
    uint64_t work = 0;
    for (uint32_t i = 0; i < list->n_dispatches; i++) {
        const bool begins = begins_part(list, i, work, work_max);
        n += begins;
        work = (begins ? 0 : work) + list->dispatches[i].work;
    }
    return n;
}

// Products of a part, but for dispatches that alone have more: those of a job, or as many as give few enough parts.
static uint64_t work_of_part(const tn_vk_device *device, const tn_vk_list *list)
{
    uint64_t work = device->job_work;
    while (n_parts_of(list, work) > TN_VK_JOBS_MAX) work += work / 4 + 1;
    return work;
}

static tn_status begin_part(tn_vk_device *device, VkCommandPool pool, tn_vk_list *list)
{
    if (list->n_parts) TN_TRY(tn_vk_end(device, commands_of(list)));
    TN_TRY(tn_vk_begin(device, pool, &list->parts[list->n_parts]));
    list->n_parts++;
    return TN_OK;
}

tn_status tn_vk_record(tn_vk_device *device, VkCommandPool pool, const tn_vk_bound *bound, const tn_vk_buffer *in, const tn_vk_buffer *out,
                       tn_vk_list *list)
{
    list->is_recorded = false;
    destroy_views(device, list);
    if (!list->views) TN_TRY(tn_alloc_zero((size_t)list->n_dispatches * N_TEXELS, sizeof(VkBufferView), &list->views));
    TN_TRY(create_descriptors(device, list));
    if (bound->is_timed && device->limits.timestamp_mask) TN_TRY(create_times(device, list));
    const uint64_t work_max = work_of_part(device, list);
    uint64_t work = 0;
    list->n_parts = 0;
    for (uint32_t i = 0; i < list->n_dispatches; i++) {
        const bool begins = begins_part(list, i, work, work_max);
        if (begins) TN_TRY(begin_part(device, pool, list));
        if (i == 0 && list->times) device->vk.vkCmdResetQueryPool(commands_of(list), list->times, 0, list->n_dispatches + 1);
        if (i == 0) write_time(device, list, 0);
        work = (begins ? 0 : work) + list->dispatches[i].work;
        list->parts_work[list->n_parts - 1] = work;
        const tn_status status = record_dispatch(device, bound, in, out, list, i);
        if (status != TN_OK) {
            (void)device->vk.vkEndCommandBuffer(commands_of(list)); // what is being recorded cannot be begun again
            return status;
        }
        write_time(device, list, i + 1);
    }
    tn_vk_barrier(device, commands_of(list));
    TN_TRY(tn_vk_end(device, commands_of(list)));
    list->is_recorded = true;
    return TN_OK;
}

void tn_vk_list_deinit(tn_vk_device *device, tn_vk_list *list)
{
    destroy_views(device, list);
    if (list->times) device->vk.vkDestroyQueryPool(device->handle, list->times, NULL);
    if (list->descriptors) device->vk.vkDestroyDescriptorPool(device->handle, list->descriptors, NULL);
    tn_free(list->views);
    tn_free(list->grid_slots);
    tn_free(list->dispatches);
    *list = (tn_vk_list){0}; // its command buffer goes with the pool
}
