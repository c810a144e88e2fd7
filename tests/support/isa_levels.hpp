// Names of the CPU levels that this machine can run, slowest first, for tests that go through all of them.
#ifndef TN_TESTS_ISA_LEVELS_HPP
#define TN_TESTS_ISA_LEVELS_HPP

#include "support/quick.hpp"

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

// The first and the last of them in a quick run: for suites that run all levels once more, whose kernels have tests of their own.
inline std::vector<std::string> sampled_isa_levels()
{
    const std::vector<std::string> all = isa_levels();
    if (!is_quick() || all.size() < 3) return all;
    return {all.front(), all.back()};
}

} // namespace tn_test

#endif
