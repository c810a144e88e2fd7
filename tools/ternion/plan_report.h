// A plan as text and as JSON.
#ifndef TERNION_TOOL_PLAN_REPORT_H
#define TERNION_TOOL_PLAN_REPORT_H

#include "plan_ask.h"

void tn_cli_plan_print(const tn_cli_plan *plan);
int tn_cli_plan_print_json(const tn_cli_plan *plan); // returns 0 or the exit status after a message

#endif
