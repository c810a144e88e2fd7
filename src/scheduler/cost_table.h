// What the parts of the cost model share.
#ifndef TN_SCHEDULER_COST_TABLE_H
#define TN_SCHEDULER_COST_TABLE_H

#include "scheduler/cost.h"

// Corrections lie between this and its inverse.
extern const double tn_cost_correction_max;

// Factors of devices that read together are between 1 and this.
extern const double tn_cost_together_max;

// Time of amounts in a step of exactly the size of that index.
double tn_cost_at_step(const tn_cost_table *table, const double amounts[TN_COST_PARTS], uint32_t step);

#endif
