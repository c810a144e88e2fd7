// A turn: what was submitted and cancelled meanwhile is seen to, steps begin in all lanes that wait, and the one that is done first is
// finished. Other lanes compute while samples are chosen here, and between turns.
#include "base/clock.h"
#include "runtime/batcher_internal.h"

// The first failure of a turn; what failed does not keep other lanes from going on.
typedef struct first_failure {
    tn_status status;
    tn_error error;
} first_failure;

static void note(first_failure *failure, tn_status status)
{
    if (status == TN_OK || failure->status != TN_OK) return;
    failure->status = status;
    failure->error = *tn_error_last();
}

// The first request from `request` on that was cancelled. *next: the one behind it, for the request itself goes. Those that came
// after the inbox was taken wait for the next turn: they are in no flow yet.
static tn_batch_request *find_cancelled(tn_batcher *batcher, tn_batch_request *request, tn_batch_request **next)
{
    pthread_mutex_lock(&batcher->lock);
    for (; request && !(request->is_cancelled && request->flow); request = request->after)
        batcher->shared.any_cancelled = batcher->shared.any_cancelled || request->is_cancelled;
    *next = request ? request->after : NULL;
    pthread_mutex_unlock(&batcher->lock);
    return request;
}

// What is in a step ends with that.
static void end_request(tn_batcher *batcher, tn_batch_request *request)
{
    tn_batch_queue_drop(batcher, request);
    request->message[0] = '\0'; // whatever became of samples before, it says that it was cancelled
    request->is_ending = true;
    for (uint32_t i = 0, n_left = request->n_samples - request->n_ended; n_left; i++) {
        tn_batch_sample *sample = &request->samples[i];
        if (sample->ended) continue;
        n_left--; // the request goes with its last sample
        if (!sample->in_step) tn_batch_sample_cancel(batcher, sample);
    }
}

// One pass over all requests; what callbacks cancel meanwhile may wait for the next turn. Only this thread takes requests out of the list.
static void end_cancelled(tn_batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    tn_batch_request *next = batcher->shared.any_cancelled ? batcher->shared.first : NULL;
    batcher->shared.any_cancelled = false;
    pthread_mutex_unlock(&batcher->lock);
    for (tn_batch_request *request; (request = find_cancelled(batcher, next, &next));) end_request(batcher, request);
}

// Chooses what all lanes that wait compute next. Who waits longest chooses first: a lane that found no room waits for others to finish.
static void compose(tn_batcher *batcher, first_failure *failure)
{
    for (uint32_t i = 0; i < batcher->n_members; i++) tn_batch_level_lanes(&batcher->members[i]);
    for (uint32_t i = 0; i < batcher->n_idle; i++) {
        const tn_status status = tn_batch_compose(batcher->idle[i]);
        if (status != TN_OK) tn_batch_lane_clear(batcher->idle[i]);
        note(failure, status);
    }
    note(failure, tn_batch_place_samples(batcher));
}

static bool is_stuck(const tn_batch_member *member)
{
    bool any_goes_on = member->n_running == 0;
    for (uint32_t i = 0; i < member->n_lanes; i++) any_goes_on = any_goes_on || member->lanes[i].in_flight || member->lanes[i].n_entries;
    return !any_goes_on;
}

static void start_lanes(tn_batcher *batcher, first_failure *failure)
{
    uint32_t n_idle = 0;
    for (uint32_t i = 0; i < batcher->n_members && failure->status == TN_OK; i++) {
        const tn_batch_member *member = &batcher->members[i];
        if (is_stuck(member))
            note(failure, tn_fail(TN_INTERNAL, "%u samples run, but none of them can go on", (unsigned)member->n_running));
    }
    for (uint32_t i = 0; i < batcher->n_idle; i++) {
        tn_batch_lane *lane = batcher->idle[i];
        if (lane->n_entries) note(failure, tn_batch_lane_start(lane));
        if (lane->in_flight)
            batcher->n_in_flight++;
        else
            batcher->idle[n_idle++] = lane;
    }
    batcher->n_idle = n_idle;
}

// The lane in flight that was done first. NULL: none is yet. Under the lock.
static tn_batch_lane *find_done(const tn_batcher *batcher)
{
    tn_batch_lane *first = NULL;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        const tn_batch_member *member = &batcher->members[i];
        for (uint32_t k = 0; k < member->n_lanes; k++) {
            tn_batch_lane *lane = &member->lanes[k];
            if (lane->in_flight && lane->is_done && (!first || lane->done_ns < first->done_ns)) first = lane;
        }
    }
    return first;
}

// Some lane is in flight.
static tn_batch_lane *wait_for_lane(tn_batcher *batcher)
{
    tn_batch_lane *lane;
    if (batcher->in_line) return &batcher->members[0].lanes[0];
    pthread_mutex_lock(&batcher->lock);
    while (!(lane = find_done(batcher))) pthread_cond_wait(&batcher->lane_done, &batcher->lock);
    pthread_mutex_unlock(&batcher->lock);
    return lane;
}

void tn_batch_rest(tn_batch_lane *lane)
{
    tn_batcher *batcher = lane->member->batcher;
    batcher->n_in_flight--;
    batcher->idle[batcher->n_idle++] = lane;
}

tn_status tn_batch_turn(tn_batcher *batcher)
{
    const uint64_t begun_ns = tn_clock_ns();
    first_failure failure = {.status = TN_OK};
    note(&failure, tn_batch_queue_take_inbox(batcher));
    end_cancelled(batcher);
    compose(batcher, &failure);
    start_lanes(batcher, &failure);
    batcher->info.schedule_ns += tn_clock_ns() - begun_ns;
    if (batcher->n_in_flight) {
        tn_batch_lane *lane = wait_for_lane(batcher);
        tn_batch_rest(lane);
        const tn_status status = tn_batch_lane_finish(lane);
        note(&failure, status == TN_OK ? status : tn_batch_member_recover(lane->member, status));
    }
    if (failure.status != TN_OK) tn_error_set(&failure.error);
    return failure.status;
}

void tn_batch_settle(tn_batcher *batcher)
{
    while (batcher->n_in_flight) {
        tn_batch_lane *lane = wait_for_lane(batcher);
        tn_batch_rest(lane);
        tn_batch_lane_drop(lane);
    }
}
