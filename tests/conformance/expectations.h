// What backends need not pass, with the reason: never (unsupported) or not yet (expected failure; an unexpected pass fails the run, so
// that the list shrinks). Empty for the CPU, the backend that everything must run on.
#ifndef TN_TESTS_CONFORMANCE_EXPECTATIONS_H
#define TN_TESTS_CONFORMANCE_EXPECTATIONS_H

#include <string>
#include <vector>

namespace conformance
{

enum class Expect { kPass, kUnsupported, kFailure };

struct Expectation {
    std::string backend, test;
    Expect expect;
    std::string reason;
};

inline const std::vector<Expectation> &expectations()
{
    static const std::vector<Expectation> list = {
        // {"cuda", "AttentionOfOddGroups", Expect::kFailure, "why, and until when"},
    };
    return list;
}

inline Expectation expectation_of(const std::string &backend, const std::string &test)
{
    for (const Expectation &e : expectations()) {
        if (e.backend == backend && e.test == test) return e;
    }
    return {backend, test, Expect::kPass, ""};
}

} // namespace conformance

#endif
