// Pre-tokenizers as hand-written scanners. Each replaces a regular expression, quoted above it; none ever steps back further
// than the last character of a run, so that no text takes more than linear time.
#include "model/pretokenizer.h"

#include "model/unicode.h"

#include <string.h>

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline uint8_t class_at(const uint8_t *text, size_t len, size_t *out_bytes)
{
    if (text[0] < 0x80) {
        *out_bytes = 1;
        return tn_char_class_ascii[text[0]];
    }
    uint32_t code_point;
    *out_bytes = tn_utf8_decode(text, len, &code_point);
    return tn_char_class(code_point);
}

// The end of the run of characters of any class in `mask` that begins at `at`.
static size_t run_end(const uint8_t *text, size_t len, size_t at, unsigned mask)
{
    while (at < len) {
        size_t bytes;
        if (!(class_at(text + at, len - at, &bytes) & mask)) break;
        at += bytes;
    }
    return at;
}

// 's 't 're 've 'm 'll 'd at the start of the text: its bytes, or 0. `any_case` as regular expressions understand it: the long s
// (U+017F) is an s then.
static size_t contraction(const uint8_t *text, size_t len, bool any_case)
{
    if (len < 2 || text[0] != '\'') return 0;
    uint8_t fold = any_case ? 0x20 : 0;
    uint8_t a = text[1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (len < 3) return 0;
    if (any_case && text[1] == 0xC5 && text[2] == 0xBF) return 3;
    uint8_t b = text[2] | fold;
    bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return two ? 3 : 0;
}

// Whitespace at the start of the text, which no word takes:  (\s*[\r\n]+|)\s+(?!\S)|\s+  , the first part with `newlines` only.
// A run before a word leaves its last character for that word; if the word cannot take it, it is a piece of its own.
static size_t whitespace(const uint8_t *text, size_t len, bool newlines)
{
    size_t at = 0, last = 0, newline_end = 0;
    while (at < len) {
        size_t bytes;
        uint8_t c = class_at(text + at, len - at, &bytes);
        if (!(c & TN_CHAR_SPACE)) break;
        last = at;
        at += bytes;
        if (c & TN_CHAR_NEWLINE) newline_end = at;
    }
    if (newlines && newline_end > 0) return newline_end;
    return at == len || last == 0 ? at : last;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// with `n_digits` in place of the 3.
static inline size_t scan_llama3_like(const uint8_t *text, size_t len, int n_digits)
{
    size_t bytes, next_bytes;
    size_t short_word = contraction(text, len, true);
    if (short_word > 0) return short_word;
    uint8_t c = class_at(text, len, &bytes);
    if (c & TN_CHAR_LETTER) return run_end(text, len, bytes, TN_CHAR_LETTER);
    if (c & TN_CHAR_NUMBER) {
        size_t at = bytes;
        for (int i = 1; i < n_digits && at < len && class_at(text + at, len - at, &next_bytes) & TN_CHAR_NUMBER; i++) at += next_bytes;
        return at;
    }
    uint8_t next = bytes < len ? class_at(text + bytes, len - bytes, &next_bytes) : 0;
    if (next & TN_CHAR_LETTER && !(c & TN_CHAR_NEWLINE)) return run_end(text, len, bytes, TN_CHAR_LETTER);
    if (c & TN_CHAR_OTHER || (text[0] == ' ' && next & TN_CHAR_OTHER)) {
        size_t end = run_end(text, len, bytes, TN_CHAR_OTHER);
        return run_end(text, len, end, TN_CHAR_NEWLINE);
    }
    return whitespace(text, len, true);
}

static size_t scan_llama3(const uint8_t *text, size_t len) { return scan_llama3_like(text, len, 3); }
static size_t scan_qwen2(const uint8_t *text, size_t len) { return scan_llama3_like(text, len, 1); }

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
static size_t scan_gpt2(const uint8_t *text, size_t len)
{
    size_t bytes;
    size_t short_word = contraction(text, len, false);
    if (short_word > 0) return short_word;
    size_t start = text[0] == ' ' && len > 1;
    uint8_t c = class_at(text + start, len - start, &bytes);
    if (c & TN_CHAR_SPACE) return whitespace(text, len, false);
    return run_end(text, len, start + bytes, c & (TN_CHAR_LETTER | TN_CHAR_NUMBER | TN_CHAR_OTHER));
}

// `symbols`: what counts beside \p{P}, one ASCII character each.
static inline bool is_punctuation(uint8_t first_byte, uint8_t c, const char *symbols)
{
    return c & TN_CHAR_PUNCT || (first_byte != 0 && strchr(symbols, first_byte) != NULL);
}

// [\p{P}...]+ and the text between.
static inline size_t scan_punctuation(const uint8_t *text, size_t len, const char *symbols)
{
    size_t bytes;
    bool inside = is_punctuation(text[0], class_at(text, len, &bytes), symbols);
    size_t at = bytes;
    while (at < len && is_punctuation(text[at], class_at(text + at, len - at, &bytes), symbols) == inside) at += bytes;
    return at;
}

// [\p{P}\$\+<=>\^~\|]+ and [\p{P}\$\+<=>\^~\|`]+
static size_t scan_default_punctuation(const uint8_t *text, size_t len) { return scan_punctuation(text, len, "$+<=>^~|"); }
static size_t scan_falcon_punctuation(const uint8_t *text, size_t len) { return scan_punctuation(text, len, "$+<=>^~|`"); }

// \p{N}+ and the text between.
static size_t scan_numbers(const uint8_t *text, size_t len)
{
    size_t bytes;
    unsigned c = class_at(text, len, &bytes);
    unsigned others = TN_CHAR_LETTER | TN_CHAR_SPACE | TN_CHAR_OTHER;
    return run_end(text, len, bytes, c & TN_CHAR_NUMBER ? TN_CHAR_NUMBER : others);
}

static inline bool starts_with_digits(const uint8_t *text, size_t len, size_t n)
{
    if (len < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
    }
    return true;
}

// [0-9]{n} and the text between.
static inline size_t scan_digits(const uint8_t *text, size_t len, size_t n)
{
    if (starts_with_digits(text, len, n)) return n;
    size_t at = 1;
    while (at < len && !starts_with_digits(text + at, len - at, n)) at++;
    return at;
}

static size_t scan_digit_triples(const uint8_t *text, size_t len) { return scan_digits(text, len, 3); }
static size_t scan_single_digits(const uint8_t *text, size_t len) { return scan_digits(text, len, 1); }

#define LLAMA3(name, ignore_merges, add_bos)                                                                                               \
    {                                                                                                                                      \
        name, {scan_llama3}, 1, ignore_merges, add_bos                                                                                     \
    }
#define QWEN2(name)                                                                                                                        \
    {                                                                                                                                      \
        name, {scan_qwen2}, 1, false, false                                                                                                \
    }
#define GPT2(name)                                                                                                                         \
    {                                                                                                                                      \
        name, {scan_gpt2}, 1, false, false                                                                                                 \
    }

// Of "falcon3" the sources disagree: some read it as "falcon_e". Its makers chose this one by comparing tokens; the other can be asked for.
static const tn_pretokenizer pretokenizers[] = {
    LLAMA3("llama-bpe", true, true),
    LLAMA3("llama3", true, true),
    LLAMA3("llama-v3", true, true),
    LLAMA3("falcon3", true, true),
    LLAMA3("falcon-h1", true, true),
    LLAMA3("pixtral", true, true),
    LLAMA3("lfm2", true, true),
    LLAMA3("midm-2.0", true, true),
    LLAMA3("smaug-bpe", false, false),
    QWEN2("qwen2"),
    QWEN2("deepseek-r1-qwen"),
    QWEN2("kormo"),
    GPT2("gpt-2"),
    GPT2("mpt"),
    GPT2("olmo"),
    GPT2("jais"),
    {"falcon", {scan_falcon_punctuation, scan_gpt2, scan_digit_triples}, 3, false, false},
    {"falcon_e", {scan_falcon_punctuation, scan_gpt2, scan_single_digits}, 3, false, false},
    {"default", {scan_default_punctuation, scan_gpt2, scan_numbers, scan_digit_triples}, 4, false, false},
};

const tn_pretokenizer *tn_pretokenizer_find(const char *name, size_t name_len)
{
    for (size_t i = 0; i < N_OF(pretokenizers); i++) {
        const char *known = pretokenizers[i].name;
        if (strlen(known) == name_len && memcmp(known, name, name_len) == 0) return &pretokenizers[i];
    }
    return NULL;
}

const tn_pretokenizer *tn_pretokenizer_at(size_t index) { return index < N_OF(pretokenizers) ? &pretokenizers[index] : NULL; }

void tn_pre_start(tn_pre_cursor *cursor, const tn_pretokenizer *pre, const uint8_t *text, size_t len)
{
    cursor->pre = pre;
    cursor->at = text;
    cursor->ends[0] = text + len;
    for (size_t i = 1; i <= TN_PRE_STAGES_MAX; i++) cursor->ends[i] = text;
}

bool tn_pre_next(tn_pre_cursor *cursor, const uint8_t **out_piece, size_t *out_len)
{
    const uint8_t *at = cursor->at;
    size_t n = cursor->pre->n_stages;
    if (at == cursor->ends[0]) return false;
    size_t stage = n;
    while (cursor->ends[stage] == at) stage--; // the innermost stage whose piece is not used up
    for (; stage < n; stage++) cursor->ends[stage + 1] = at + cursor->pre->stages[stage](at, (size_t)(cursor->ends[stage] - at));
    *out_piece = at;
    *out_len = (size_t)(cursor->ends[n] - at);
    cursor->at = cursor->ends[n];
    return true;
}
