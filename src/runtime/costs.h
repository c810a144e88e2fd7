// What a step reads and multiplies, from the graph and the layouts that its weights were packed into.
#ifndef TN_RUNTIME_COSTS_H
#define TN_RUNTIME_COSTS_H

#include "runtime/plan_run.h"
#include "ternion/session.h"

tn_session_costs tn_costs_of(const tn_plan_run *run, const tn_graph *graph);

#endif
