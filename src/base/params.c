// Reads parameter structs of any version up to this one.
#include "base/params.h"

#include <string.h>

tn_status tn_params_read(const char *type, size_t first_bytes, size_t bytes, const void *params, void *out)
{
    if (!params) return TN_OK;
    uint32_t given;
    memcpy(&given, params, sizeof given);
    if (given < first_bytes) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s.struct_size is %u, too small for any version: start from the struct's initialiser", type,
                       (unsigned)given);
    }
    if (given > bytes) {
        return tn_fail(TN_INVALID_ARGUMENT,
                       "%s.struct_size is %u where this library knows %zu bytes: start from the struct's initialiser, or use a library as "
                       "new as the program",
                       type, (unsigned)given, bytes);
    }
    const uint32_t known = (uint32_t)bytes;
    memcpy(out, params, given);
    memcpy(out, &known, sizeof known);
    return TN_OK;
}

tn_status tn_params_write(const char *type, size_t first_bytes, size_t bytes, const void *result, void *out)
{
    uint32_t given;
    memcpy(&given, out, sizeof given);
    if (given < first_bytes) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s.struct_size is %u, too small for any version: start from the struct's initialiser", type,
                       (unsigned)given);
    }
    memset(out, 0, given);
    memcpy(out, result, given < bytes ? given : bytes);
    memcpy(out, &given, sizeof given);
    return TN_OK;
}
