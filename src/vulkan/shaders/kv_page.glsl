// Where keys and values lie in the KV binding: page p of a layer begins at p * kv_page_words, and has 128 positions.
//
// In a page every KV head has 128 * (head_dim + 2) words. First the codes of K, two dims a word, so that neighbouring lanes, which work on
// neighbouring positions, read neighbouring units: where head_dim is a multiple of 8, units of 8 dims (4 words), unit u of position pos
// being number u * 128 + pos; else units of one word. Then the codes of V, [position][dim], two a word; then the f32 scales of K
// [position]; then those of V.
#ifndef TN_KV_PAGE_GLSL
#define TN_KV_PAGE_GLSL

const uint KV_POSITIONS = 128u;

uint kv_head_words(uint head_dim) { return KV_POSITIONS * (head_dim + 2u); }
uint kv_page_words(uint n_kv_heads, uint head_dim) { return n_kv_heads * kv_head_words(head_dim); }
// From the start of a head: dims 2w and 2w + 1 of position pos.
uint kv_key_word(uint head_dim, uint pos, uint w)
{
    return head_dim % 8u == 0u ? ((w / 4u) * KV_POSITIONS + pos) * 4u + w % 4u : w * KV_POSITIONS + pos;
}
uint kv_value_word(uint head_dim, uint pos, uint w) { return (KV_POSITIONS / 2u) * head_dim + pos * (head_dim / 2u) + w; }
uint kv_key_scale_word(uint head_dim, uint pos) { return KV_POSITIONS * head_dim + pos; }
uint kv_value_scale_word(uint head_dim, uint pos) { return KV_POSITIONS * (head_dim + 1u) + pos; }

#endif
