// A ternary product on the host: matrices packed as the text of the tile layout says, and what src/ref makes of the same numbers.
#ifndef TN_TESTS_CUDA_HOST_TERNARY_RIG_HPP
#define TN_TESTS_CUDA_HOST_TERNARY_RIG_HPP

#include "cuda_host/rows_rig.hpp"

namespace cuda_host
{

// One matrix of -1, 0, +1.
class Ternary
{
  public:
    Ternary(uint32_t n_rows, uint32_t n_cols, bool per_row, uint32_t seed)
        : n_rows_(n_rows), n_cols_(n_cols), weights_((size_t)n_rows * n_cols), packed_(n_tiles() * 512, 0),
          scales_(per_row ? n_tiles_rows() * 16 : 1, 0)
    {
        std::mt19937 random(seed);
        for (int8_t &w : weights_) w = (int8_t)((int)(random() % 3) - 1);
        // Rows of nothing but one weight have the largest sums.
        for (uint32_t r = 0; r < std::min(n_rows, 2u); r++)
            std::fill_n(weights_.begin() + (ptrdiff_t)((size_t)r * n_cols), n_cols, (int8_t)(r ? -1 : 1));
        std::uniform_real_distribution<float> scale(0.01f, 0.1f);
        for (size_t i = 0; i < (per_row ? n_rows : 1u); i++) scales_[i] = scale(random);
        per_row_ = per_row;
        pack();
    }
    uint32_t n_rows() const { return n_rows_; }
    uint32_t n_col_blocks() const { return (n_cols_ + 127) / 128; }
    uint32_t n_tiles_rows() const { return (n_rows_ + 15) / 16; }
    tn_cuda_matrix params(float *y, uint32_t stride, uint32_t node)
    {
        return {packed_.data(), scales_.data(), per_row_, n_rows_, {y, stride}, node};
    }
    Memory<float> &scales() { return scales_; }
    std::vector<float> times(const Codes &codes)
    {
        std::vector<float> y(n_rows_);
        tn_ref_matmul_ternary(codes.codes.data(), codes.scale, weights_.data(), per_row_ ? TN_SCALE_ROW : TN_SCALE_TENSOR, scales_.data(),
                              n_rows_, n_cols_, y.data());
        return y;
    }

  private:
    size_t n_tiles() const { return (size_t)n_tiles_rows() * n_col_blocks(); }
    uint32_t code(uint32_t row, uint32_t col) const
    {
        return row < n_rows_ && col < n_cols_ ? (uint32_t)(weights_[(size_t)row * n_cols_ + col] + 1) : 1;
    }
    // Bit by bit from the layout's words.
    void pack()
    {
        for (uint32_t R = 0; R < n_tiles_rows(); R++) {
            for (uint32_t b = 0; b < n_col_blocks(); b++) {
                uint8_t *tile = &packed_[((size_t)R * n_col_blocks() + b) * 512];
                for (uint32_t l = 0; l < 32; l++) {
                    const uint32_t g = l / 4, t = l % 4;
                    for (uint32_t r = 0; r < 4; r++) {
                        for (uint32_t j = 0; j < 4; j++) {
                            const uint32_t row = 16 * R + g + r % 2 * 8, col = 128 * b + 32 * t + r / 2 * 4 + j;
                            tile[16 * l + 4 * r + j] =
                                (uint8_t)(code(row, col) | code(row, col + 8) << 2 | code(row, col + 16) << 4 | code(row, col + 24) << 6);
                        }
                    }
                }
            }
        }
    }

    uint32_t n_rows_, n_cols_;
    bool per_row_ = false;
    std::vector<int8_t> weights_;
    Memory<uint8_t> packed_;
    Memory<float> scales_;
};

// What a test asks for.
struct Product {
    const char *kernel;
    uint32_t n_cols;
    std::vector<uint32_t> n_rows; // of each matrix; with GLU of gate, which is up's too
    uint32_t n_tokens = 1;        // rows of the input that the step has
    uint32_t n_input = 1;         // rows that are in memory
    uint32_t behind = TN_CUDA_BEHIND_NOTHING;
    uint32_t before = TN_CUDA_ROW_NONE;
    uint32_t row = TN_CUDA_ROW_NONE;
    bool per_row = false;
    bool is_logits = false;
    bool to_output = false;    // the first matrix's rows go to the submit's output
    bool is_permuted = false;  // the codes
    uint32_t shared_bytes = 0; // dynamic
    uint32_t grid_x = 1, grid_y = 1, grid_z = 1;
    uint32_t log2_split = 0;
    uint32_t n_ahead = 1;         // of ternary_few*_mma, which with `row` has ternary_join behind it
    uint32_t round_blocks = 1000; // of ternary_one,
    uint32_t piece_blocks = 0;    // (0: as many as there are usually)
    bool takes_largest = false;   // of which the kernel before has left the row's largest value,
    bool leaves_largest = false;  // and which leaves that of its output, by the gains of `row`
    uint32_t seed = 1;
};

// Runs it and compares everything that may have been written. The members may be changed before `run`.
class ProductRig
{
  public:
    explicit ProductRig(const Product &product);
    void run();

    Product product;
    std::vector<std::unique_ptr<Ternary>> matrices;
    std::vector<std::vector<float>> x; // rows of the input before they are quantised
    std::vector<std::unique_ptr<Memory<float>>> y;
    Memory<uint32_t> poison;
    std::vector<uint32_t> want_poison;

    static constexpr uint32_t kTokens = 200, kBehindNode = 9; // matrices are nodes 4, 5, 6
    // Token of an input row.
    uint32_t token(uint32_t row) const { return product.is_logits ? row * 2 + 1 : row; }

  private:
    static constexpr float kEps = 1e-5f;
    bool is_few_mma() const
    {
        const std::string kernel = product.kernel;
        return kernel.rfind("ternary_few", 0) == 0 && kernel.find("_mma") != std::string::npos;
    }
    bool is_joined() const { return is_few_mma() && product.row != TN_CUDA_ROW_NONE; }
    uint32_t shared_bytes(uint32_t n_blocks) const;
    bool is_glu() const { return product.behind == TN_CUDA_BEHIND_RELU2 || product.behind == TN_CUDA_BEHIND_SILU; }
    uint32_t n_outputs() const { return is_glu() ? 1 : (uint32_t)matrices.size(); }
    uint32_t stride(uint32_t i) const { return (matrices[i]->n_rows() + 3) / 4 * 4; }
    void store_input();
    void fill(tn_cuda_ternary_params &p);
    std::vector<float> wanted(uint32_t row, uint32_t i);
    void note(uint32_t row, uint32_t node, const std::vector<float> &stored);
    void compare_rows(const std::vector<std::vector<float>> &first);
    void compare_largest(const std::vector<std::vector<float>> &first);

    std::vector<Codes> codes_;
    std::vector<float> gains_, row_gains_;
    std::unique_ptr<Memory<float>> packed_gains_, packed_row_gains_, x_, add_;
    uint32_t stride_bytes_, row_stride_bytes_;
    Memory<int8_t> code_rows_;
    Memory<float> scales_;
    Memory<int32_t> sums_;
    Memory<int8_t> row_codes_;
    Memory<float> row_scales_;
    Memory<int32_t> row_sums_;
    Memory<uint32_t> counters_, partials_; // zeros before and after, but for parts that are joined
    Memory<uint32_t> x_largest_{TN_CUDA_LARGEST_WORDS, 0}, next_largest_{TN_CUDA_LARGEST_WORDS, 0};
};

} // namespace cuda_host

#endif
