// Which sample starts where: the queue says who is next, and the member that has the least to do takes it, where its pages and sequences
// allow.
#include "runtime/batcher_internal.h"

// Tokens of a prompt that are computed anew weigh, a sequence for each so many, against running where fewer run.
#define PROMPT_TOKENS_A_SEQUENCE 256.0

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

// The lane of the member with the fewest samples, of those that are in flight or have room left in the step that they begin; of equals one
// that need not be waited for. NULL: there is none.
static tn_batch_lane *lane_for(const tn_batch_member *member)
{
    tn_batch_lane *best = NULL;
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        tn_batch_lane *lane = &member->lanes[i];
        if (!lane->in_flight && lane->budget == 0) continue;
        if (!best || lane->n_running < best->n_running || (lane->n_running == best->n_running && best->in_flight && !lane->in_flight))
            best = lane;
    }
    return best;
}

static bool is_open(const tn_batch_member *member)
{
    const tn_batcher *batcher = member->batcher;
    return batcher->n_running < batcher->params.n_seqs && member->n_running < member->n_seqs && member->n_free_seqs && lane_for(member);
}

// Whether the pages for all that the sample knows are available, and some for those that run.
static bool has_pages(tn_batch_member *member, const tn_batch_sample *sample)
{
    const tn_kv_cache *kv = member->kv;
    if (sample->request->n_pages_longest > kv->n_pages) return false;
    // Where every sequence has pages for its whole context, nobody is short of them for long.
    if (kv->n_pages / kv->n_seq_pages >= member->limits.n_seqs_max) return true;
    const uint32_t reserve = smaller(member->n_running, kv->n_pages / 8);
    uint32_t need = tn_kv_pages_for(tn_batch_known(sample)) + 1;
    if (sample->request->prompts[member->index].pages) need = 2; // the copy of the page that it goes on in, and the next
    if (need > kv->n_pages) need = kv->n_pages;
    while (need + reserve > tn_kv_cache_available(kv)) {
        if (member->n_running) return false;
        if (!tn_batch_drop_any_prompt(member)) return true; // it is alone, and fits
    }
    return true;
}

static bool may_start(tn_batch_member *member, const tn_batch_sample *sample)
{
    if (!sample->started && tn_batch_queue_waits(member, sample->request)) return false;
    return has_pages(member, sample);
}

// What the member would have to do with the sample, in sequences.
static double load_with(const tn_batch_member *member, const tn_batch_sample *sample)
{
    const uint32_t n_missing = tn_batch_known(sample) - tn_batch_find_known(member, sample);
    return (member->n_running + 1 + n_missing / PROMPT_TOKENS_A_SEQUENCE) / member->share;
}

// The member that the sample starts in; NULL: none can take it now.
static tn_batch_member *member_for(const tn_batcher *batcher, const tn_batch_sample *sample)
{
    tn_batch_member *best = NULL;
    double least = 0;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        tn_batch_member *member = &batcher->members[i];
        if (!is_open(member) || !may_start(member, sample)) continue;
        if (batcher->n_members == 1) return member;
        const double load = load_with(member, sample);
        if (best && load >= least) continue;
        best = member;
        least = load;
    }
    return best;
}

// Gives the sample a sequence in the lane. Where it cannot start, it ends.
static bool start(tn_batch_lane *lane, tn_batch_sample *sample)
{
    tn_batcher *batcher = lane->member->batcher;
    tn_batch_queue_remove(batcher, sample);
    if (!sample->started) {
        const tn_status status = tn_batch_sample_start(batcher, sample);
        if (status != TN_OK) {
            tn_batch_request *request = sample->request;
            if (request->n_started == request->n_samples) tn_batch_drop_prompt(batcher, request); // nobody waits for its pages
            tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, status);
            return false;
        }
    }
    tn_batch_begin_running(lane, sample);
    return true;
}

// A sample in a lane that is in flight waits for its step, but takes its pages at once. Its flow pays at once too, or others would be
// behind what one flow has waiting there.
static void wait_in_lane(tn_batch_sample *sample)
{
    tn_batch_attach(sample);
    sample->n_paid = tn_batch_known(sample) - tn_batch_length(sample);
    sample->request->flow->n_served += sample->n_paid;
}

tn_status tn_batch_place_samples(tn_batcher *batcher)
{
    for (;;) {
        for (uint32_t i = 0; i < batcher->n_members; i++) batcher->is_open[i] = is_open(&batcher->members[i]);
        tn_batch_sample *sample = tn_batch_queue_first(batcher, batcher->is_open);
        tn_batch_member *member = sample ? member_for(batcher, sample) : NULL;
        if (!member) return TN_OK;
        tn_batch_lane *lane = lane_for(member);
        if (!start(lane, sample)) continue;
        tn_batch_request *request = sample->request;
        const bool all_started = request->n_started == request->n_samples;
        if (lane->in_flight)
            wait_in_lane(sample);
        else
            TN_TRY(tn_batch_add_prompt(sample));
        if (all_started) tn_batch_drop_prompt(batcher, request);
    }
}

void tn_batch_level_lanes(tn_batch_member *member)
{
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        tn_batch_lane *from = &member->lanes[i];
        while (!from->in_flight) { // else its samples are in a step
            tn_batch_lane *to = &member->lanes[0];
            for (uint32_t k = 1; k < member->n_lanes; k++) {
                if (member->lanes[k].n_running < to->n_running) to = &member->lanes[k];
            }
            if (from->n_running <= to->n_running + 1) break;
            tn_batch_move(from->running[from->n_running - 1], to);
        }
    }
}
