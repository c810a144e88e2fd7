// JSON documents of checkpoints, read only: the one door to the JSON library.
#ifndef TN_FORMAT_JSON_H
#define TN_FORMAT_JSON_H

#include "base/str.h"

// A value inside a document; borrowed until the document is destroyed. Functions that look into a value accept NULL (an absent value).
typedef struct json_t tn_json;

// Parses one document whose root is an object; duplicate keys are refused. `path` names it in messages. Returns owned.
// Errors: BAD_FILE (with line and column), OUT_OF_MEMORY.
tn_status tn_json_parse(const char *bytes, size_t size, const char *path, tn_json **out_root);
// Reads a file of at most `limit_bytes`.  Errors: as tn_json_parse, and NOT_FOUND, IO.
tn_status tn_json_open(const char *path, uint64_t limit_bytes, tn_json **out_root);
void tn_json_destroy(tn_json *root);

// Member of an object, element of an array; NULL where there is none or the value is of another kind.
const tn_json *tn_json_get(const tn_json *object, const char *key);
const tn_json *tn_json_at(const tn_json *array, size_t index);
size_t tn_json_size(const tn_json *value); // members of an object, elements of an array, else 0
// Steps through an object in the order of the file: start with *at = NULL; false at the end.
bool tn_json_next(const tn_json *object, void **at, tn_str *out_key, const tn_json **out_value);

bool tn_json_absent(const tn_json *value); // no such value, or null
bool tn_json_is_object(const tn_json *value);
bool tn_json_is_array(const tn_json *value);
bool tn_json_is_true(const tn_json *value); // exactly `true`
bool tn_json_is_bool(const tn_json *value);
// Each returns false, and leaves *out alone, where the value is of another kind. Text never contains NUL bytes and is terminated.
bool tn_json_str(const tn_json *value, tn_str *out);
bool tn_json_u64(const tn_json *value, uint64_t *out); // a non-negative integer
bool tn_json_f64(const tn_json *value, double *out);   // an integer or a real number

#endif
