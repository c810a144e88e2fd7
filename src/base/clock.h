// Time for measurements.
#ifndef TN_BASE_CLOCK_H
#define TN_BASE_CLOCK_H

#include <stdint.h>

uint64_t tn_clock_ns(void); // monotonic

#endif
