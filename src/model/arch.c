// The architectures that this version builds.
#include "model/loader.h"

static const tn_arch archs[] = {
    {"bitnet-b1.58", TN_GLU_RELU2, tn_arch_bitnet_build},
    {"bitnet-25", TN_GLU_RELU2, tn_arch_bitnet_build}, // the first published file of the same model
    {"bitnet", TN_GLU_SILU, tn_arch_bitnet_build},
    {"llama", TN_GLU_SILU, tn_arch_llama_build},
};

const tn_arch *tn_arch_list(size_t *out_count)
{
    *out_count = sizeof archs / sizeof archs[0];
    return archs;
}

const tn_arch *tn_arch_find(const char *name)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (strcmp(archs[i].name, name) == 0) return &archs[i];
    }
    return NULL;
}
