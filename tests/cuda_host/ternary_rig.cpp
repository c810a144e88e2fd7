#include "cuda_host/ternary_rig.hpp"

namespace cuda_host
{

ProductRig::ProductRig(const Product &of)
    : product(of), poison(kTokens, 0xff), want_poison(kTokens, UINT32_MAX), stride_bytes_((of.n_cols + 127) / 128 * 128),
      row_stride_bytes_((of.n_rows[0] + 127) / 128 * 128), code_rows_((size_t)of.n_input * stride_bytes_), scales_(of.n_input),
      sums_(of.n_input), row_codes_((size_t)of.n_input * row_stride_bytes_), row_scales_(of.n_input), row_sums_(of.n_input),
      counters_(of.grid_x * of.grid_y, 0), partials_(is_joined() ? (size_t)of.n_input * of.grid_z * tn_cuda_ternary_part_words(of.n_rows[0])
                                                     : of.grid_z > 1 ? tn_cuda_ternary_many_partials(of.grid_x, of.grid_y)
                                                                     : 0,
                                                     0)
{
    std::mt19937 random(of.seed);
    const uint32_t n_matrices = is_glu() ? 2 : (uint32_t)of.n_rows.size();
    for (uint32_t i = 0; i < n_matrices; i++) {
        const uint32_t n_rows = of.n_rows[is_glu() ? 0 : i];
        matrices.push_back(std::make_unique<Ternary>(n_rows, of.n_cols, of.per_row, (uint32_t)random()));
        y.push_back(std::make_unique<Memory<float>>((size_t)of.n_input * stride(i)));
    }
    for (uint32_t r = 0; r < of.n_input; r++) x.push_back(random_floats(random, of.n_cols, r % 3 == 2 ? 30.0f : 1.0f));
    gains_ = random_floats(random, of.n_cols, 1.0f);
    row_gains_ = random_floats(random, of.n_rows[0], 1.0f);
    packed_gains_ = pack_gains(gains_);
    packed_row_gains_ = pack_gains(row_gains_);
    const size_t n_add = (size_t)of.n_input * stride(0);
    add_ = std::make_unique<Memory<float>>(n_add);
    const std::vector<float> add = random_floats(random, n_add, 10.0f);
    std::copy(add.begin(), add.end(), add_->data());
}

// The kernel gets codes, or with `before` x to make them from. All rows of codes whose values are large enough have a code of 127 in size.
void ProductRig::store_input()
{
    const uint32_t n = product.n_cols, x_stride = (n + 3) / 4 * 4,
                   op = product.before == TN_CUDA_ROW_NONE ? (uint32_t)TN_CUDA_ROW_QUANT : product.before;
    x_ = std::make_unique<Memory<float>>((size_t)product.n_input * x_stride);
    for (uint32_t r = 0; r < product.n_input; r++) {
        codes_.push_back(quantised(op, x[r].data(), gains_, n, kEps));
        std::copy(x[r].begin(), x[r].end(), &(*x_)[(size_t)r * x_stride]);
        if (product.before != TN_CUDA_ROW_NONE) continue;
        int8_t *to = &code_rows_[(size_t)r * stride_bytes_];
        std::fill_n(to, stride_bytes_, (int8_t)0);
        for (uint32_t i = 0; i < n; i++) to[product.is_permuted ? permuted(i) : i] = codes_[r].codes[i];
        scales_[r] = codes_[r].scale;
        sums_[r] = codes_[r].sum;
    }
}

void ProductRig::fill(tn_cuda_ternary_params &p)
{
    p.n_cols = product.n_cols;
    p.n_blocks = matrices[0]->n_col_blocks();
    p.codes = {code_rows_.data(), stride_bytes_, scales_.data(), sums_.data(), product.is_permuted};
    if (product.before != TN_CUDA_ROW_NONE) {
        p.codes = {nullptr, 0, nullptr, nullptr, 0};
        p.before = row_op(product.before, product.n_cols, packed_gains_->data(), kEps);
        p.x = {x_->data(), (product.n_cols + 3) / 4 * 4};
    }
    if (product.takes_largest) {
        // In parts, in no order: a word has the largest of all.
        const bool has_gains = product.before == TN_CUDA_ROW_NORM_QUANT;
        for (uint32_t i = 0; i < product.n_cols; i++) {
            uint32_t &word = x_largest_[(i * 7 + product.seed) % TN_CUDA_LARGEST_WORDS];
            word = std::max(word, tn_abs_bits(has_gains ? tn_fl(x[0][i] * gains_[i]) : x[0][i]));
        }
        p.x_largest = x_largest_.data();
    }
    if (product.leaves_largest) p.next = {next_largest_.data(), packed_row_gains_->data()};
    for (uint32_t i = 0; i < matrices.size(); i++) {
        float *to = product.to_output && i == 0 ? nullptr : y[i]->data();
        p.matrices[i] = matrices[i]->params(to, stride(i), 4 + i);
    }
    p.n_matrices = (uint32_t)matrices.size();
    p.behind = product.behind;
    p.behind_node = kBehindNode;
    if (product.behind == TN_CUDA_BEHIND_ADD) p.add = {add_->data(), stride(0)};
    p.poison = {poison.data(), product.is_logits};
    if (product.row != TN_CUDA_ROW_NONE) {
        p.row = row_op(product.row, product.n_rows[0], packed_row_gains_->data(), kEps);
        p.row_codes = {row_codes_.data(), row_stride_bytes_, row_scales_.data(), row_sums_.data(), 0};
    }
    p.counter = counters_.data();
    p.partials = is_few_mma() && !is_joined() ? nullptr : partials_.data();
    p.log2_split = product.log2_split;
    uint32_t n_tiles = 0;
    for (uint32_t i = 0; i < (is_glu() ? 1 : matrices.size()); i++) n_tiles += matrices[i]->n_tiles_rows();
    p.n_each = n_tiles / product.grid_x;
    p.n_rest = n_tiles % product.grid_x;
    p.round_blocks = std::min(product.round_blocks, p.n_blocks);
    p.n_rounds = (p.n_blocks + p.round_blocks - 1) / p.round_blocks;
    p.by_blocks = tn_cuda_ternary_one_by_blocks(p.round_blocks);
    p.piece_blocks = product.piece_blocks > 0 ? product.piece_blocks : tn_cuda_ternary_one_piece(p.n_blocks);
    p.n_pieces = (p.n_blocks + p.piece_blocks - 1) / p.piece_blocks;
    p.n_ahead = product.n_ahead;
    p.n_parts = product.grid_z;
    p.part_blocks = (p.n_blocks + p.n_parts - 1) / p.n_parts;
}

// The few kernels' names have the rows of codes that they have room for.
uint32_t ProductRig::shared_bytes(uint32_t n_blocks) const
{
    const std::string kernel = product.kernel;
    if (kernel.rfind("ternary_one", 0) == 0) {
        uint32_t n_tiles = 0;
        for (uint32_t i = 0; i < (is_glu() ? 1 : matrices.size()); i++) n_tiles += matrices[i]->n_tiles_rows();
        const uint32_t n_parts = (n_tiles + product.grid_x - 1) / product.grid_x * (is_glu() ? 2 : 1);
        const uint32_t round = std::min(product.round_blocks, n_blocks);
        return (uint32_t)tn_cuda_ternary_one_shared_bytes(n_blocks, round < n_blocks ? 2 : 1, n_parts, round);
    }
    return is_few_mma() ? tn_cuda_ternary_few_shared_bytes((uint32_t)std::stoul(kernel.substr(11)), product.log2_split, product.n_ahead)
                        : product.shared_bytes;
}

void ProductRig::note(uint32_t row, uint32_t node, const std::vector<float> &stored)
{
    if (tn_ref_absmax_bits(stored.data(), (uint32_t)stored.size()) < TN_ABS_BITS_2P56) return;
    uint32_t &at = want_poison[token(row)];
    at = std::min(at, node);
}

std::vector<float> ProductRig::wanted(uint32_t row, uint32_t i)
{
    const std::vector<float> first = matrices[i]->times(codes_[row]);
    note(row, 4 + i, first);
    std::vector<float> result(first.size());
    const uint32_t n = (uint32_t)first.size();
    if (product.behind == TN_CUDA_BEHIND_NOTHING) return first;
    if (product.behind == TN_CUDA_BEHIND_ADD) {
        tn_ref_add(&(*add_)[(size_t)row * stride(0)], first.data(), n, result.data());
    } else {
        const std::vector<float> up = matrices[1]->times(codes_[row]);
        note(row, 5, up);
        tn_ref_glu(product.behind == TN_CUDA_BEHIND_RELU2 ? TN_GLU_RELU2 : TN_GLU_SILU, first.data(), up.data(), n, result.data());
    }
    note(row, kBehindNode, result);
    return result;
}

void ProductRig::compare_rows(const std::vector<std::vector<float>> &first)
{
    for (uint32_t r = 0; r < product.n_input; r++) {
        const int8_t *got = &row_codes_[(size_t)r * row_stride_bytes_];
        if (product.row == TN_CUDA_ROW_NONE || r >= first.size()) {
            EXPECT_TRUE(std::all_of(got, got + row_stride_bytes_, [](int8_t c) { return c == (int8_t)0xcd; })) << "codes of row " << r;
            continue;
        }
        const uint32_t n = product.n_rows[0];
        const Codes want = quantised(product.row, first[r].data(), row_gains_, n, kEps);
        EXPECT_EQ(std::memcmp(want.codes.data(), got, n), 0) << "codes of row " << r;
        EXPECT_TRUE(std::all_of(got + n, got + row_stride_bytes_, [](int8_t c) { return c == 0; })) << "codes of row " << r;
        EXPECT_PRED2(same_bits, want.scale, row_scales_[r]);
        EXPECT_EQ(want.sum, row_sums_[r]);
    }
}

void ProductRig::compare_largest(const std::vector<std::vector<float>> &first)
{
    uint32_t want = 0, got = 0;
    if (product.leaves_largest && !first.empty()) {
        for (uint32_t i = 0; i < first[0].size(); i++) want = std::max(want, tn_abs_bits(tn_fl(first[0][i] * row_gains_[i])));
    }
    for (uint32_t i = 0; i < TN_CUDA_LARGEST_WORDS; i++) got = std::max(got, next_largest_[i]);
    EXPECT_EQ(got, want);
}

void ProductRig::run()
{
    store_input();
    const uint32_t n_rows = product.n_tokens;
    std::vector<uint32_t> logit_rows;
    for (uint32_t r = 0; product.is_logits && r < n_rows; r++) logit_rows.push_back(token(r));
    const Step step(product.is_logits ? kTokens : n_rows, logit_rows, y[0]->data());
    tn_cuda_ternary_params p = {};
    p.step = step.params();
    fill(p);
    // Twice: what a launch leaves behind must not matter to the next.
    for (uint32_t i = 0; i < 2; i++) {
        launch(product.kernel, p, product.grid_x, product.grid_y, product.grid_z, shared_bytes(p.n_blocks));
        if (is_joined()) launch("ternary_join", p, product.n_input);
    }
    const auto are_zeros = [](Memory<uint32_t> &words) {
        return std::all_of(words.data(), words.data() + words.size(), [](uint32_t word) { return word == 0; });
    };
    EXPECT_TRUE(are_zeros(counters_));
    EXPECT_TRUE(is_joined() || are_zeros(partials_));

    std::vector<std::vector<float>> first;
    for (uint32_t i = 0; i < n_outputs(); i++) {
        const uint32_t n = matrices[i]->n_rows();
        for (uint32_t r = 0; r < product.n_input; r++) {
            const float *got = &(*y[i])[(size_t)r * stride(i)];
            const uint8_t *bytes = (const uint8_t *)got;
            const size_t written = r < n_rows ? n * sizeof(float) : 0, all = stride(i) * sizeof(float);
            EXPECT_TRUE(std::all_of(bytes + written, bytes + all, [](uint8_t byte) { return byte == 0xcd; })) << "row " << r;
            if (r >= n_rows) continue;
            const std::vector<float> want = wanted(r, i);
            EXPECT_EQ(std::memcmp(got, want.data(), n * sizeof(float)), 0) << "matrix " << i << ", row " << r;
            if (i == 0) first.push_back(want);
        }
    }
    compare_rows(first);
    compare_largest(first);
    for (uint32_t t = 0; t < kTokens; t++) EXPECT_EQ(poison[t], want_poison[t]) << "token " << t;
}

} // namespace cuda_host
