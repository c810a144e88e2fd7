// Parameter structs of the public API: callers built against an older version hand over shorter ones.
#ifndef TN_BASE_PARAMS_H
#define TN_BASE_PARAMS_H

#include "base/status.h"

// Copies a caller's struct, whose first field is uint32_t struct_size, over the defaults in *out. Fields that the caller's version lacks
// keep their defaults; NULL keeps them all. `first_bytes`: up to the last field of the first version; `bytes`: of today's. Errors:
// INVALID_ARGUMENT (shorter than the first version, or longer than today's: the caller is newer than the library).
tn_status tn_params_read(const char *type, size_t first_bytes, size_t bytes, const void *params, void *out);
// `last`: the last field of the struct's first version.
#define TN_PARAMS_READ(type, last, params, out)                                                                                            \
    tn_params_read(#type, offsetof(type, last) + sizeof(out)->last, sizeof(type), (params), (type *)(out))

// Copies a result over the caller's struct, whose first field is uint32_t struct_size: as much of it as the caller's version has. What a
// newer caller has beyond it is zero. Errors: INVALID_ARGUMENT (shorter than the first version).
tn_status tn_params_write(const char *type, size_t first_bytes, size_t bytes, const void *result, void *out);
#define TN_PARAMS_WRITE(type, last, result, out)                                                                                           \
    tn_params_write(#type, offsetof(type, last) + sizeof(out)->last, sizeof(type), (const type *)(result), (type *)(out))

#endif
