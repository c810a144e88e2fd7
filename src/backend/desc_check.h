// What every backend checks of a program's description, and of bytes in buffers, before it trusts them.
#ifndef TN_BACKEND_DESC_CHECK_H
#define TN_BACKEND_DESC_CHECK_H

#include "backend/backend.h"
#include "backend/step_check.h"

// Fails with INVALID_ARGUMENT, "program description: <what>".
tn_status tn_bad_desc(const char *what);
// Nodes, values, limits and taps that the graph has, and a KV cache of the size that its layers need. What single nodes read is the
// compiler's to check.  Errors: INVALID_ARGUMENT, with what is wrong.
tn_status tn_desc_check(const tn_device *device, const tn_program_desc *desc);
// A description for tn_backend.program_check as compilers want it: KV cache and taps, which do not exist yet, are a buffer that stands for
// them. What is compiled from it is good for sizes alone.
typedef struct tn_desc_sketch {
    tn_program_desc desc;
    tn_tap *taps; // owned
} tn_desc_sketch;
// Checks the description too. `later`: of the device, of a size that holds everything; borrowed. tn_desc_sketch_deinit may be called after
// a failure.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT.
tn_status tn_desc_sketch_init(const tn_program_desc *desc, tn_buffer *later, tn_desc_sketch *out_sketch);
void tn_desc_sketch_deinit(tn_desc_sketch *sketch);
// The checker of the program's steps; what it made, failed or not, is given to tn_step_checker_deinit.  Errors: OUT_OF_MEMORY.
tn_status tn_desc_step_checker(const tn_program_desc *desc, tn_step_checker *out_checker);
// OK where `buffer` is of `device` and holds [offset, offset + n_bytes).  Errors: INVALID_ARGUMENT; `what` begins the message.
tn_status tn_buffer_check(const tn_device *device, const tn_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes, const char *what);

#endif
