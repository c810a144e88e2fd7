// Dense weights of every type that has kernels: made of codes and scales, then written as a file has them and, from the text of
// cuda_pack.h, as a device has them: element by element, with nothing in common between the two.
#ifndef TN_TESTS_CUDA_HOST_DENSE_RIG_HPP
#define TN_TESTS_CUDA_HOST_DENSE_RIG_HPP

#include "cuda_host/rows_rig.hpp"

extern "C" {
#include "format/dense.h"
}

namespace cuda_host
{

class Dense
{
  public:
    Dense(tn_dtype type, uint32_t n_rows, uint32_t n_cols, uint32_t seed);
    tn_cuda_dense params() { return {packed_.data(), n_rows_, n_cols_, n_units_, scales_.data(), n_blocks()}; }
    const uint8_t *file_row(uint32_t row) const { return file_.data() + (size_t)row * tn_dtype_row_bytes(type_, n_cols_); }
    tn_dtype type() const { return type_; }
    bool is_quantised() const { return type_ == TN_DTYPE_Q8_0 || type_ == TN_DTYPE_Q4_0 || type_ == TN_DTYPE_Q6_K; }
    uint32_t n_rows() const { return n_rows_; }
    uint32_t n_cols() const { return n_cols_; }

  private:
    uint32_t n_blocks() const { return (n_cols_ + 255) / 256; }
    uint32_t units_of_block() const { return type_ == TN_DTYPE_Q8_0 ? 17 : type_ == TN_DTYPE_Q4_0 ? 9 : 13; }
    uint8_t *unit(uint32_t row, uint32_t u) { return &packed_[(((size_t)(row / 32) * n_units_ + u) * 32 + row % 32) * 16]; }
    uint8_t *file_block(uint32_t row, uint32_t col)
    {
        const tn_dtype_info *info = tn_dtype_get(type_);
        return file_.data() + ((size_t)row * (n_cols_ / info->block_elements) + col / info->block_elements) * info->block_bytes;
    }
    void put_float(uint32_t row, uint32_t col, float value);
    void put_code(uint32_t row, uint32_t col, int32_t code);
    void put_scale(uint32_t row, uint32_t col, uint16_t half);
    void put_factor(uint32_t row, uint32_t col, int8_t factor);
    void fill(std::mt19937 &random);

    tn_dtype type_;
    uint32_t n_rows_, n_cols_, n_units_;
    std::vector<uint8_t> file_;
    Memory<uint8_t> packed_;
    Memory<float> scales_;
};

// Every type with kernels, and what its kernels' names end in.
struct DenseType {
    tn_dtype type;
    const char *name;
    uint32_t block; // columns that a row is a multiple of
};
inline const DenseType kDenseTypes[] = {{TN_DTYPE_F32, "f32", 1},    {TN_DTYPE_F16, "f16", 1},    {TN_DTYPE_BF16, "bf16", 1},
                                        {TN_DTYPE_Q8_0, "q8_0", 32}, {TN_DTYPE_Q4_0, "q4_0", 32}, {TN_DTYPE_Q6_K, "q6_k", 256}};
inline void PrintTo(const DenseType &type, std::ostream *out) { *out << type.name; }
inline std::string dense_type_name(const testing::TestParamInfo<DenseType> &info) { return info.param.name; }

} // namespace cuda_host

#endif
