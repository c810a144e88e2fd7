// The list of kernels as data, and the choice of one kernel for every slot.
#include "cpu/kernel.h"

#include <string.h>

static const tn_kernel_row rows[] = {
#define TN_KERNEL(slot, weights, acts, isa, MR, NR, K_BLOCK, function)                                                                     \
    {TN_SLOT_##slot, #slot, #weights, #acts, #function, TN_ISA_##isa, MR, NR, K_BLOCK, (void (*)(void))function},
#include "cpu/kernels.inc"
#undef TN_KERNEL
};

const tn_kernel_row *tn_cpu_kernel_rows(uint32_t *out_count)
{
    *out_count = (uint32_t)(sizeof rows / sizeof rows[0]);
    return rows;
}

static void set_slot(tn_cpu_kernels *kernels, const tn_kernel_row *row)
{
    switch (row->slot) {
#define TN_SLOT_SET(slot, type)                                                                                                            \
    case TN_SLOT_##slot: kernels->slot = (type *)row->function; break;
        TN_KERNEL_SLOTS(TN_SLOT_SET)
#undef TN_SLOT_SET
    case TN_SLOT_COUNT_: break;
    }
}

// Level by level, so that a slot keeps the best kernel of these levels; of two rows of one level the later wins.
void tn_cpu_dispatch(tn_isa_set levels, tn_cpu_kernels *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned isa = TN_ISA_SCALAR; isa < TN_ISA_COUNT_; isa++) {
        if (!tn_isa_set_has(levels, (tn_isa)isa)) continue;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            if ((unsigned)rows[i].isa == isa) set_slot(out, &rows[i]);
        }
    }
}
