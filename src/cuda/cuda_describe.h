// What a device is and has, before it is opened.
#ifndef TN_CUDA_CUDA_DESCRIBE_H
#define TN_CUDA_CUDA_DESCRIBE_H

#include "cuda/cuda_device.h"

enum { TN_CUDA_CAPABILITY_MIN = 75 };

typedef struct tn_cuda_facts {
    CUdevice handle;
    char name[32]; // ternion's: "cuda0"
    char product[128];
    char bus_id[16]; // "0000:01:00.0"
    char driver[96];
    tn_cuda_traits traits;
    uint32_t capability; // its own, whatever a test takes it for
    uint64_t memory_bytes, memory_free_bytes;
    bool is_stand_in;
    char unusable[256]; // why the device cannot be opened; "" where it can
} tn_cuda_facts;

// `asks_memory`: how much is free is asked too, for which a context is made. Errors: UNAVAILABLE (no driver), INVALID_ARGUMENT (no such
// device), and what asking the driver ends with.
tn_status tn_cuda_facts_read(const tn_cuda_driver *driver, uint32_t index, bool asks_memory, tn_cuda_facts *out_facts);
void tn_cuda_facts_describe(const tn_cuda_facts *facts, tn_device_desc *out_desc);

#endif
