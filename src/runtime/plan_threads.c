// Several jobs in flight: each stage has a thread and a queue, and jobs pass the stages in the order of their start, so that what one
// writes into a KV cache is there for those behind it. A thread gives its device the next job before it hands on the last one.
#include "base/clock.h"
#include "base/float_mode.h"
#include "runtime/plan_state.h"

#include <stdio.h>
#include <string.h>

// With the mutex held.
static void push(tn_stage *s, tn_plan_slot *slot)
{
    slot->next = NULL;
    if (s->tail)
        s->tail->next = slot;
    else
        s->head = slot;
    s->tail = slot;
    pthread_cond_signal(&s->arrived);
}

// The next job of the stage's queue; where there is none, waits for it, or for the end: NULL.
static tn_plan_slot *take(tn_stage *s, bool waits)
{
    tn_plan_run *run = s->run;
    pthread_mutex_lock(&run->mutex);
    while (waits && !s->head && !run->is_ending) pthread_cond_wait(&s->arrived, &run->mutex);
    tn_plan_slot *slot = s->head;
    if (slot) s->head = slot->next;
    if (!s->head) s->tail = NULL;
    pthread_mutex_unlock(&run->mutex);
    return slot;
}

// Whoever waits may use what the job borrowed from here on, so that this comes after `done`.
static void leave(tn_plan_run *run, tn_plan_slot *slot)
{
    slot->ended_ns = tn_clock_ns();
    if (slot->job.done) slot->job.done(slot->job.user);
    pthread_mutex_lock(&run->mutex);
    slot->is_in_flight = false;
    run->n_in_flight--;
    pthread_cond_broadcast(&run->left);
    pthread_mutex_unlock(&run->mutex);
}

static void hand_on(tn_stage *s, tn_plan_slot *slot)
{
    tn_plan_run *run = s->run;
    if (s + 1 == run->stages + run->n_stages) {
        leave(run, slot);
        return;
    }
    tn_stage_write_next(s, slot);
    pthread_mutex_lock(&run->mutex);
    push(s + 1, slot);
    pthread_mutex_unlock(&run->mutex);
}

static void *stage_main(void *arg)
{
    tn_stage *s = arg;
    const tn_plan_run_params *params = &s->run->params;
    tn_float_mode_enter(); // for good
    if (params->thread_begins) params->thread_begins(params->thread_user, s->segment->device);
    for (tn_plan_slot *slot = NULL, *next;; slot = next) {
        if (!slot) {
            slot = take(s, true);
            if (!slot) return NULL;
            tn_stage_begin(s, slot);
        }
        tn_stage_end(s, slot);
        next = take(s, false);
        if (next) tn_stage_begin(s, next);
        hand_on(s, slot);
    }
}

static tn_status start_threads(tn_plan_run *run)
{
    for (; run->n_threads < run->n_stages; run->n_threads++) {
        char name[24];
        snprintf(name, sizeof name, "stage.%u", (unsigned)run->n_threads);
        tn_stage *s = &run->stages[run->n_threads];
        const int error = tn_thread_start(name, stage_main, s, &s->thread);
        if (error)
            return tn_fail_native(TN_OUT_OF_MEMORY, error, "thread %u of the %u that run the model's parts could not be started (%s)",
                                  (unsigned)run->n_threads + 1, (unsigned)run->n_stages, strerror(error));
    }
    return TN_OK;
}

void tn_plan_threads_end(tn_plan_run *run)
{
    pthread_mutex_lock(&run->mutex);
    while (run->n_in_flight) pthread_cond_wait(&run->left, &run->mutex);
    run->is_ending = true;
    for (uint32_t i = 0; i < run->n_stages; i++) pthread_cond_signal(&run->stages[i].arrived);
    pthread_mutex_unlock(&run->mutex);
    while (run->n_threads) pthread_join(run->stages[--run->n_threads].thread, NULL);
}

tn_status tn_plan_run_start(tn_plan_run *run, uint32_t slot_number, const tn_plan_job *job)
{
    tn_plan_slot *slot = &run->slots[slot_number];
    TN_TRY(start_threads(run));
    tn_plan_slot_set(slot, job);
    pthread_mutex_lock(&run->mutex);
    slot->is_in_flight = true;
    run->n_in_flight++;
    push(&run->stages[0], slot);
    pthread_mutex_unlock(&run->mutex);
    return TN_OK;
}

tn_status tn_plan_run_finish(tn_plan_run *run, uint32_t slot_number, uint64_t *out_ended_ns)
{
    tn_plan_slot *slot = &run->slots[slot_number];
    pthread_mutex_lock(&run->mutex);
    while (slot->is_in_flight) pthread_cond_wait(&run->left, &run->mutex);
    pthread_mutex_unlock(&run->mutex);
    *out_ended_ns = slot->ended_ns;
    if (slot->status != TN_OK) tn_error_set(&slot->error);
    return slot->status;
}
