// JSON on standard output.
#ifndef TERNION_TOOL_JSON_OUT_H
#define TERNION_TOOL_JSON_OUT_H

#include "ternion/model.h"

#include <jansson.h>
#include <stdbool.h>

// Before the first value is made: watches jansson's memory, so that tn_cli_json_complete can tell. Again: what was missing is forgotten.
void tn_cli_json_begin(void);
// False where memory was missing for any value made so far: it may have been left out of the value that should hold it.
bool tn_cli_json_complete(void);
// A string of any bytes: what is not UTF-8 becomes U+FFFD. NULL without memory.
json_t *tn_cli_json_text(const char *bytes, size_t n);
// The double that prints like `value` does with as many digits as f32 has: 0.8 and not 0.800000011920929.
double tn_cli_short_real(float value);
// A number, or null where it is not finite, which JSON has no word for. NULL without memory.
json_t *tn_cli_json_real(double value);
// {"path", "name", "architecture", "type", "size", "n_params"}.
json_t *tn_cli_json_model(const char *path, const tn_model_info *info);
// `object` as text with jansson's layout `flags`, to free; NULL without memory, also where it was missing before.
char *tn_cli_json_dump(const json_t *object, size_t flags);
// Prints `object` with a newline and releases it. Returns 0 or the exit status; NULL is lack of memory.
int tn_cli_json_print(json_t *object);

#endif
