// Devices of one kind, which never measure alike to the last bit.
#ifndef TN_RUNTIME_PLACEMENT_ALIKE_H
#define TN_RUNTIME_PLACEMENT_ALIKE_H

#include "backend/backend.h"
#include "runtime/placement_choice.h"

// Gives candidates of one kind, whose predictions for the choice's model differ by less than these vary, the times of the first of them;
// and the memory of the one with the least, where theirs differ as little and nobody set it (`is_set`, [n_devices]). CPU devices keep their
// own. `descs`: of the host's devices.
void tn_placement_unify(const tn_device_desc *descs, const bool *is_set, tn_placement_choice *choice);

#endif
