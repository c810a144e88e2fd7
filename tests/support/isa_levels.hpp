// Names of the CPU levels that this machine can run, slowest first, for tests that go through all of them.
#ifndef TN_TESTS_ISA_LEVELS_HPP
#define TN_TESTS_ISA_LEVELS_HPP

#include <string>
#include <vector>

extern "C" {
#include "cpu/isa.h"
}

namespace tn_test
{

inline std::vector<std::string> isa_levels()
{
    std::vector<std::string> names;
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        if (tn_isa_set_has(tn_isa_available(), static_cast<tn_isa>(isa))) names.push_back(tn_isa_name(static_cast<tn_isa>(isa)));
    }
    return names;
}

} // namespace tn_test

#endif
