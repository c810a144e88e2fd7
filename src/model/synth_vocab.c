// A made-up byte-level BPE vocabulary of any size.
#include "model/synth_vocab.h"

#include "base/alloc.h"
#include "ternion/tokenizer.h"

#include <stdio.h>

enum { LETTERS = 26, WORD_MAX = 16 };

// What stands at an id by itself.
typedef struct special {
    int32_t id;
    const char *text;
} special;

static const special LLAMA3[] = {{128000, "<|begin_of_text|>"}, {128001, "<|end_of_text|>"}, {128006, "<|start_header_id|>"},
                                 {128007, "<|end_header_id|>"}, {128008, "<|eom_id|>"},      {128009, "<|eot_id|>"}};
static const special LLAMA2[] = {{0, "<unk>"}, {1, "<s>"}, {2, "</s>"}};
static const special FALCON3[] = {{11, "<|endoftext|>"}};

#define LLAMA3_FIRST_SPECIAL 128000

typedef struct builder {
    const tn_synth_shape *shape;
    tn_synth_vocab *vocab;
    size_t *starts; // [n_tokens] in the text, which may move while it grows
    size_t n_bytes; // byte tokens so far
    uint64_t n_words;
} builder;

// ---- the parts ----

// The character that stands for a byte in token texts: printable ones for themselves, the 68 others are U+0100 and on.
static uint32_t char_of_byte(unsigned byte)
{
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae) return byte;
    if (byte <= 0x20) return 0x100 + byte;
    return byte <= 0xa0 ? 0x121 + byte - 0x7f : 0x143;
}

// Bytes in the usual order: the printable ones first.
static unsigned nth_byte(size_t n)
{
    const size_t n_first = 0x7e - 0x21 + 1, n_second = 0xac - 0xa1 + 1, n_third = 0xff - 0xae + 1;
    if (n < n_first) return 0x21 + (unsigned)n;
    if (n < n_first + n_second) return 0xa1 + (unsigned)(n - n_first);
    if (n < n_first + n_second + n_third) return 0xae + (unsigned)(n - n_first - n_second);
    n -= n_first + n_second + n_third;
    return n <= 0x20 ? (unsigned)n : n <= 0x42 ? 0x7f + (unsigned)(n - 0x21) : 0xad;
}

// Word `n` of the list aa, ab, ..., zz, aaa, ...
static size_t nth_word(uint64_t n, char word[WORD_MAX])
{
    size_t len = 2;
    uint64_t count = LETTERS * LETTERS;
    for (; n >= count; len++, count *= LETTERS) n -= count;
    for (size_t i = len; i-- > 0; n /= LETTERS) word[i] = (char)('a' + n % LETTERS);
    return len;
}

static const char *special_text(const tn_synth_shape *shape, int32_t id, char text[48])
{
    const special *list = LLAMA2;
    size_t n = sizeof LLAMA2 / sizeof LLAMA2[0];
    if (shape->family == TN_SYNTH_PLAIN) {
        if (id == (int32_t)shape->n_vocab - 2) return "<|begin_of_text|>";
        return id == (int32_t)shape->n_vocab - 1 ? "<|end_of_text|>" : NULL;
    }
    if (shape->family == TN_SYNTH_LLAMA3) {
        list = LLAMA3;
        n = sizeof LLAMA3 / sizeof LLAMA3[0];
    } else if (shape->family == TN_SYNTH_FALCON3) {
        list = FALCON3;
        n = sizeof FALCON3 / sizeof FALCON3[0];
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i].id == id) return list[i].text;
    }
    if (shape->family != TN_SYNTH_LLAMA3 || id < LLAMA3_FIRST_SPECIAL) return NULL;
    snprintf(text, 48, "<|reserved_%d|>", (int)(id - LLAMA3_FIRST_SPECIAL));
    return text;
}

// ---- putting it together ----

static tn_status add_token(builder *b, size_t id)
{
    char text[48];
    tn_text *all = &b->vocab->text;
    const char *special_name = special_text(b->shape, (int32_t)id, text);
    b->starts[id] = all->len;
    b->vocab->kinds[id] = special_name ? TN_TOKEN_CONTROL : TN_TOKEN_NORMAL;
    if (special_name) return tn_text_append(all, special_name, strlen(special_name));
    if (b->n_bytes < 256) {
        const uint32_t c = char_of_byte(nth_byte(b->n_bytes++));
        const char utf8[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        const char ascii = (char)c;
        return c < 0x80 ? tn_text_append(all, &ascii, 1) : tn_text_append(all, utf8, 2);
    }
    const size_t len = nth_word(b->n_words++, text);
    return tn_text_append(all, text, len);
}

static tn_status add_merge(builder *b, uint64_t word)
{
    char text[WORD_MAX];
    const size_t len = nth_word(word, text);
    return tn_text_printf(&b->vocab->text, "%.*s %c", (int)len - 1, text, text[len - 1]);
}

static tn_status build(builder *b)
{
    tn_synth_vocab *v = b->vocab;
    const size_t n = b->shape->n_vocab;
    TN_TRY(tn_alloc(n + 1, sizeof *b->starts, &b->starts));
    TN_TRY(tn_alloc(n, sizeof *v->tokens, &v->tokens));
    TN_TRY(tn_alloc(n, sizeof *v->kinds, &v->kinds));
    for (size_t id = 0; id < n; id++) TN_TRY(add_token(b, id));
    b->starts[n] = v->text.len;
    TN_TRY(tn_alloc((size_t)b->n_words, sizeof *v->merges, &v->merges));
    const size_t merges_start = v->text.len;
    for (uint64_t w = 0; w < b->n_words; w++) TN_TRY(add_merge(b, w));
    for (size_t id = 0; id < n; id++) v->tokens[id] = (tn_str){v->text.data + b->starts[id], b->starts[id + 1] - b->starts[id]};
    const char *at = v->text.data + merges_start;
    for (uint64_t w = 0; w < b->n_words; w++) {
        char word[WORD_MAX];
        v->merges[w] = (tn_str){at, nth_word(w, word) + 1};
        at += v->merges[w].len;
    }
    v->n_tokens = n;
    v->n_merges = (size_t)b->n_words;
    return TN_OK;
}

tn_status tn_synth_vocab_build(const tn_synth_shape *shape, tn_synth_vocab *out)
{
    static const int32_t bos[] = {0, 1, LLAMA3_FIRST_SPECIAL, 11}, eos[] = {0, 2, LLAMA3_FIRST_SPECIAL + 1, 11};
    builder b = {.shape = shape, .vocab = out};
    memset(out, 0, sizeof *out);
    const bool plain = shape->family == TN_SYNTH_PLAIN;
    out->bos = plain ? (int32_t)shape->n_vocab - 2 : bos[shape->family];
    out->eos = plain ? (int32_t)shape->n_vocab - 1 : eos[shape->family];
    out->eot = shape->family == TN_SYNTH_LLAMA3 ? LLAMA3_FIRST_SPECIAL + 9 : TN_TOKEN_NONE;
    out->add_bos = shape->family != TN_SYNTH_FALCON3;
    const tn_status status = build(&b);
    tn_free(b.starts);
    return status;
}

void tn_synth_vocab_deinit(tn_synth_vocab *vocab)
{
    tn_free(vocab->tokens);
    tn_free(vocab->kinds);
    tn_free(vocab->merges);
    tn_text_deinit(&vocab->text);
    memset(vocab, 0, sizeof *vocab);
}
