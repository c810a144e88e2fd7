// Damages a model file where its structure says that it hurts: counts, lengths, offsets, types, tables, numbers.
#ifndef TN_TESTS_MUTATIONS_HPP
#define TN_TESTS_MUTATIONS_HPP

#include "support/seed_models.hpp"

namespace tn_test
{

// The same numbers everywhere for the same seed (SplitMix64).
class Rng
{
  public:
    explicit Rng(uint64_t seed) : state_(seed) {}
    uint64_t next();
    size_t below(size_t n) { return n == 0 ? 0 : static_cast<size_t>(next() % n); }
    bool one_in(size_t n) { return below(n) == 0; }
    template <typename Container> auto &of(Container &all) { return all[below(std::size(all))]; }

  private:
    uint64_t state_;
};

// Damages `file` before it is written, or `bytes` after; returns what was done, for a person.
std::string mutate_structure(ModelFile &file, Rng &rng);
std::string mutate_bytes(Bytes &bytes, const std::vector<size_t> &boundaries, Rng &rng);

} // namespace tn_test

#endif
