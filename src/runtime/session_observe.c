// Real steps correct what was measured: a few of them, so that it costs nothing that could be seen.
#include "runtime/session_observe.h"

#include "base/alloc.h"
#include "runtime/placement_internal.h"
#include "runtime/session_state.h"
#include "runtime/two_stage.h"

// The first steps warm up caches and decide on kernels. Steps of less than a millisecond are mostly what is around them, and would teach
// wrong things of larger models.
enum { FIRST_STEPS = 8, STEPS_EACH = 4 };
static const uint64_t shortest_ns = 1000000;

tn_status tn_session_observer_init(tn_session *session, const tn_host *host)
{
    tn_session_observer *observer = &session->observer;
    const tn_weight_source *head = tn_two_stage_head(&session->graph);
    if (session->plan->n_segments > 1 || session->info.n_lanes > 1 || session->trace.row || (head && head->screening)) return TN_OK;
    tn_known_costs *costs = tn_host_costs_known(host, session->plan->segments[0].device);
    if (!costs) return TN_OK;
    const tn_cost_table table = tn_known_costs_table(costs);
    const bool is_beside_others = session->placement && session->placement->n_replicas > 1 && table.n_together > 1;
    if (is_beside_others) return TN_OK; // and nobody knows which of its steps
    observer->n_works = session->graph.n_layers + 2;
    TN_TRY(tn_alloc_zero(observer->n_works, sizeof *observer->works, &observer->works));
    TN_TRY(tn_cost_works(&session->graph, observer->works));
    observer->costs = costs;
    return TN_OK;
}

void tn_session_observer_deinit(tn_session_observer *observer) { tn_free(observer->works); }

void tn_session_observe(tn_session *session, const tn_session_lane *lane, uint64_t ns)
{
    tn_session_observer *observer = &session->observer;
    if (!observer->costs || ++observer->n_steps <= FIRST_STEPS || observer->n_steps % STEPS_EACH || ns < shortest_ns) return;
    const tn_step_view view = tn_step_view_of(lane->step, &session->step_layout);
    tn_cost_step step = {.n_tokens = view.n_tokens, .n_logits = view.n_logits};
    uint64_t n_positions = 0;
    for (uint32_t i = 0; i < view.n_tokens; i++) {
        step.n_seqs += i == 0 || view.seqs[i] != view.seqs[i - 1]; // tokens of a sequence stand together
        n_positions += view.positions[i] + 1;
    }
    step.n_positions = (uint32_t)(n_positions / view.n_tokens);
    tn_known_costs_observe(observer->costs, observer->works, observer->n_works, &step, (double)ns);
}
