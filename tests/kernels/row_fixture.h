// What kernel tests of rows share: guarded buffers and rows of every kind that the exact mode allows.
#ifndef TN_TESTS_KERNELS_ROW_FIXTURE_H
#define TN_TESTS_KERNELS_ROW_FIXTURE_H

#include "matmul_fixture.h"

#include <cmath>
#include <limits>

namespace tn_test
{

// n elements at an odd offset of their alignment, with marked bytes on both sides.
template <typename T> class Guarded
{
  public:
    explicit Guarded(size_t n) : n_(n), bytes_(2 * guard + n * sizeof(T), mark) {}
    T *data() { return reinterpret_cast<T *>(bytes_.data() + guard); }
    bool intact() const
    {
        for (size_t i = 0; i < guard; i++) {
            if (bytes_[i] != mark || bytes_[bytes_.size() - 1 - i] != mark) return false;
        }
        return true;
    }
    bool operator==(const Guarded &other) const { return bytes_ == other.bytes_; }
    size_t first_difference(const Guarded &other) const
    {
        for (size_t i = 0; i < n_; i++) {
            if (std::memcmp(bytes_.data() + guard + i * sizeof(T), other.bytes_.data() + guard + i * sizeof(T), sizeof(T)) != 0) return i;
        }
        return n_;
    }

  private:
    static constexpr size_t guard = 132; // a multiple of 4, not of 8
    static constexpr uint8_t mark = 0xb5;
    size_t n_;
    std::vector<uint8_t> bytes_;
};

// Kinds of rows. All satisfy FL: no value but 0 is below 2^-50.
enum class RowKind { uniform, wide, huge, zeros, least, tiny, small, ties, canary, constant, kinds_ };

inline float row_element(Random &random, RowKind kind, size_t i)
{
    const float sign = random.bits() & 1 ? 1.0f : -1.0f;
    switch (kind) {
    case RowKind::uniform: return static_cast<float>(random.range(-(1 << 23), 1 << 23)) * 0x1p-21f;
    case RowKind::wide: return random.range(0, 9) == 0 ? 0.0f : random.value(-50, 30);
    case RowKind::huge: return random.value(40, 54);
    case RowKind::zeros: return sign * 0.0f;
    case RowKind::least: return sign * (random.bits() & 1 ? 0x1p-50f : std::nextafterf(0x1p-50f, 1.0f));
    case RowKind::tiny: return random.value(-50, -31);
    case RowKind::small: return random.value(-22, -17); // on both sides of 1e-5
    case RowKind::ties: return i == 0 ? 1.0f : sign * static_cast<float>((static_cast<double>(random.range(0, 126)) + 0.5) / 127.0);
    case RowKind::canary: {
        const float cells[4] = {1.0f + 0x1p-12f, -(1.0f + 0x1p-11f), 1.0f, 0x1p-12f};
        return cells[random.bits() % 4] * sign;
    }
    case RowKind::constant: return sign * 3.7f;
    case RowKind::kinds_: break;
    }
    return 0.0f;
}

inline std::vector<float> make_row(Random &random, RowKind kind, size_t n)
{
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++) x[i] = row_element(random, kind, i);
    return x;
}
inline RowKind random_kind(Random &random) { return static_cast<RowKind>(random.range(0, static_cast<int64_t>(RowKind::kinds_) - 1)); }

// Lengths of rows: all small ones, primes, and those of models.
inline std::vector<uint32_t> row_lengths()
{
    std::vector<uint32_t> lengths;
    for (uint32_t n = 1; n <= 300; n++) lengths.push_back(n);
    for (uint32_t n : {509u, 512u, 521u, 769u, 1021u, 1536u, 2053u, 2560u, 4099u, 6912u}) lengths.push_back(n);
    return lengths;
}

} // namespace tn_test

#endif
