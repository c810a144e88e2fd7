// Ternary matrices for tests of the shaders that multiply by them.
#ifndef TN_TESTS_VULKAN_TERNARY_MATRIX_HPP
#define TN_TESTS_VULKAN_TERNARY_MATRIX_HPP

#include "vulkan/shader_rig.hpp"

#include <random>

namespace vulkan_test
{

// A matrix in canonical form.
struct Matrix {
    uint32_t n_rows, n_cols;
    bool per_row;
    std::vector<int8_t> values;
    std::vector<float> scales;
};

inline Matrix random_matrix(uint32_t n_rows, uint32_t n_cols, bool per_row, bool is_extreme, std::mt19937 *random)
{
    Matrix m = {n_rows, n_cols, per_row, {}, {}};
    for (uint32_t i = 0; i < n_rows * n_cols; i++) m.values.push_back(is_extreme ? 1 : int8_t(int((*random)() % 3) - 1));
    for (uint32_t i = 0; i < (per_row ? n_rows : 1); i++) m.scales.push_back(0.5f + float((*random)() % 1000) / 999.0f);
    return m;
}

// As vk_pack.h describes it, written down a second time.
inline uint32_t append_packed(const Matrix &m, std::vector<uint32_t> *weights, uint32_t *out_scales)
{
    const uint32_t n_chunks = (m.n_cols + 63) / 64, n_groups = (m.n_rows + 15) / 16;
    weights->resize((weights->size() + 63) / 64 * 64, 0xffffffff);
    const uint32_t at = uint32_t(weights->size());
    weights->resize(at + n_groups * n_chunks * 64, 0);
    for (uint32_t r = 0; r < n_groups * 16; r++) {
        for (uint32_t c = 0; c < n_chunks * 64; c++) {
            const uint32_t code = r < m.n_rows && c < m.n_cols ? uint32_t(m.values[r * m.n_cols + c] + 1) : 1;
            const uint32_t word = ((r / 16 * n_chunks + c / 64) * 16 + r % 16) * 4 + c % 64 / 16;
            (*weights)[at + word] |= code << (8 * (c % 4) + 2 * (c % 16 / 4));
        }
    }
    *out_scales = uint32_t(weights->size());
    for (float s : m.scales) weights->push_back(bits_of(s));
    return at;
}

inline uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

} // namespace vulkan_test

#endif
