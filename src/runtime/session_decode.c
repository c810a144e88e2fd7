// Batches of a session: cut into steps, which pass the plan's stages one behind the other, and decodes of lanes that run side by side.
#include "base/clock.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/params.h"
#include "model/model_internal.h"
#include "runtime/session_internal.h"
#include "runtime/session_recover.h"

// Steps in flight at a time are counted once: what is added is the time since the latest of them before this one ended.
static void count_step(tn_session *session, const tn_session_lane *lane, uint64_t ended_ns)
{
    const uint64_t begun_ns = lane->begun_ns > session->step_ended_ns ? lane->begun_ns : session->step_ended_ns;
    session->n_steps++;
    if (!tn_plan_run_is_profiled(session->run) || ended_ns <= begun_ns) return;
    session->step_ns += ended_ns - begun_ns;
    session->step_ended_ns = ended_ns;
}

// What the devices computed is only as good as the files that they read.
static tn_status check_files(const tn_session *session)
{
    TN_TRY(tn_gguf_check_intact(tn_model_gguf(session->model)));
    return tn_plan_run_check_intact(session->run);
}

static tn_plan_job job_of(tn_session_lane *lane)
{
    lane->begun_ns = tn_clock_ns();
    return (tn_plan_job){.step = lane->step, .rows = &lane->keeper->rows, .first_row = lane->first_row, .poison = lane->poison};
}

// Waits for the lane's step and counts it.
static tn_status wait_for(tn_session *session, tn_session_lane *lane)
{
    uint64_t ended_ns;
    const tn_status status = tn_plan_run_finish(session->run, lane->number, &ended_ns);
    lane->is_in_flight = false;
    if (status != TN_OK) session->failed_device = tn_plan_run_failed_device(session->run, lane->number);
    count_step(session, lane, ended_ns);
    if (status == TN_OK) tn_session_observe(session, lane, ended_ns - lane->begun_ns);
    return status == TN_OK ? check_files(session) : status;
}

// ---- one batch ----

// A batch on its way: steps of it are in lanes in turn, and all rows go to lane 0.
typedef struct flight {
    const tn_batch *batch;
    uint32_t n_tokens, n_done;     // of steps that were begun, and that were settled
    uint32_t n_begun, n_settled;   // steps
    uint32_t n_lanes;              // steps that may be in flight
    tn_status poison, fill_status; // why no more are begun; TN_OK: for no reason
    tn_error fill_error;
} flight;

static tn_session_lane *lane_of(const tn_session *session, const flight *f, uint32_t step) { return &session->lanes[step % f->n_lanes]; }

// Begins steps until there are as many as may be in flight; where pages are lacking for one, those before it still count.
static void begin_steps(tn_session *session, flight *f)
{
    const uint32_t n_all = f->batch->n_tokens;
    while (f->n_tokens < n_all && f->n_begun - f->n_settled < f->n_lanes && f->fill_status == TN_OK) {
        const uint32_t left = n_all - f->n_tokens, n = left < session->n_step_tokens ? left : session->n_step_tokens;
        tn_session_lane *lane = lane_of(session, f, f->n_begun);
        f->fill_status = tn_session_lane_fill(session, lane, &session->lanes[0], f->batch, f->n_tokens, n);
        if (f->fill_status == TN_OK) {
            const tn_plan_job job = job_of(lane);
            f->fill_status = tn_plan_run_start(session->run, lane->number, &job);
            lane->is_in_flight = f->fill_status == TN_OK;
            if (f->fill_status != TN_OK) tn_session_lane_undo(session, lane);
        }
        if (f->fill_status != TN_OK) {
            f->fill_error = *tn_error_last();
            return;
        }
        f->n_tokens += n;
        f->n_begun++;
    }
}

// Takes back all steps that were not settled, once they are over. The device that failed first is the one that did.
static void abandon(tn_session *session, flight *f)
{
    const tn_error error = *tn_error_last();
    const uint32_t failed_device = session->failed_device;
    for (; f->n_begun > f->n_settled; f->n_begun--) {
        tn_session_lane *lane = lane_of(session, f, f->n_begun - 1);
        if (lane->is_in_flight) (void)wait_for(session, lane);
        tn_session_lane_undo(session, lane);
    }
    f->n_tokens = f->n_done;
    session->failed_device = failed_device;
    tn_error_set(&error);
}

// Settles the first step in flight.
static tn_status settle_step(tn_session *session, flight *f)
{
    tn_session_lane *lane = lane_of(session, f, f->n_settled);
    TN_TRY(wait_for(session, lane));
    const tn_status poison = tn_session_lane_settle(session, lane);
    if (poison != TN_OK) f->poison = poison;
    f->n_settled++;
    f->n_done += lane->step->n_tokens;
    return tn_progress_report(&f->batch->progress, "prompt", f->n_done, f->batch->n_tokens);
}

// Where a batcher has the session, it sees to that.
static tn_status recover(tn_session *session, tn_status status) { return session->is_owned ? status : tn_session_recover(session, status); }

static tn_status decode_in_flight(tn_session *session, const tn_batch *batch)
{
    flight f = {.batch = batch, .n_lanes = session->info.n_lanes};
    for (;;) {
        begin_steps(session, &f);
        if (f.n_begun == f.n_settled) break;
        const tn_status status = settle_step(session, &f);
        if (status == TN_OK) continue;
        abandon(session, &f);
        TN_TRY(recover(session, status));
    }
    if (f.fill_status == TN_OK) return f.poison;
    tn_error_set(&f.fill_error);
    return f.fill_status;
}

// A step of lane 0 through all stages, by the calling thread.
static tn_status run_step(tn_session *session, const tn_batch *batch, uint32_t first, uint32_t n, tn_status *poison_status)
{
    tn_session_lane *lane = &session->lanes[0];
    TN_TRY(tn_session_lane_fill(session, lane, lane, batch, first, n));
    const tn_plan_job job = job_of(lane);
    tn_status status = tn_plan_run_step(session->run, &job);
    session->failed_device = tn_plan_run_failed_device(session->run, 0);
    const uint64_t ended_ns = tn_clock_ns();
    count_step(session, lane, ended_ns);
    if (status == TN_OK) tn_session_observe(session, lane, ended_ns - lane->begun_ns);
    if (status == TN_OK) status = check_files(session);
    if (status != TN_OK) {
        tn_session_lane_undo(session, lane);
        return status;
    }
    const tn_status poison = tn_session_lane_settle(session, lane);
    if (poison != TN_OK) *poison_status = poison;
    return TN_OK;
}

static tn_status decode(tn_session *session, const tn_batch *batch)
{
    for (uint32_t i = 0; i < session->info.n_lanes; i++) {
        if (session->lanes[i].is_in_flight)
            return tn_fail(TN_INVALID_ARGUMENT, "lane %u of the session is in flight: finish it first", (unsigned)i);
    }
    session->lanes[0].n_rows = session->lanes[0].n_rows_filled = 0;
    TN_TRY(tn_session_check_alive(session));
    TN_TRY(tn_session_lane_check(session, batch));
    if (batch->n_tokens > session->n_step_tokens && session->plan->n_segments > 1 && session->info.n_lanes > 1)
        return decode_in_flight(session, batch);
    tn_status poison_status = TN_OK;
    for (uint32_t first = 0; first < batch->n_tokens;) {
        uint32_t left = batch->n_tokens - first;
        uint32_t n = left < session->n_step_tokens ? left : session->n_step_tokens;
        const tn_status status = run_step(session, batch, first, n, &poison_status);
        if (status != TN_OK) {
            TN_TRY(recover(session, status));
            continue;
        }
        first += n;
        TN_TRY(tn_progress_report(&batch->progress, "prompt", first, batch->n_tokens));
    }
    return poison_status;
}

tn_status tn_session_decode(tn_session *session, const tn_batch *batch)
{
    TN_REQUIRE(session);
    TN_REQUIRE(batch);
    tn_batch known = TN_BATCH_INIT;
    TN_TRY(TN_PARAMS_READ(tn_batch, progress, batch, &known));
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = decode(session, &known);
    tn_float_mode_leave(mode);
    return status;
}

// ---- lanes ----

uint32_t tn_session_n_lanes(const tn_session *session) { return session->info.n_lanes; }

static tn_status find_lane(tn_session *session, uint32_t number, bool is_in_flight, tn_session_lane **out_lane)
{
    *out_lane = NULL;
    if (number >= session->info.n_lanes)
        return tn_fail(TN_INVALID_ARGUMENT, "lane %u does not exist: the session has %u", (unsigned)number,
                       (unsigned)session->info.n_lanes);
    if (session->lanes[number].is_in_flight != is_in_flight)
        return tn_fail(TN_INVALID_ARGUMENT,
                       is_in_flight ? "lane %u has nothing in flight: start it first" : "lane %u is in flight: finish it first",
                       (unsigned)number);
    *out_lane = &session->lanes[number];
    return TN_OK;
}

// The step's sequences are the lane's, or nobody's.
static void mark_seqs(tn_session *session, const tn_session_lane *lane, uint32_t mark)
{
    const tn_step_view step = tn_step_view_of(lane->step, &session->step_layout);
    for (uint32_t i = 0; i < step.n_tokens; i++) session->seq_lane[step.seqs[i]] = mark;
}

tn_status tn_session_start(tn_session *session, uint32_t number, const tn_batch *batch, void (*done)(void *user), void *user)
{
    tn_session_lane *lane;
    tn_batch known = TN_BATCH_INIT;
    TN_TRY(TN_PARAMS_READ(tn_batch, progress, batch, &known));
    TN_TRY(find_lane(session, number, false, &lane));
    lane->n_rows = lane->n_rows_filled = 0;
    TN_TRY(tn_session_check_alive(session));
    if (known.n_tokens > session->n_step_tokens)
        return tn_fail(TN_INVALID_ARGUMENT, "%u tokens are more than the %u of a step: start fewer at a time", (unsigned)known.n_tokens,
                       (unsigned)session->n_step_tokens);
    TN_TRY(tn_session_lane_check(session, &known));
    TN_TRY(tn_session_lane_fill(session, lane, lane, &known, 0, known.n_tokens));
    tn_plan_job job = job_of(lane);
    job.done = done;
    job.user = user;
    const tn_status status = tn_plan_run_start(session->run, number, &job);
    if (status != TN_OK) {
        tn_session_lane_undo(session, lane);
        return status;
    }
    mark_seqs(session, lane, number + 1);
    lane->is_in_flight = true;
    return TN_OK;
}

tn_status tn_session_finish(tn_session *session, uint32_t number)
{
    tn_session_lane *lane;
    TN_TRY(find_lane(session, number, true, &lane));
    const tn_status status = wait_for(session, lane);
    mark_seqs(session, lane, 0);
    if (status == TN_OK) return tn_session_lane_settle(session, lane);
    tn_session_lane_undo(session, lane);
    return status;
}

// ---- rows ----

const float *tn_session_lane_logits(const tn_session *session, uint32_t number, uint32_t index)
{
    const tn_session_lane *lane = &session->lanes[number];
    if (index >= lane->n_rows || !lane->row_valid[index]) return NULL;
    return lane->rows.logits + (size_t)index * session->info.n_vocab;
}

const uint32_t *tn_session_lane_candidates(const tn_session *session, uint32_t number, uint32_t index, uint32_t *out_n)
{
    const tn_session_lane *lane = &session->lanes[number];
    *out_n = lane->rows.max && index < lane->n_rows && lane->row_valid[index] ? lane->rows.n_ids[index] : 0;
    return *out_n ? lane->rows.ids + (size_t)index * lane->rows.max : NULL;
}

const float *tn_session_logits(const tn_session *session, uint32_t index) { return tn_session_lane_logits(session, 0, index); }

const uint32_t *tn_session_candidates(const tn_session *session, uint32_t index, uint32_t *out_n)
{
    return tn_session_lane_candidates(session, 0, index, out_n);
}
