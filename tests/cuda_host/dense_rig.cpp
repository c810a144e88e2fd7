#include "cuda_host/dense_rig.hpp"

namespace cuda_host
{

namespace
{

uint32_t element_bytes(tn_dtype type) { return type == TN_DTYPE_F32 ? 4 : 2; }
uint32_t unit_elements(tn_dtype type) { return 16 / element_bytes(type); }

uint32_t units_of_row(tn_dtype type, uint32_t n_cols)
{
    const uint32_t n_blocks = (n_cols + 255) / 256;
    switch (type) {
    case TN_DTYPE_Q8_0: return 17 * n_blocks;
    case TN_DTYPE_Q4_0: return 9 * n_blocks;
    case TN_DTYPE_Q6_K: return 13 * n_blocks;
    default: return (n_cols + 32 * unit_elements(type) - 1) / (32 * unit_elements(type)) * 32;
    }
}

} // namespace

Dense::Dense(tn_dtype type, uint32_t n_rows, uint32_t n_cols, uint32_t seed)
    : type_(type), n_rows_(n_rows), n_cols_(n_cols), n_units_(units_of_row(type, n_cols)),
      file_((size_t)n_rows * tn_dtype_row_bytes(type, n_cols)), packed_((size_t)(n_rows + 31) / 32 * 32 * n_units_ * 16, 0),
      scales_((size_t)(n_rows + 31) / 32 * 32 * n_blocks(), 0)
{
    std::mt19937 random(seed);
    fill(random);
}

void Dense::fill(std::mt19937 &random)
{
    std::normal_distribution<float> normal(0.0f, 0.1f);
    for (uint32_t r = 0; r < n_rows_; r++) {
        for (uint32_t c = 0; c < n_cols_; c++) {
            if (!is_quantised()) {
                put_float(r, c, random() % 64 == 0 ? 0x1p-60f : normal(random));
                continue;
            }
            if (c % tn_dtype_get(type_)->block_elements == 0) {
                // From the largest scales of use down to f16's subnormals, both signs.
                static const uint16_t halves[] = {0x2c00, 0x9c00, 0x0001, 0x0000, 0x1234, 0x3c00, 0x83ff};
                put_scale(r, c, halves[random() % 7]);
            }
            if (type_ == TN_DTYPE_Q6_K && c % 16 == 0) put_factor(r, c, (int8_t)random());
            // The first rows have the largest codes alone.
            const bool is_extreme = r < 2;
            if (type_ == TN_DTYPE_Q8_0) put_code(r, c, is_extreme ? (r ? -128 : 127) : (int8_t)random());
            if (type_ == TN_DTYPE_Q4_0) put_code(r, c, is_extreme ? (r ? -8 : 7) : (int32_t)(random() % 16) - 8);
            if (type_ == TN_DTYPE_Q6_K) put_code(r, c, is_extreme ? (r ? -32 : 31) : (int32_t)(random() % 64) - 32);
        }
    }
}

void Dense::put_float(uint32_t row, uint32_t col, float value)
{
    const uint32_t bytes = element_bytes(type_), E = unit_elements(type_);
    uint32_t bits = tn_bits(value);
    if (type_ == TN_DTYPE_BF16) bits >>= 16;
    if (type_ == TN_DTYPE_F16) bits = (bits >> 16 & 0x8000u) | (bits >> 11 & 0x3fffu); // some half of the same sign
    std::memcpy(&file_[((size_t)row * n_cols_ + col) * bytes], &bits, bytes);
    if (type_ == TN_DTYPE_BF16) bits = tn_bits(tn_fl(tn_float(bits << 16))) >> 16;
    if (type_ == TN_DTYPE_F32) bits = tn_bits(tn_fl(tn_float(bits)));
    const size_t u = (size_t)col / (32 * E) * 32 + col % 32;
    std::memcpy(&packed_[((size_t)row * n_units_ + u) * 16 + (size_t)(col / 32 % E) * bytes], &bits, bytes);
}

void Dense::put_code(uint32_t row, uint32_t col, int32_t code)
{
    uint8_t *block = file_block(row, col);
    const uint32_t c = col % 256, first = col / 256 * units_of_block();
    if (type_ == TN_DTYPE_Q8_0) {
        block[2 + col % 32] = (uint8_t)code;
        unit(row, first + c / 16)[c % 16] = (uint8_t)code;
        return;
    }
    const uint32_t value = (uint32_t)(code + (type_ == TN_DTYPE_Q4_0 ? 8 : 32));
    const uint32_t low_shift = 4 * (c % 8 / 4);
    uint8_t &low = unit(row, first + c / 32)[4 * (c % 32 / 8) + c % 4];
    low = (uint8_t)(low | (value & 15u) << low_shift);
    if (type_ == TN_DTYPE_Q4_0) {
        uint8_t &byte = block[2 + col % 16];
        byte = (uint8_t)(byte | value << (col % 32 / 16 * 4));
        return;
    }
    uint8_t &high = unit(row, first + 8 + c / 64)[4 * (c % 64 / 16) + c % 4];
    high = (uint8_t)(high | (value >> 4) << (2 * (c % 16 / 4)));
    // A file has two halves of 128 codes; of each, byte l of the low bits' 64 holds codes l and l + 64, byte l of the high bits' 32 codes
    // l, l + 32, l + 64, l + 96.
    const uint32_t half = c / 128, l = c % 128;
    uint8_t &file_low = block[64 * half + l % 64], &file_high = block[128 + 32 * half + l % 32];
    file_low = (uint8_t)(file_low | (value & 15u) << (l / 64 * 4));
    file_high = (uint8_t)(file_high | (value >> 4) << (l / 32 * 2));
}

void Dense::put_scale(uint32_t row, uint32_t col, uint16_t half)
{
    const uint32_t b = col / 256;
    if (type_ == TN_DTYPE_Q6_K) {
        std::memcpy(file_block(row, col) + 208, &half, 2);
        scales_[((size_t)(row / 32) * n_blocks() + b) * 32 + row % 32] = tn_fl(tn_f16_to_f32(half));
        return;
    }
    std::memcpy(file_block(row, col), &half, 2);
    std::memcpy(unit(row, b * units_of_block() + units_of_block() - 1) + 2 * (col % 256 / 32), &half, 2);
}

void Dense::put_factor(uint32_t row, uint32_t col, int8_t factor)
{
    file_block(row, col)[192 + col % 256 / 16] = (uint8_t)factor;
    unit(row, col / 256 * 13 + 12)[col % 256 / 16] = (uint8_t)factor;
}

} // namespace cuda_host
