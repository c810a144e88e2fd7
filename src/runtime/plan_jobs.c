// A job's way through a stage. Devices work; here rows pass from one to the next through host memory, and to the caller.
#include "runtime/plan_state.h"

#include <string.h>

static uint32_t n_rows(const tn_plan_run *run, const tn_step *step, uint32_t value)
{
    return run->params.graph->values[value].rows == TN_ROWS_TOKENS ? step->n_tokens : step->n_logits;
}

static uint64_t step_bytes(const tn_plan_run *run, const tn_step *step, uint32_t value)
{
    return (uint64_t)n_rows(run, step, value) * run->params.graph->values[value].width * sizeof(float);
}

static bool is_last(const tn_stage *stage) { return stage == &stage->run->stages[stage->run->n_stages - 1]; }

static tn_status report_traces(const tn_stage *s, const tn_plan_slot *slot)
{
    const tn_plan_run *run = s->run;
    const tn_step *step = slot->job.step;
    const uint32_t *logit_rows = tn_step_view_of(step, &run->step_layout).logit_rows;
    for (uint32_t t = 0; t < s->n_taps; t++) {
        const tn_stage_tap *tap = &s->taps[t];
        const tn_value *value = &run->params.graph->values[tap->tap.value];
        uint32_t rows = n_rows(run, step, tap->tap.value);
        char name[32];
        tn_node_trace_name(tap->node, name);
        TN_TRY(s->device->backend->buffer_read(tap->tap.buffer, 0, slot->hop, step_bytes(run, step, tap->tap.value)));
        for (uint32_t r = 0; r < rows; r++) {
            uint32_t token = value->rows == TN_ROWS_TOKENS ? r : logit_rows[r];
            run->params.trace(run->params.trace_user, step, token, name, slot->hop + (size_t)r * value->width, value->width);
        }
    }
    return TN_OK;
}

// The last stage's rows, to the host: candidates of those that were ranked, and the others as they are, several at a time.
static tn_status take_logits(const tn_stage *last, const tn_plan_slot *slot)
{
    const tn_plan_run *run = last->run;
    const tn_ranking *ranking = slot->is_ranked ? &slot->ranking : NULL;
    tn_logit_rows *rows = slot->job.rows;
    const uint32_t n = n_rows(run, slot->job.step, last->segment->out_value), first_row = slot->job.first_row;
    const uint64_t row_bytes = (uint64_t)run->params.graph->values[last->segment->out_value].width * sizeof(float);
    for (uint32_t r = 0, end; r < n; r = end) {
        const uint32_t n_ranked = ranking ? ranking->counts[r] : 0;
        end = r + 1;
        if (n_ranked) {
            const size_t at = (size_t)r * ranking->max;
            TN_TRY(tn_logit_rows_put(rows, first_row + r, n_ranked, ranking->ids + at, ranking->logits + at));
            continue;
        }
        while (end < n && !(ranking && ranking->counts[end])) end++;
        float *to = tn_logit_rows_whole(rows, first_row + r, end - r);
        TN_TRY(last->device->backend->buffer_read(last->out, r * row_bytes, to, (end - r) * row_bytes));
    }
    return TN_OK;
}

void tn_plan_slot_set(tn_plan_slot *slot, const tn_plan_job *job)
{
    slot->job = *job;
    slot->status = TN_OK;
    slot->failed_device = TN_NONE;
    // Rows that were made for another device may have no room for what this one ranks.
    slot->is_ranked = slot->ranking.max && slot->ranking.max <= job->rows->max && job->step->has_top;
    if (slot->is_ranked) memset(slot->ranking.counts, 0, job->step->n_logits * sizeof *slot->ranking.counts);
    memset(job->poison, 0, job->step->n_tokens * sizeof *job->poison);
}

static void keep_failure(const tn_stage *s, tn_plan_slot *slot, tn_status status)
{
    slot->status = status;
    if (status == TN_OK) return;
    slot->error = *tn_error_last();
    slot->failed_device = s->segment->device;
}

static tn_buffer *input_of(const tn_stage *s, const tn_plan_slot *slot)
{
    return s->n_in ? s->in[s->n_in == 1 ? 0 : slot - s->run->slots] : NULL;
}

static tn_status write_input(const tn_stage *s, const tn_plan_slot *slot)
{
    const uint64_t n_bytes = step_bytes(s->run, slot->job.step, s->segment->in_value);
    return s->device->backend->buffer_write(input_of(s, slot), 0, slot->hop, n_bytes);
}

static tn_status begin_stage(const tn_stage *s, tn_plan_slot *slot)
{
    const tn_submit submit = {.step = slot->job.step,
                              .in = input_of(s, slot),
                              .out = s->out,
                              .poison = slot->stage_poison,
                              .ranking = slot->is_ranked && is_last(s) ? &slot->ranking : NULL};
    if (s->n_in == 1) TN_TRY(write_input(s, slot));
    return s->device->backend->program_submit(s->program, &submit, &slot->fence);
}

void tn_stage_begin(tn_stage *s, tn_plan_slot *slot)
{
    if (slot->status == TN_OK) keep_failure(s, slot, begin_stage(s, slot));
}

static tn_status end_stage(const tn_stage *s, tn_plan_slot *slot)
{
    const tn_backend *backend = s->device->backend;
    const tn_step *step = slot->job.step;
    TN_TRY(backend->fence_wait(s->device, slot->fence));
    for (uint32_t t = 0; t < step->n_tokens; t++) {
        if (!slot->job.poison[t]) slot->job.poison[t] = slot->stage_poison[t];
    }
    if (s->run->params.trace) TN_TRY(report_traces(s, slot));
    return is_last(s) ? take_logits(s, slot) : backend->buffer_read(s->out, 0, slot->hop, step_bytes(s->run, step, s->segment->out_value));
}

void tn_stage_end(tn_stage *s, tn_plan_slot *slot)
{
    if (slot->status == TN_OK) keep_failure(s, slot, end_stage(s, slot));
}

void tn_stage_write_next(tn_stage *s, tn_plan_slot *slot)
{
    const tn_stage *next = s + 1;
    if (slot->status == TN_OK && next->n_in > 1) keep_failure(next, slot, write_input(next, slot));
}

tn_status tn_plan_run_step(tn_plan_run *run, const tn_plan_job *job)
{
    tn_plan_slot *slot = &run->slots[0];
    tn_plan_slot_set(slot, job);
    for (uint32_t i = 0; i < run->n_stages; i++) {
        tn_stage_begin(&run->stages[i], slot);
        tn_stage_end(&run->stages[i], slot);
        if (i + 1 < run->n_stages) tn_stage_write_next(&run->stages[i], slot);
    }
    return slot->status; // the record of the failure is this thread's already
}

uint32_t tn_plan_run_failed_device(const tn_plan_run *run, uint32_t slot) { return run->slots[slot].failed_device; }
