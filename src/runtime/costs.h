// What a step reads and multiplies, from the graph and the layouts that its weights were packed into.
#ifndef TN_RUNTIME_COSTS_H
#define TN_RUNTIME_COSTS_H

#include "runtime/plan_run.h"
#include "ternion/session.h"

tn_session_costs tn_costs_of(const tn_plan_run *run, const tn_graph *graph);
// A node with its time, of a run that keeps a profile.
tn_session_profile_entry tn_costs_profile_entry(tn_plan_run *run, const tn_graph *graph, uint32_t node);

#endif
