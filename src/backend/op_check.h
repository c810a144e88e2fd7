// What the kernels of GPU backends take of single ops, and why not the others.
#ifndef TN_BACKEND_OP_CHECK_H
#define TN_BACKEND_OP_CHECK_H

#include "backend/backend.h"

// Everything but the form of the op's weight, which is the backend's to check.  Errors: UNSUPPORTED, with the reason.
tn_status tn_op_check(const tn_device *device, const tn_graph *graph, const tn_node *node);

#endif
