// What tests of ternion compare share: a text, flags that take little time, rows of the object.
#pragma once

#include "program.hpp"

namespace compare_runs
{

inline const char *const kText =
    "Once upon a time there was a little dog. He had a red ball and a big bone. One day he went to the park with his "
    "friend and they saw a cat on a tree. The cat was sad and could not come down.";

// What takes little time: no limits, one short test.
inline std::vector<std::string> quick(std::vector<std::string> more)
{
    std::vector<std::string> all = {"compare", "-q", "--no-limits", "-p", "8", "-n", "0", "--batch-sizes", "0", "-r", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

inline const json_t *subject_of(const cli::Json &json, size_t i) { return json_array_get(json_object_get(json.get(), "subjects"), i); }

} // namespace compare_runs
