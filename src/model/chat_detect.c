// Which family a template in the Jinja language belongs to. Templates are not run: what they write is told from their text, which is first
// brought into one form (blanks between words, quotes and ways to name a field make no difference), and a template is taken for a family
// only where the pieces that it writes are the family's. What it would write for tools, which chats do not have, is not looked at.
#include "base/escape.h"
#include "model/chat_template.h"
#include "model/model_internal.h"

#include <stdio.h>

#define TEMPLATE_BYTES_MAX ((size_t)1 << 20)
#define KEY                "tokenizer.chat_template"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

typedef struct scanner {
    const char *at, *end;
    tn_text *out;
} scanner;

static bool looking_at(const scanner *s, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(s->end - s->at) >= n && memcmp(s->at, text, n) == 0;
}

static tn_status put(scanner *s, const char *text) { return tn_text_append(s->out, text, strlen(text)); }

// A string in quotes, written with single ones and with newlines as \n.
static tn_status take_string(scanner *s)
{
    char quote = *s->at++;
    TN_TRY(put(s, "'"));
    while (s->at < s->end && *s->at != quote) {
        if (*s->at == '\n') {
            TN_TRY(put(s, "\\n"));
            s->at++;
            continue;
        }
        size_t n = *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
        TN_TRY(tn_text_append(s->out, s->at, n));
        s->at += n;
    }
    if (s->at < s->end) s->at++;
    return put(s, "'");
}

// What stands between "{{" or "{%" and its end, with both. *out_dash: it ends with a dash, which eats the blanks behind it.
static tn_status take_block(scanner *s, bool *out_dash)
{
    const char *close = s->at[1] == '{' ? "}}" : "%}", *dashed = s->at[1] == '{' ? "-}}" : "-%}";
    TN_TRY(tn_text_append(s->out, s->at, 2));
    s->at += 2;
    if (s->at < s->end && (*s->at == '-' || *s->at == '+')) s->at++;
    while (s->at < s->end) {
        *out_dash = looking_at(s, dashed);
        if (*out_dash) s->at++;
        if (looking_at(s, close)) {
            s->at += 2;
            return put(s, close);
        }
        if (*s->at == '\'' || *s->at == '"') {
            TN_TRY(take_string(s));
        } else if (is_space(*s->at)) {
            s->at++;
        } else if (looking_at(s, ".content") || looking_at(s, ".role")) {
            bool content = s->at[1] == 'c';
            TN_TRY(put(s, content ? "['content']" : "['role']"));
            s->at += content ? 8 : 5;
        } else {
            TN_TRY(tn_text_append(s->out, s->at++, 1));
        }
    }
    return TN_OK;
}

static void skip_comment(scanner *s, bool *out_dash)
{
    while (s->at < s->end && !looking_at(s, "#}")) s->at++;
    *out_dash = s->at[-1] == '-';
    s->at = s->end - s->at > 2 ? s->at + 2 : s->end;
}

// Text between blocks goes to the answer; with Hugging Face's settings a newline behind a "%}" does not, nor do blanks that indent a "{%".
// Writes a \001 where something is left, which no family has.
static tn_status take_outside(scanner *s, const char *start, char before, bool dash)
{
    const char *begin = s->at;
    while (s->at < s->end && !looking_at(s, "{{") && !looking_at(s, "{%") && !looking_at(s, "{#")) s->at++;
    const char *end = s->at;
    bool last = s->at == s->end, eaten = !last && s->end - s->at > 2 && s->at[2] == '-', statement = !last && s->at[1] != '{';
    if (last && begin < end && end[-1] == '\n') end--;
    if (before == '%' && begin < end && *begin == '\n') begin++;
    while (begin < end && dash && is_space(*begin)) begin++;
    while (begin < end && eaten && is_space(end[-1])) end--;
    const char *indent = end;
    while (indent > begin && (indent[-1] == ' ' || indent[-1] == '\t')) indent--;
    if (statement && (indent == start || indent[-1] == '\n')) end = indent;
    return begin < end ? put(s, "\001") : TN_OK;
}

static tn_status normalise(const char *jinja, size_t len, tn_text *out)
{
    scanner s = {jinja, jinja + len, out};
    char before = 0; // '%' or '{': what kind of block ended here
    bool dash = false;
    while (s.at < s.end) {
        TN_TRY(take_outside(&s, jinja, before, dash));
        if (s.at == s.end) break;
        before = s.at[1] == '{' ? '{' : '%';
        dash = false;
        if (s.at[1] == '#')
            skip_comment(&s, &dash);
        else
            TN_TRY(take_block(&s, &dash));
    }
    return put(&s, "");
}

static bool has(const char *text, const char *part) { return strstr(text, part) != NULL; }

// Whether behind each `part` the string in quotes ends.
static bool ends_strings(const char *text, const char *part)
{
    for (const char *at = text; (at = strstr(at, part)) != NULL;) {
        at += strlen(part);
        if (*at != '\'') return false;
    }
    return true;
}

static bool is_bitnet(const char *t)
{
    return has(t, "message['role']|capitalize+': '+message['content']|trim+'<|eot_id|>'") && has(t, "bos_token+") &&
           has(t, "{{'Assistant: '}}");
}

// The file that Microsoft published carries a template that its converter put there and the model was never trained on.
static bool is_bitnet_placeholder(const char *t) { return has(t, "'Human: '+message['content']+'\\n\\nBITNETAssistant: '"); }

static bool is_llama3(const char *t)
{
    return has(t, "'<|start_header_id|>'+message['role']+'<|end_header_id|>\\n\\n'+message['content']|trim+'<|eot_id|>'") &&
           has(t, "bos_token") && has(t, "'<|start_header_id|>assistant<|end_header_id|>\\n\\n'") &&
           ends_strings(t, "<|start_header_id|>system<|end_header_id|>\\n\\n") &&
           ends_strings(t, "<|start_header_id|>assistant<|end_header_id|>\\n\\n");
}

static const tn_chat_template *match_llama3(const char *t)
{
    if (!has(t, "<|start_header_id|>system")) return has(t, "Knowledge") || has(t, "date") ? NULL : &tn_chat_llama3;
    bool dates = has(t, "'Cutting Knowledge Date: December 2023\\n'");
    bool today = has(t, "'Today Date: '+date_string+'\\n\\n'") && has(t, "date_string='26 Jul 2024'");
    return dates && today && has(t, "{{system_message}}{{'<|eot_id|>'}}") ? &tn_chat_llama31 : NULL;
}

static bool is_falcon3(const char *t)
{
    return has(t, "'<|user|>\\n'+message['content']+'\\n'") && has(t, "'<|system|>\\n'+message['content']+'\\n'") &&
           has(t, "'<|assistant|>\\n'+message['content']+eos_token") && has(t, "{{'<|assistant|>\\n'}}") && !has(t, "bos_token");
}

// ChatML in its usual spellings: role and content between the marks, nothing else. Later ones first give the content a name.
static bool is_chatml(const char *t)
{
    bool named = has(t, "{%setcontent=message['content']%}");
    bool turn = has(t, "'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>'+'\\n'") ||
                has(t, "'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>\\n'") ||
                (named && has(t, "'<|im_start|>'+message['role']+'\\n'+content+'<|im_end|>'+'\\n'"));
    bool asks = has(t, "'<|im_start|>assistant\\n'") && ends_strings(t, "<|im_start|>assistant\\n");
    return turn && asks && !has(t, "|trim");
}

// What would change a content on its way.
static bool changes_contents(const char *t)
{
    static const char *const ways[] = {"strip(", ".split(", ".replace(", "|replace", "|upper", "|lower", "|title", "|capitalize"};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (has(t, ways[i])) return true;
    }
    return false;
}

static const tn_chat_template *match_chatml(const char *t)
{
    static const char qwen_system[] =
        "<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n";
    bool thinks = has(t, "<think>"), bos = has(t, "bos_token"), defaults = !ends_strings(t, "<|im_start|>system\\n");
    if (thinks) {
        bool prompt = has(t, "{%ifenable_thinkingisdefinedandenable_thinkingisfalse%}{{'<think>\\n\\n</think>\\n\\n'}}{%endif%}");
        bool forgets =
            has(t, "message['content'].split('</think>')[-1].lstrip('\\n')") || has(t, "content.split('</think>')[-1].lstrip('\\n')");
        return prompt && forgets && !bos && !defaults ? &tn_chat_qwen3 : NULL;
    }
    if (changes_contents(t)) return NULL;
    if (defaults) return has(t, qwen_system) && !bos ? &tn_chat_qwen2 : NULL;
    if (!bos) return &tn_chat_chatml;
    return strncmp(t, "{{bos_token}}", strlen("{{bos_token}}")) == 0 ? &tn_chat_chatml_bos : NULL;
}

static const tn_chat_template *match(const char *t)
{
    if (has(t, "\001")) return NULL;
    if (is_bitnet(t) || is_bitnet_placeholder(t)) return &tn_chat_bitnet;
    if (is_llama3(t)) return match_llama3(t);
    if (is_falcon3(t)) return &tn_chat_falcon3;
    return is_chatml(t) ? match_chatml(t) : NULL;
}

tn_status tn_chat_template_match(const char *jinja, size_t jinja_len, const tn_chat_template **out_template)
{
    TN_REQUIRE(out_template);
    *out_template = NULL;
    TN_REQUIRE(jinja);
    tn_text text = {0};
    tn_status status;
    char names[160], shown[72];
    if (jinja_len <= TEMPLATE_BYTES_MAX) {
        TN_TRY_GOTO(normalise(jinja, jinja_len, &text));
        if (text.data && strlen(text.data) == text.len) *out_template = match(text.data);
    }
    tn_escape(jinja, jinja_len, shown, sizeof shown);
    status = *out_template ? TN_OK
                           : tn_fail(TN_UNSUPPORTED, "the chat template \"%s\" is not one of those that ternion knows; %s are", shown,
                                     tn_chat_template_names(names, sizeof names));
fail:
    tn_text_deinit(&text);
    return status;
}

tn_status tn_chat_template_detect(const tn_model *model, const tn_chat_template **out_template)
{
    TN_REQUIRE(out_template);
    *out_template = NULL;
    TN_REQUIRE(model);
    const tn_gguf *gguf = tn_model_gguf(model);
    const char *key = tn_gguf_find(gguf, KEY) ? KEY : KEY ".default";
    char names[160];
    tn_str text;
    if (!tn_gguf_find(gguf, key)) {
        return tn_fail(TN_NOT_FOUND, "the file has no chat template (%s): it is a base model, or one of %s must be chosen", KEY,
                       tn_chat_template_names(names, sizeof names));
    }
    TN_TRY(tn_gguf_get_str(gguf, key, &text));
    return tn_chat_template_match(text.data, text.len, out_template);
}
