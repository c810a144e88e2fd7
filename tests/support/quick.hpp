// TN_TESTS=quick, which the test presets of every change set: of repetitions a sample. Without it, as in make check, all of them.
#ifndef TN_TESTS_QUICK_HPP
#define TN_TESTS_QUICK_HPP

#include <cstdlib>
#include <string>

namespace tn_test
{

inline bool is_quick()
{
    const char *wanted = std::getenv("TN_TESTS");
    return wanted && std::string(wanted) == "quick";
}

} // namespace tn_test

#endif
