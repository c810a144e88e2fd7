// One turn of a chat: only what is new of the conversation goes through the model.
#include "chat.h"
#include "interrupt.h"
#include "output.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t tn_cli_chat_used(const tn_cli_chat *chat) { return chat->n_held; }
bool tn_cli_chat_is_filling(const tn_cli_chat *chat) { return chat->n_held * 4 >= (size_t)chat->engine.session_info.n_ctx * 3; }

static void warn(const char *message) { tn_cli_log().write(NULL, TN_LOG_WARN, message); }

static int does_not_fit(const tn_cli_chat *chat, size_t n_tokens)
{
    uint32_t n_ctx = chat->engine.session_info.n_ctx, n_model = chat->engine.info.n_ctx_train;
    char larger[64] = "";
    if (n_ctx < n_model) snprintf(larger, sizeof larger, ", or start with a larger -c (the model has %u)", n_model);
    return tn_cli_fail(
        chat->editor ? "/clear" : NULL,
        "the conversation with this message has %zu tokens, and an answer needs more, but the context has %u: shorten the message%s%s",
        n_tokens, n_ctx, chat->editor ? ", take turns back with /undo, begin anew with /clear" : "", larger);
}

// Leaves in the session what it and `tokens` begin with in common, but not all of them: the last one is computed for its logits.
static int keep_beginning(tn_cli_chat *chat, const int32_t *tokens, size_t n_tokens)
{
    size_t n = 0;
    while (n < chat->n_held && n + 1 < n_tokens && chat->held[n] == tokens[n]) n++;
    chat->n_held = n;
    return tn_session_seq_truncate(chat->engine.session, 0, (uint32_t)n) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

int tn_cli_chat_shorten(tn_cli_chat *chat)
{
    int32_t *tokens = NULL;
    size_t n = 0;
    int rc = 0;
    if (chat->conversation.n_messages > 0) rc = tn_cli_conversation_render(&chat->conversation, chat->engine.tokenizer, &tokens, &n);
    if (rc == 0) rc = keep_beginning(chat, tokens, n);
    free(tokens);
    return rc;
}

// Notes what the session holds now: as much of prompt and answer as it has positions.
static void note_held(tn_cli_chat *chat)
{
    size_t length = tn_session_seq_length(chat->engine.session, 0), n_prompt = chat->prompt.n_tokens;
    for (size_t i = chat->n_held; i < length; i++) {
        chat->held[i] = i < n_prompt ? chat->prompt.tokens[i] : chat->answer.tokens[i - n_prompt];
    }
    chat->n_held = length;
}

static int write_answer(tn_cli_chat *chat)
{
    const tn_cli *cli = chat->cli;
    bool coloured = cli->out.colour && !cli->json;
    tn_cli_generate_params params = {.sampler = &chat->sampling.sampler,
                                     .stops = (const char *const *)chat->sampling.stops,
                                     .n_stops = chat->sampling.n_stops,
                                     .special = tn_cli_given(&cli->options, TN_OPT_SPECIAL),
                                     .print = !cli->json,
                                     .n_known = chat->n_known};
    int rc = coloured ? tn_cli_print("\033[36m", 5) : 0;
    if (rc == 0) rc = tn_cli_generate(chat->cli, &chat->engine, &chat->prompt, &params, &chat->answer);
    int reset = coloured ? tn_cli_print("\033[0m", 4) : 0;
    if (rc == 0) rc = reset;
    if (rc == 0) {
        note_held(chat);
        return 0;
    }
    // What a failed step leaves is not worth knowing: the next answer begins from nothing.
    chat->n_held = 0;
    return tn_session_seq_truncate(chat->engine.session, 0, 0) == TN_OK ? rc : tn_cli_fail_status(NULL);
}

static void tell_end(const tn_cli_chat *chat)
{
    const tn_cli_answer *a = &chat->answer;
    char text[256];
    uint32_t n_ctx = chat->engine.session_info.n_ctx;
    if (a->stop == TN_CLI_STOP_CONTEXT) {
        snprintf(text, sizeof text, "the context is full (%u tokens) and the answer ends here: /undo takes turns back, /clear begins anew",
                 n_ctx);
        warn(text);
        return;
    }
    if (a->stop == TN_CLI_STOP_INTERRUPTED) tn_cli_note("[stopped]");
    if (a->stop == TN_CLI_STOP_LENGTH) tn_cli_note("[ended after %zu tokens by -n]", a->n_tokens);
    if (tn_cli_chat_is_filling(chat)) {
        tn_cli_note("[context: %zu of %u tokens are used, %.0f %%; /clear begins anew]", chat->n_held, n_ctx,
                    100.0 * (double)chat->n_held / (double)n_ctx);
    }
}

static int end_turn(tn_cli_chat *chat)
{
    const tn_cli_answer *a = &chat->answer;
    bool open_line = a->text_len > 0 && a->text[a->text_len - 1] != '\n';
    if (a->stop == TN_CLI_STOP_INTERRUPTED && a->n_tokens == 0) return 0;
    int rc = tn_cli_conversation_add_answer(&chat->conversation, a);
    if (!chat->editor || rc) return rc;
    if (open_line) rc = tn_cli_print("\n", 1);
    if (rc == 0) tell_end(chat);
    return rc;
}

int tn_cli_chat_answer(tn_cli_chat *chat, bool *out_answered)
{
    tn_cli_conversation *c = &chat->conversation;
    size_t question = c->n_messages - 1;
    tn_cli_answer_deinit(&chat->answer);
    tn_cli_prompt_deinit(&chat->prompt);
    chat->prompt.len = c->messages[question].text_len;
    chat->prompt.text = malloc(chat->prompt.len + 1);
    if (chat->prompt.text) memcpy(chat->prompt.text, c->messages[question].text, chat->prompt.len);
    int rc = chat->prompt.text ? 0 : tn_cli_out_of_memory();
    if (rc == 0) rc = tn_cli_conversation_render(c, chat->engine.tokenizer, &chat->prompt.tokens, &chat->prompt.n_tokens);
    if (rc == 0 && chat->prompt.n_tokens >= chat->engine.session_info.n_ctx) rc = does_not_fit(chat, chat->prompt.n_tokens);
    if (rc == 0) rc = keep_beginning(chat, chat->prompt.tokens, chat->prompt.n_tokens);
    chat->n_known = chat->n_held;
    if (rc == 0) rc = write_answer(chat);
    if (rc == 0) rc = end_turn(chat);
    if (rc) { // nothing ran that there are figures of
        tn_cli_conversation_cut(c, question + 1);
        tn_cli_prompt_deinit(&chat->prompt);
        chat->n_known = 0;
    }
    *out_answered = c->n_messages > question + 1;
    return rc;
}

int tn_cli_chat_ask(tn_cli_chat *chat)
{
    bool answered;
    size_t question = chat->conversation.n_messages - 1;
    int rc = tn_cli_chat_answer(chat, &answered);
    if (answered) return rc;
    tn_cli_conversation_cut(&chat->conversation, question);
    if (rc == 0) tn_cli_note("[stopped before the answer; the message is taken back]");
    return rc;
}
