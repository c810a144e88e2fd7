// Which barriers launches met, and which one they leave out, asked for by a test or from outside.
#include "cuda_host/machine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace cuda_host
{

namespace
{

// "<kernel> <file>:<line>"; a barrier of no line where it is something else.
Barrier barrier_of(const std::string &text)
{
    const size_t space = text.find(' '), colon = text.rfind(':');
    if (space == std::string::npos || colon == std::string::npos || colon < space) return {"", "", "", 0};
    return {text.substr(0, space), "", text.substr(space + 1, colon - space - 1), std::atoi(text.c_str() + colon + 1)};
}

} // namespace

Machine::Machine() : shared(static_cast<uint8_t *>(std::calloc(kSharedBytes, 1)), std::free), shadow(kSharedBytes)
{
    const char *asked = std::getenv("TN_CUDA_HOST_LEAVE_OUT");
    if (asked) left_out = barrier_of(asked);
}

Machine::~Machine()
{
    const char *path = std::getenv("TN_CUDA_HOST_BARRIERS");
    std::FILE *file = path ? std::fopen(path, "a") : nullptr;
    if (!file) return;
    for (const Met &barrier : barriers)
        std::fprintf(file, "met %s %s %s %s\n", barrier.kernel->name, barrier.what, text_of(barrier.place).c_str(), barrier.test.c_str());
    for (const Kernel &known : all_kernels()) std::fprintf(file, "kernel %s\n", known.name);
    for (const Kernel *was : launched) std::fprintf(file, "launched %s\n", was->name);
    std::fclose(file);
}

bool Machine::is_left_out_here(const Place &place) const
{
    return left_out.kernel == kernel->name && left_out.file == short_name(place.file);
}

void Machine::met(const char *what, const Place &place)
{
    const auto is_it = [&](const Met &barrier) { return barrier.kernel == kernel && is_same(barrier.place, place); };
    if (!barriers.empty() && is_it(barriers.back())) return;
    if (std::none_of(barriers.begin(), barriers.end(), is_it)) barriers.push_back({kernel, what, place, test});
}

std::vector<Barrier> barriers_met()
{
    std::vector<Barrier> met;
    for (const Machine::Met &barrier : machine().barriers)
        met.push_back({barrier.kernel->name, barrier.what, short_name(barrier.place.file), barrier.place.line});
    return met;
}
void begin_test(const std::string &name) { machine().test = name; }
void leave_out(const Barrier &barrier) { machine().left_out = barrier; }
void leave_out_nothing() { machine().left_out = {"", "", "", 0}; }

} // namespace cuda_host
