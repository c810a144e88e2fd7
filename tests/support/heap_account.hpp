// Counts what the code under test holds on the heap. A test program compiles heap_account.cpp in and is linked with
// -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=posix_memalign,--wrap=free.
#ifndef TN_TESTS_HEAP_ACCOUNT_HPP
#define TN_TESTS_HEAP_ACCOUNT_HPP

#include <cstddef>

namespace tn_test
{

struct HeapUse {
    long blocks, bytes; // held now
    long peak_bytes;    // most held since heap_reset_peak
};

HeapUse heap_use();
void heap_reset_peak();

} // namespace tn_test

#endif
