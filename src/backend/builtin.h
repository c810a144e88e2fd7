// The tables of the backends that can be compiled in: one constant each, so that the list of them is read-only data too.
#ifndef TN_BACKEND_BUILTIN_H
#define TN_BACKEND_BUILTIN_H

#include "backend/backend.h"

extern const tn_backend tn_cpu_backend_table;
extern const tn_backend tn_cuda_backend_table;
extern const tn_backend tn_vulkan_backend_table;

#endif
