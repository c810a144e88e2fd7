// JSON on standard output.
#ifndef TERNION_TOOL_JSON_OUT_H
#define TERNION_TOOL_JSON_OUT_H

#include "ternion/model.h"

#include <jansson.h>

// A string of any bytes: what is not UTF-8 becomes U+FFFD. NULL without memory.
json_t *tn_cli_json_text(const char *bytes, size_t n);
// The double that prints like `value` does with as many digits as f32 has: 0.8 and not 0.800000011920929.
double tn_cli_short_real(float value);
// {"path", "name", "architecture", "type", "size", "n_params"}.
json_t *tn_cli_json_model(const char *path, const tn_model_info *info);
// Prints `object` with a newline and releases it. Returns 0 or the exit status; NULL is lack of memory.
int tn_cli_json_print(json_t *object);

#endif
