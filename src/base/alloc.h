// Memory with a reason on failure. Sizes are checked; zero-sized requests give a valid pointer.
#ifndef TN_BASE_ALLOC_H
#define TN_BASE_ALLOC_H

#include "base/status.h"

// All return owned memory in `*out` (type void** by cast), NULL on failure (OUT_OF_MEMORY). Free with tn_free.
tn_status tn_alloc(size_t n, size_t element_bytes, void *out_pointer);         // uninitialised
tn_status tn_alloc_zero(size_t n, size_t element_bytes, void *out_pointer);    // all bits 0
tn_status tn_alloc_aligned(size_t bytes, size_t alignment, void *out_pointer); // all bits 0; alignment a power of two
// Grows `*pointer` to hold n elements, contents kept, at least doubling `*capacity` when it must move.
tn_status tn_grow(void *pointer, size_t *capacity, size_t n, size_t element_bytes);
void tn_free(void *pointer);
tn_status tn_strdup(const char *text, size_t len, char **out_text);

#endif
