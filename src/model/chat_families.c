// What each family of chat templates writes. The functions follow the templates that the models were published with.
#include "base/status.h"
#include "model/chat_template.h"
#include "model/unicode.h"

#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

static tn_status put_bos(const tn_chat *chat) { return chat->sink->bos(chat->sink->user); }
static tn_status put_token(const tn_chat *chat, const char *text) { return chat->sink->token(chat->sink->user, text, true); }
static tn_status put_mark(const tn_chat *chat, const char *text) { return chat->sink->token(chat->sink->user, text, false); }
static tn_status put_str(const tn_chat *chat, tn_str text) { return chat->sink->text(chat->sink->user, text); }
static tn_status put_text(const tn_chat *chat, const char *text) { return put_str(chat, tn_str_of(text)); }

static bool adds_prompt(const tn_chat *chat) { return chat->flags & TN_CHAT_ADD_GENERATION_PROMPT; }
static bool is_role(const tn_chat_message *message, tn_chat_role role) { return message->role == role; }

// "system", or "System" where the family writes it so.
static const char *role_name(const tn_chat_message *message, bool capital)
{
    switch (message->role) {
    case TN_CHAT_SYSTEM: return capital ? "System" : "system";
    case TN_CHAT_USER: return capital ? "User" : "user";
    case TN_CHAT_ASSISTANT: return capital ? "Assistant" : "assistant";
    }
    return "";
}

// What Python's str.strip takes: White_Space and four separators.
static bool is_blank(uint32_t c) { return (c >= 0x1c && c <= 0x1f) || (tn_char_class(c) & TN_CHAR_SPACE); }

static tn_str trim(tn_str text)
{
    uint32_t c;
    while (text.len > 0) {
        size_t n = tn_utf8_decode((const uint8_t *)text.data, text.len, &c);
        if (!is_blank(c)) break;
        text.data += n;
        text.len -= n;
    }
    while (text.len > 0) {
        size_t at = text.len - 1;
        while (at > 0 && text.len - at < 4 && ((uint8_t)text.data[at] & 0xc0) == 0x80) at--;
        size_t n = tn_utf8_decode((const uint8_t *)text.data + at, text.len - at, &c);
        if (at + n != text.len || !is_blank(c)) break;
        text.len = at;
    }
    return text;
}

static tn_str text_of(const tn_chat_message *message) { return (tn_str){message->text ? message->text : "", message->text_len}; }

static tn_status put_content(const tn_chat *chat, const tn_chat_message *message, bool trimmed)
{
    if (message->tokens) return chat->sink->ids(chat->sink->user, message->tokens, message->n_tokens);
    return put_str(chat, trimmed ? trim(text_of(message)) : text_of(message));
}

// BitNet b1.58 2B-4T: "User: Hello<|eot_id|>Assistant: ".
static tn_status render_bitnet(const tn_chat *chat)
{
    TN_TRY(put_bos(chat));
    for (size_t i = 0; i < chat->n_messages; i++) {
        TN_TRY(put_text(chat, role_name(&chat->messages[i], true)));
        TN_TRY(put_text(chat, ": "));
        TN_TRY(put_content(chat, &chat->messages[i], true));
        TN_TRY(put_token(chat, "<|eot_id|>"));
    }
    return adds_prompt(chat) ? put_text(chat, "Assistant: ") : TN_OK;
}

static tn_status llama_header(const tn_chat *chat, const char *role)
{
    TN_TRY(put_token(chat, "<|start_header_id|>"));
    TN_TRY(put_text(chat, role));
    TN_TRY(put_token(chat, "<|end_header_id|>"));
    return put_text(chat, "\n\n");
}

static tn_status llama_messages(const tn_chat *chat, size_t first)
{
    for (size_t i = first; i < chat->n_messages; i++) {
        TN_TRY(llama_header(chat, role_name(&chat->messages[i], false)));
        TN_TRY(put_content(chat, &chat->messages[i], true));
        TN_TRY(put_token(chat, "<|eot_id|>"));
    }
    return adds_prompt(chat) ? llama_header(chat, "assistant") : TN_OK;
}

static tn_status render_llama3(const tn_chat *chat)
{
    TN_TRY(put_bos(chat));
    return llama_messages(chat, 0);
}

// Llama 3.1 begins with a system turn of its own, before which the date is that of the template, so that renderings can be repeated.
static tn_status render_llama31(const tn_chat *chat)
{
    bool has_system = is_role(&chat->messages[0], TN_CHAT_SYSTEM);
    TN_TRY(put_bos(chat));
    TN_TRY(llama_header(chat, "system"));
    TN_TRY(put_text(chat, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"));
    if (has_system) TN_TRY(put_content(chat, &chat->messages[0], true));
    TN_TRY(put_token(chat, "<|eot_id|>"));
    return llama_messages(chat, has_system);
}

// Falcon 3. Its vocabulary need not have the role marks as tokens; then they are text, as for its own tokenizer.
static tn_status render_falcon3(const tn_chat *chat)
{
    static const char *const marks[] = {
        [TN_CHAT_SYSTEM] = "<|system|>", [TN_CHAT_USER] = "<|user|>", [TN_CHAT_ASSISTANT] = "<|assistant|>"};
    for (size_t i = 0; i < chat->n_messages; i++) {
        const tn_chat_message *message = &chat->messages[i];
        bool answer = is_role(message, TN_CHAT_ASSISTANT), last = i + 1 == chat->n_messages;
        TN_TRY(put_mark(chat, marks[message->role]));
        TN_TRY(put_text(chat, "\n"));
        TN_TRY(put_content(chat, message, false));
        if (answer) TN_TRY(put_token(chat, "<|endoftext|>"));
        if (!answer || !last) TN_TRY(put_text(chat, "\n"));
    }
    if (!adds_prompt(chat)) return TN_OK;
    TN_TRY(put_mark(chat, marks[TN_CHAT_ASSISTANT]));
    return put_text(chat, "\n");
}

static tn_status chatml_begin(const tn_chat *chat, const char *role)
{
    TN_TRY(put_token(chat, "<|im_start|>"));
    TN_TRY(put_text(chat, role));
    return put_text(chat, "\n");
}

static tn_status chatml_end(const tn_chat *chat)
{
    TN_TRY(put_token(chat, "<|im_end|>"));
    return put_text(chat, "\n");
}

static tn_status render_chatml(const tn_chat *chat)
{
    for (size_t i = 0; i < chat->n_messages; i++) {
        TN_TRY(chatml_begin(chat, role_name(&chat->messages[i], false)));
        TN_TRY(put_content(chat, &chat->messages[i], false));
        TN_TRY(chatml_end(chat));
    }
    return adds_prompt(chat) ? chatml_begin(chat, "assistant") : TN_OK;
}

static tn_status render_chatml_bos(const tn_chat *chat)
{
    TN_TRY(put_bos(chat));
    return render_chatml(chat);
}

static tn_status render_qwen2(const tn_chat *chat)
{
    if (!is_role(&chat->messages[0], TN_CHAT_SYSTEM)) {
        TN_TRY(chatml_begin(chat, "system"));
        TN_TRY(put_text(chat, QWEN_SYSTEM));
        TN_TRY(chatml_end(chat));
    }
    return render_chatml(chat);
}

// Qwen 3: thoughts of earlier answers are forgotten.
static tn_str skip_newlines(tn_str text)
{
    while (text.len > 0 && text.data[0] == '\n') {
        text.data++;
        text.len--;
    }
    return text;
}

static tn_str strip_newlines(tn_str text)
{
    text = skip_newlines(text);
    while (text.len > 0 && text.data[text.len - 1] == '\n') text.len--;
    return text;
}

// Start of the last occurrence of `mark` in `text`, NULL where there is none; or of the first one.
static const char *find_mark(tn_str text, const char *mark, bool last)
{
    size_t n = strlen(mark);
    const char *found = NULL;
    for (size_t at = 0; at + n <= text.len; at++) {
        if (memcmp(text.data + at, mark, n) != 0) continue;
        found = text.data + at;
        if (!last) break;
    }
    return found;
}

// Takes the thought out of an answer's text: the rest is what follows the last </think>.
static tn_str split_thought(tn_str text, tn_str *out_thought)
{
    const char *first = find_mark(text, "</think>", false), *last = find_mark(text, "</think>", true);
    *out_thought = (tn_str){"", 0};
    if (!first || !last) return text;
    tn_str thought = {text.data, (size_t)(first - text.data)};
    const char *begin = find_mark(thought, "<think>", true);
    if (begin) thought = (tn_str){begin + strlen("<think>"), (size_t)(first - begin) - strlen("<think>")};
    *out_thought = strip_newlines(thought);
    const char *rest = last + strlen("</think>");
    return skip_newlines((tn_str){rest, text.len - (size_t)(rest - text.data)});
}

static bool begins_with(tn_str text, const char *mark) { return text.len >= strlen(mark) && memcmp(text.data, mark, strlen(mark)) == 0; }

static bool ends_with(tn_str text, const char *mark)
{
    size_t n = strlen(mark);
    return text.len >= n && memcmp(text.data + text.len - n, mark, n) == 0;
}

// Index of the last question: a user's message that is not the answer of a tool.
static size_t last_question(const tn_chat *chat)
{
    for (size_t i = chat->n_messages; i-- > 0;) {
        if (!is_role(&chat->messages[i], TN_CHAT_USER)) continue;
        tn_str text = text_of(&chat->messages[i]);
        if (!begins_with(text, "<tool_response>") || !ends_with(text, "</tool_response>")) return i;
    }
    return chat->n_messages - 1;
}

static tn_status put_thought(const tn_chat *chat, tn_str thought)
{
    TN_TRY(put_mark(chat, "<think>"));
    TN_TRY(put_text(chat, "\n"));
    TN_TRY(put_str(chat, thought));
    TN_TRY(put_text(chat, "\n"));
    TN_TRY(put_mark(chat, "</think>"));
    return put_text(chat, "\n\n");
}

// Behind a thought the template takes newlines off once more, also where the text has no thought of its own.
static tn_status qwen3_answer(const tn_chat *chat, size_t i, size_t question)
{
    const tn_chat_message *message = &chat->messages[i];
    tn_str thought, rest;
    if (message->tokens) {
        if (chat->flags & TN_CHAT_NO_THINKING) TN_TRY(put_thought(chat, (tn_str){"", 0}));
        return put_content(chat, message, false);
    }
    rest = split_thought(text_of(message), &thought);
    bool shown = i > question && (i + 1 == chat->n_messages || thought.len > 0);
    if (!shown) return put_str(chat, rest);
    TN_TRY(put_thought(chat, thought));
    return put_str(chat, skip_newlines(rest));
}

static tn_status render_qwen3(const tn_chat *chat)
{
    size_t question = last_question(chat);
    for (size_t i = 0; i < chat->n_messages; i++) {
        const tn_chat_message *message = &chat->messages[i];
        TN_TRY(chatml_begin(chat, role_name(message, false)));
        if (is_role(message, TN_CHAT_ASSISTANT))
            TN_TRY(qwen3_answer(chat, i, question));
        else
            TN_TRY(put_content(chat, message, false));
        TN_TRY(chatml_end(chat));
    }
    if (!adds_prompt(chat)) return TN_OK;
    TN_TRY(chatml_begin(chat, "assistant"));
    return chat->flags & TN_CHAT_NO_THINKING ? put_thought(chat, (tn_str){"", 0}) : TN_OK;
}

const tn_chat_template tn_chat_bitnet = {"bitnet", "BitNet b1.58 2B-4T: User: ...<|eot_id|>Assistant: ", false, render_bitnet};
const tn_chat_template tn_chat_llama3 = {"llama3", "Llama 3: <|start_header_id|>user<|end_header_id|>", false, render_llama3};
const tn_chat_template tn_chat_llama31 = {"llama3.1", "Llama 3.1: as llama3, with its dates in the system turn", false, render_llama31};
const tn_chat_template tn_chat_falcon3 = {"falcon3", "Falcon 3: <|user|>, <|assistant|> and <|endoftext|>", false, render_falcon3};
const tn_chat_template tn_chat_chatml = {"chatml", "ChatML: <|im_start|>user ... <|im_end|>", false, render_chatml};
const tn_chat_template tn_chat_chatml_bos = {"chatml-bos", "ChatML behind a BOS token", false, render_chatml_bos};
const tn_chat_template tn_chat_qwen2 = {"qwen2.5", "Qwen 2.5: ChatML with its default system message", false, render_qwen2};
const tn_chat_template tn_chat_qwen3 = {"qwen3", "Qwen 3 and Bonsai: ChatML with thoughts", true, render_qwen3};

static tn_status check(const tn_chat_template *chat_template, const tn_chat *chat)
{
    if (!chat->messages || chat->n_messages == 0) return tn_fail(TN_INVALID_ARGUMENT, "a conversation of no messages: give at least one");
    if (chat->flags & ~(unsigned)(TN_CHAT_ADD_GENERATION_PROMPT | TN_CHAT_NO_THINKING))
        return tn_fail(TN_INVALID_ARGUMENT, "flags 0x%x for a conversation are not all known: correct the call", chat->flags);
    if ((chat->flags & TN_CHAT_NO_THINKING) && !chat_template->thinks)
        return tn_fail(TN_INVALID_ARGUMENT, "the template %s has no thoughts to leave out: do not ask for it", chat_template->name);
    for (size_t i = 0; i < chat->n_messages; i++) {
        const tn_chat_message *m = &chat->messages[i];
        if (m->role < TN_CHAT_SYSTEM || m->role > TN_CHAT_ASSISTANT)
            return tn_fail(TN_INVALID_ARGUMENT, "message %zu has role %d: use a value of tn_chat_role", i, (int)m->role);
        if (m->tokens && m->role != TN_CHAT_ASSISTANT)
            return tn_fail(TN_INVALID_ARGUMENT, "message %zu is given as tokens, but only an assistant's may be: give its text", i);
        if (!m->tokens && !m->text && m->text_len > 0) return tn_fail(TN_INVALID_ARGUMENT, "message %zu has no text: correct the call", i);
    }
    return TN_OK;
}

tn_status tn_chat_write(const tn_chat_template *chat_template, const tn_chat *chat)
{
    TN_TRY(check(chat_template, chat));
    return chat_template->render(chat);
}
