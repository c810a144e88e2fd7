// A step over sequences in pages, for tests of the kernels that work on the KV cache: tables, and pages by the description of their layout.
#ifndef TN_TESTS_CUDA_HOST_KV_RIG_HPP
#define TN_TESTS_CUDA_HOST_KV_RIG_HPP

#include "cuda_host/kernel_rig.hpp"

#include <cstring>
#include <random>

namespace cuda_host
{

struct Token {
    uint32_t seq, position;
};

// The words of a step, with each sequence's pages in random places among those of the others, and pages between that nobody has.
class PagedStep
{
  public:
    static constexpr uint32_t kPositions = 128, kUnusedPages = 3;

    // What the step does not have is filled with numbers that lead astray.
    explicit PagedStep(const std::vector<Token> &tokens, uint32_t seed = 1) : tokens_(tokens), random_(seed), words_(kWords)
    {
        uint32_t n_seqs = 0;
        for (const Token &t : tokens_) {
            n_seqs = std::max(n_seqs, t.seq + 1);
            n_chunks_ = std::max(n_chunks_, t.position / kPositions + 1);
        }
        step_.words = words_.data();
        step_.positions = 32;
        step_.seqs = step_.positions + (uint32_t)tokens_.size() + 8;
        step_.page_table = step_.seqs + (uint32_t)tokens_.size() + 8;
        step_.n_seq_pages = n_chunks_ + 2;
        step_.addresses = kWords - 4;
        words_[0] = (uint32_t)tokens_.size();
        for (uint32_t i = 1; i < 6; i++) words_[i] = 0;
        words_[2] = n_seqs;
        std::vector<uint32_t> pages(n_seqs * n_chunks_ + kUnusedPages);
        for (uint32_t i = 0; i < pages.size(); i++) pages[i] = i;
        std::shuffle(pages.begin(), pages.end(), random_);
        n_pages_ = (uint32_t)pages.size();
        for (uint32_t i = 0; i < tokens_.size(); i++) {
            words_[step_.positions + i] = tokens_[i].position;
            words_[step_.seqs + i] = tokens_[i].seq;
            for (uint32_t c = 0; c <= tokens_[i].position / kPositions; c++)
                words_[step_.page_table + tokens_[i].seq * step_.n_seq_pages + c] = pages[tokens_[i].seq * n_chunks_ + c];
        }
    }
    const tn_cuda_step &step() const { return step_; }
    void set_output(const void *at)
    {
        const uint64_t address = (uint64_t)(uintptr_t)at;
        words_[step_.addresses + 2] = (uint32_t)address;
        words_[step_.addresses + 3] = (uint32_t)(address >> 32);
    }
    const std::vector<Token> &tokens() const { return tokens_; }
    uint32_t n_tokens() const { return (uint32_t)tokens_.size(); }
    uint32_t n_chunks() const { return n_chunks_; } // of the longest sequence
    uint32_t n_pages() const { return n_pages_; }
    uint32_t page(uint32_t seq, uint32_t position) const
    {
        return step_.words[step_.page_table + seq * step_.n_seq_pages + position / kPositions];
    }
    std::mt19937 &random() { return random_; }

  private:
    static constexpr uint32_t kWords = 16384;
    std::vector<Token> tokens_;
    std::mt19937 random_;
    Memory<uint32_t> words_;
    tn_cuda_step step_ = {};
    uint32_t n_chunks_ = 0, n_pages_ = 0;
};

// The bytes of a layer's pages: in a page, for each KV head, keys [128][head_dim] int16, values [64][head_dim][2] int16, scales of keys
// [128] and of values [128].
class PageImage
{
  public:
    PageImage(uint32_t n_pages, uint32_t n_kv_heads, uint32_t head_dim, uint8_t fill)
        : n_kv_(n_kv_heads), d_(head_dim), bytes_((size_t)n_pages * page_bytes(), fill)
    {
    }
    size_t page_bytes() const { return (size_t)n_kv_ * 128 * (4 * d_ + 8); }
    void put_key(uint32_t page, uint32_t head, uint32_t position, const int16_t *codes, float scale)
    {
        uint8_t *at = head_at(page, head);
        std::memcpy(at + (size_t)position % 128 * d_ * 2, codes, d_ * 2);
        std::memcpy(at + (size_t)512 * d_ + position % 128 * 4, &scale, 4);
    }
    void put_value(uint32_t page, uint32_t head, uint32_t position, const int16_t *codes, float scale)
    {
        uint8_t *at = head_at(page, head);
        const uint32_t i = position % 128;
        for (uint32_t d = 0; d < d_; d++) std::memcpy(at + (size_t)256 * d_ + ((size_t)(i / 2) * d_ + d) * 4 + i % 2 * 2, &codes[d], 2);
        std::memcpy(at + (size_t)512 * d_ + 512 + i * 4, &scale, 4);
    }
    const std::vector<uint8_t> &bytes() const { return bytes_; }

  private:
    uint8_t *head_at(uint32_t page, uint32_t head) { return bytes_.data() + page * page_bytes() + (size_t)head * 128 * (4 * d_ + 8); }
    uint32_t n_kv_, d_;
    std::vector<uint8_t> bytes_;
};

} // namespace cuda_host

#endif
