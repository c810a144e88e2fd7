// Steps for programs under test, made of vectors.
#ifndef TN_TESTS_SUPPORT_STEP_BLOCK_HPP
#define TN_TESTS_SUPPORT_STEP_BLOCK_HPP

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
#include "backend/step.h"
}

namespace tn_test
{

// What a step says. Arrays may be longer or shorter than their counts in the block: a program must refuse what it cannot read.
struct StepArrays {
    std::vector<int32_t> tokens;
    std::vector<uint32_t> positions, seqs, page_table, logit_rows;
    std::vector<uint32_t> n_top;  // empty: whole rows
    std::vector<uint32_t> copies; // (from, to), one after the other
    uint32_t n_seqs = 1, n_top_ids = 0;
};

class StepBlock
{
  public:
    // Arrays that are longer than the limits allow are cut, but counts are not.
    StepBlock(const StepArrays &arrays, const tn_step_limits &limits)
    {
        if (tn_step_layout_of(&limits, &layout_) != TN_OK) throw std::runtime_error(tn_error_last()->message);
        words_.resize(layout_.n_words, 0xdddddddd); // what no array says must not matter
        tn_step *s = get();
        *s = {};
        s->n_tokens = static_cast<uint32_t>(arrays.tokens.size());
        s->n_logits = static_cast<uint32_t>(arrays.logit_rows.size());
        s->n_seqs = arrays.n_seqs;
        s->n_copies = static_cast<uint32_t>(arrays.copies.size() / 2);
        s->has_top = !arrays.n_top.empty();
        s->n_top_ids = arrays.n_top_ids;
        fill(tn_step_tokens(s, &layout_), arrays.tokens, limits.n_tokens);
        fill(tn_step_positions(s, &layout_), arrays.positions, limits.n_tokens);
        fill(tn_step_seqs(s, &layout_), arrays.seqs, limits.n_tokens);
        fill(tn_step_logit_rows(s, &layout_), arrays.logit_rows, limits.n_logits);
        fill(tn_step_n_top(s, &layout_), arrays.n_top, limits.n_logits);
        fill(tn_step_copies(s, &layout_), arrays.copies, 2 * size_t(limits.n_seqs));
        fill(tn_step_pages(s, &layout_, 0), arrays.page_table, size_t(limits.n_seqs) * limits.n_seq_pages);
    }
    tn_step *get() { return reinterpret_cast<tn_step *>(words_.data()); }

  private:
    template <typename T> static void fill(T *array, const std::vector<T> &values, size_t room)
    {
        std::copy_n(values.begin(), std::min(values.size(), room), array);
    }
    tn_step_layout layout_ = {};
    std::vector<uint32_t> words_;
};

} // namespace tn_test

#endif
