// Allocation with checked sizes and a recorded reason on failure.
#include "base/alloc.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

// Results are stored with memcpy: the callers' pointers have any type.
static void store(void *out_pointer, const void *value) { memcpy(out_pointer, &value, sizeof value); }

// False where n elements cannot be an object: more than PTRDIFF_MAX bytes break pointer differences. Never 0, so that
// a request for nothing still gives a pointer that can be freed and compared.
static bool checked_bytes(size_t n, size_t element_bytes, size_t *out_bytes)
{
    uint64_t bytes;
    if (!tn_ckd_mul(n, element_bytes, &bytes) || bytes > PTRDIFF_MAX) return false;
    *out_bytes = bytes == 0 ? 1 : (size_t)bytes;
    return true;
}

static tn_status out_of_memory(size_t n, size_t element_bytes)
{
    return tn_fail(TN_OUT_OF_MEMORY, "could not allocate %zu x %zu bytes: free memory or ask for less", n, element_bytes);
}

tn_status tn_alloc(size_t n, size_t element_bytes, void *out_pointer)
{
    size_t bytes;
    store(out_pointer, NULL);
    if (!checked_bytes(n, element_bytes, &bytes)) return out_of_memory(n, element_bytes);
    void *p = malloc(bytes);
    if (p == NULL) return out_of_memory(n, element_bytes);
    store(out_pointer, p);
    return TN_OK;
}

tn_status tn_alloc_zero(size_t n, size_t element_bytes, void *out_pointer)
{
    size_t bytes;
    store(out_pointer, NULL);
    if (!checked_bytes(n, element_bytes, &bytes)) return out_of_memory(n, element_bytes);
    void *p = calloc(1, bytes);
    if (p == NULL) return out_of_memory(n, element_bytes);
    store(out_pointer, p);
    return TN_OK;
}

tn_status tn_alloc_aligned(size_t bytes, size_t alignment, void *out_pointer)
{
    size_t n;
    store(out_pointer, NULL);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "alignment %zu is not a power of two: give one", alignment);
    }
    if (!checked_bytes(bytes, 1, &n)) return out_of_memory(bytes, 1);
    void *p = NULL;
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, n) != 0) return out_of_memory(bytes, 1);
    memset(p, 0, n);
    store(out_pointer, p);
    return TN_OK;
}

tn_status tn_grow(void *pointer, size_t *capacity, size_t n, size_t element_bytes)
{
    if (n <= *capacity) return TN_OK;
    size_t bytes, wanted = *capacity > SIZE_MAX / 2 || *capacity * 2 < n ? n : *capacity * 2;
    if (!checked_bytes(wanted, element_bytes, &bytes)) {
        wanted = n; // doubling is a courtesy, n is the request
        if (!checked_bytes(wanted, element_bytes, &bytes)) return out_of_memory(n, element_bytes);
    }
    void *old;
    memcpy(&old, pointer, sizeof old);
    void *p = realloc(old, bytes);
    if (p == NULL) return out_of_memory(n, element_bytes);
    store(pointer, p);
    *capacity = wanted;
    return TN_OK;
}

void tn_free(void *pointer) { free(pointer); }

tn_status tn_strdup(const char *text, size_t len, char **out_text)
{
    *out_text = NULL;
    if (len == SIZE_MAX) return out_of_memory(len, 1);
    TN_TRY(tn_alloc(len + 1, 1, out_text));
    if (len != 0) memcpy(*out_text, text, len);
    (*out_text)[len] = '\0';
    return TN_OK;
}
