// Words that mean devices.
#ifndef TN_SCHEDULER_PLACE_INTERNAL_H
#define TN_SCHEDULER_PLACE_INTERNAL_H

#include "backend/backend.h"
#include "base/str.h"

tn_str tn_place_trimmed(tn_str text);
// Whether an earlier device that can be used is the same card, by another driver.
bool tn_place_is_again(const tn_device_desc *descs, uint32_t index);
// NOT_FOUND, with the names of the devices that there are.
tn_status tn_place_not_found(const char *what, tn_str name, const tn_device_desc *descs, uint32_t n_descs);
// The one device that a word means; the first rule that fits any decides.  Errors: NOT_FOUND, INVALID_ARGUMENT (it means several).
tn_status tn_place_find(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device);
// The same, of devices that can be used.  Errors: also UNAVAILABLE.
tn_status tn_place_find_usable(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device);

#endif
