// The object that ternion compare --json prints.
#ifndef TERNION_TOOL_COMPARE_JSON_H
#define TERNION_TOOL_COMPARE_JSON_H

#include "compare.h"

// All that is known by now. NULL, or parts left out, without memory: tn_cli_json_complete tells.
json_t *tn_cli_compare_json(const tn_cli_compare *job);

#endif
