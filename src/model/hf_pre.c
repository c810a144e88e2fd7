// Names the pre-tokenizer of a byte-level BPE by what tokenizer.json says of it.
#include "base/log.h"
#include "model/hf_tokenizer_internal.h"

#define LLAMA3_TAIL "[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"

// Expressions that split alone, in the spellings that checkpoints have.
static const struct {
    const char *regex, *pre;
} EXPRESSIONS[] = {
    {LLAMA3_HEAD "\\p{N}{1,3}| ?" LLAMA3_TAIL, "llama-bpe"},
    {LLAMA3_HEAD "\\p{N}| ?" LLAMA3_TAIL, "qwen2"},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
};

enum { FALCON3_TOKENS = 131072 };

// Keeping what matches, or removing what does not: the same, for expressions that match everything.
static bool keeps_matches(const tn_json *split)
{
    const bool invert = tn_json_is_true(tn_json_get(split, "invert"));
    return (tn_hf_is_text(split, "behavior", "Isolated") && !invert) || (tn_hf_is_text(split, "behavior", "Removed") && invert);
}

static tn_status split_name(const tn_hf_source *s, const tn_json *split, const char **out_pre)
{
    tn_str regex = {"", 0};
    if (!tn_json_str(tn_json_get(tn_json_get(split, "pattern"), "Regex"), &regex)) {
        return tn_fail(TN_UNSUPPORTED, "'%s': its pre-tokenizer splits at a fixed text, which is not converted by this version", s->path);
    }
    for (size_t i = 0; keeps_matches(split) && i < sizeof(EXPRESSIONS) / sizeof(EXPRESSIONS[0]); i++) {
        if (!tn_str_is(regex, EXPRESSIONS[i].regex)) continue;
        *out_pre = EXPRESSIONS[i].pre;
        return TN_OK;
    }
    return tn_fail(TN_UNSUPPORTED,
                   "'%s': the pre-tokenizer expression \"%.*s\" is not known here; those of llama-bpe, qwen2, gpt-2 and the Falcons are",
                   s->path, TN_STR_ARGS(regex));
}

static bool uses_regex(const tn_json *byte_level)
{
    const tn_json *use_regex = tn_json_get(byte_level, "use_regex");
    return tn_json_absent(use_regex) || tn_json_is_true(use_regex);
}

// Looks at one pre-tokenizer. `*byte_level` becomes true when it is the byte-level step.
static tn_status read_step(const tn_hf_source *s, const tn_json *step, const char **out_pre, bool *byte_level)
{
    if (tn_hf_is_text(step, "type", "Split") && !*out_pre && !*byte_level) return split_name(s, step, out_pre);
    if (tn_hf_is_text(step, "type", "ByteLevel") && !*byte_level) {
        *byte_level = true;
        if (tn_json_is_true(tn_json_get(step, "add_prefix_space"))) {
            return tn_fail(TN_UNSUPPORTED, "'%s': a tokenizer that adds a space before the text is not converted by this version", s->path);
        }
        if (uses_regex(step) && *out_pre)
            return tn_fail(TN_UNSUPPORTED, "'%s': its pre-tokenizer splits twice, which is not converted by this version", s->path);
        if (uses_regex(step)) *out_pre = "gpt-2";
        return TN_OK;
    }
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(step, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': the pre-tokenizer step '%.*s' is not converted by this version; Split and ByteLevel are", s->path,
                   TN_STR_ARGS(type));
}

static bool is_split_by(const tn_json *step, const char *expression)
{
    return tn_hf_is_text(step, "type", "Split") && keeps_matches(step) && !tn_json_is_true(tn_json_get(step, "invert")) &&
           tn_hf_is_text(tn_json_get(step, "pattern"), "Regex", expression);
}

// The passes of the Falcons: runs of punctuation, GPT-2's expression, then digits: groups of three of them, or each alone. NULL: other
// passes.
static const char *falcon_name(const tn_json *steps)
{
    size_t n = tn_json_size(steps), at = 2;
    const tn_json *punctuation = tn_json_at(steps, 0), *byte_level = tn_json_at(steps, 1);
    if (n < 3 || !tn_hf_is_text(punctuation, "type", "Punctuation") || !tn_hf_is_text(punctuation, "behavior", "Contiguous")) return NULL;
    if (!tn_hf_is_text(byte_level, "type", "ByteLevel") || tn_json_is_true(tn_json_get(byte_level, "add_prefix_space"))) return NULL;
    if (!uses_regex(byte_level)) return NULL;
    bool runs = false, singles = false, triples = false;
    if (tn_hf_is_text(tn_json_at(steps, at), "type", "Digits")) {
        singles = tn_json_is_true(tn_json_get(tn_json_at(steps, at), "individual_digits"));
        runs = !singles;
        at++;
    }
    if (at < n && is_split_by(tn_json_at(steps, at), "[0-9][0-9][0-9]")) triples = ++at > 0;
    if (at < n && is_split_by(tn_json_at(steps, at), "[0-9]")) singles = ++at > 0;
    if (at != n || (singles && triples)) return NULL;
    return singles ? "falcon_e" : runs && triples ? "falcon" : NULL;
}

static tn_status check_normalizer(const tn_hf_source *s, const char *pre)
{
    const tn_json *normalizer = tn_json_get(s->root, "normalizer");
    if (tn_json_absent(normalizer)) return TN_OK;
    if (strcmp(pre, "qwen2") == 0 && tn_hf_is_text(normalizer, "type", "NFC")) {
        tn_log_write(s->log, TN_LOG_WARN,
                     "'%s' normalises texts to NFC, which GGUF files cannot say: texts in other forms may be tokenised otherwise", s->path);
        return TN_OK;
    }
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(normalizer, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': a normalizer ('%.*s') is not converted by this version; tokenizers without one are", s->path,
                   TN_STR_ARGS(type));
}

// GGUF has no key for it: readers emit whole-word tokens without merging for the Llama-3 family, and only there.
static void compare_ignore_merges(const tn_hf_source *s, const char *pre)
{
    const bool ignores = tn_json_is_true(tn_json_get(s->model, "ignore_merges"));
    if (ignores == (strcmp(pre, "llama-bpe") == 0 || strcmp(pre, "falcon3") == 0)) return;
    tn_log_write(s->log, TN_LOG_WARN,
                 "'%s': ignore_merges is %s, but readers of GGUF files with pre-tokenizer %s assume the opposite: some words may "
                 "be tokenised otherwise",
                 s->path, ignores ? "true" : "false", pre);
}

// Falcon3 has a name of its own, whatever its passes are: readers have agreed on what it means less than on the name.
static void name_falcon3(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    if (t->n_tokens != FALCON3_TOKENS || !t->tokens[0].data || !tn_str_is(t->tokens[0], ">>TITLE<<")) return;
    if (strcmp(t->pre, "llama-bpe") != 0) {
        tn_log_write(
            s->log, TN_LOG_WARN,
            "'%s' is Falcon3's: its pre-tokenizer is written as \"falcon3\", which readers take for Llama 3's, but its own passes are "
            "those of \"%s\": some digits and punctuation may be tokenised otherwise",
            s->path, t->pre);
    }
    t->pre = "falcon3";
}

tn_status tn_hf_read_pre(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    const tn_json *pre = tn_json_get(s->root, "pre_tokenizer"), *steps = tn_json_get(pre, "pretokenizers");
    const bool is_sequence = tn_hf_is_text(pre, "type", "Sequence");
    t->pre = is_sequence ? falcon_name(steps) : NULL;
    bool byte_level = t->pre != NULL;
    if (is_sequence && !byte_level) {
        for (size_t i = 0; i < tn_json_size(steps); i++) TN_TRY(read_step(s, tn_json_at(steps, i), &t->pre, &byte_level));
    } else if (!byte_level && !tn_json_absent(pre)) {
        TN_TRY(read_step(s, pre, &t->pre, &byte_level));
    }
    if (!byte_level || !t->pre) {
        return tn_fail(
            TN_UNSUPPORTED,
            "'%s': no byte-level pre-tokenizer with a known expression; byte-level BPE and SentencePiece (byte_fallback) are converted",
            s->path);
    }
    TN_TRY(check_normalizer(s, t->pre));
    name_falcon3(s, t);
    compare_ignore_merges(s, t->pre);
    return TN_OK;
}
