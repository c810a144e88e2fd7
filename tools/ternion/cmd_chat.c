// ternion chat: a conversation with a model that was trained for it.
#include "chat.h"
#include "interrupt.h"
#include "output.h"
#include "plain.h"
#include "report.h"
#include "summary.h"
#include "two_stage_option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The template that --template names, else that of the file.
static int choose_template(tn_cli_chat *chat)
{
    const char *name = tn_cli_text(&chat->cli->options, TN_OPT_TEMPLATE);
    const tn_chat_template **chosen = &chat->conversation.chat_template;
    char word[500], command[600];
    if (!chat->engine.tokenizer) return tn_cli_fail(NULL, "%s has no tokenizer: use another file", chat->engine.path);
    if (name) return tn_chat_template_find(name, chosen) == TN_OK ? 0 : tn_cli_usage("--template: %s", tn_error_last()->message);
    tn_status status = tn_chat_template_detect(chat->engine.model, chosen);
    if (status == TN_OK) return 0;
    tn_cli_shell_word(chat->engine.path, word, sizeof word);
    if (status == TN_NOT_FOUND) {
        snprintf(command, sizeof command, "ternion run -m %s", word);
        return tn_cli_fail(command, "%s: %s with --template", chat->engine.path, tn_error_last()->message);
    }
    snprintf(command, sizeof command, "ternion chat -m %s --template NAME", word);
    return tn_cli_fail_status(command);
}

// The system message, and a first look at whether the vocabulary has what the template needs.
static int begin_conversation(tn_cli_chat *chat)
{
    const tn_cli_options *o = &chat->cli->options;
    const char *name = tn_chat_template_name(chat->conversation.chat_template), *system = tn_cli_text(o, TN_OPT_SYSTEM);
    static const char hello[] = "Hi";
    const tn_chat_message probe[] = {{TN_CHAT_USER, hello, 2, NULL, 0}, {TN_CHAT_ASSISTANT, hello, 2, NULL, 0}};
    char *text = NULL;
    size_t n = 0;
    if (tn_cli_given(o, TN_OPT_NO_THINK)) {
        if (!tn_chat_template_thinks(chat->conversation.chat_template))
            return tn_cli_usage("--no-think: the template %s has no thoughts", name);
        chat->conversation.flags = TN_CHAT_NO_THINKING;
    }
    if (tn_chat_render(chat->conversation.chat_template, chat->engine.tokenizer, probe, 2, TN_CHAT_ADD_GENERATION_PROMPT, NULL, 0, &n) !=
        TN_OK)
        return tn_cli_fail_status("ternion chat --template NAME");
    if (!system) return 0;
    int rc = tn_cli_unescape(chat->cli, system, &text, &n);
    if (rc == 0) rc = tn_cli_conversation_set_system(&chat->conversation, text, n);
    free(text);
    return rc;
}

// The first message: of -p, -f or a standard input that is no terminal. *out_none: somebody will type it.
static int first_message(tn_cli_chat *chat, bool *out_none)
{
    tn_cli_prompt prompt = {0};
    int rc = tn_cli_prompt_read(chat->cli, &prompt, TN_CLI_INPUT_MAX);
    *out_none = prompt.from_terminal;
    if (rc == 0 && !prompt.from_terminal) {
        if (prompt.from_file && prompt.len > 0 && prompt.text[prompt.len - 1] == '\n') prompt.len--;
        rc = prompt.len > 0 ? tn_cli_conversation_add(&chat->conversation, TN_CHAT_USER, prompt.text, prompt.len)
                            : tn_cli_fail("ternion chat -p TEXT", "the message is empty");
    }
    tn_cli_prompt_deinit(&prompt);
    return rc;
}

static int start_session(tn_cli_chat *chat)
{
    tn_cli *cli = chat->cli;
    tn_cli_prompt none = {0};
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = tn_cli_context(cli, &chat->engine);
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    int rc = tn_cli_prompt_check(cli, &chat->engine, &none, params.n_ctx);
    if (rc == 0) rc = tn_cli_sampling_read(cli, &chat->engine, &chat->sampling);
    if (rc == 0) rc = tn_cli_two_stage_for(cli, chat->engine.tokenizer, &chat->sampling.sampler, &params.two_stage);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, &chat->engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, &chat->engine, 1, params.n_ctx);
    if (rc) return rc;
    tn_cli_engine_note(&chat->engine, params.n_ctx);
    tn_cli_note("chat  template %s%s", tn_chat_template_name(chat->conversation.chat_template),
                isatty(STDIN_FILENO) ? "  /help shows the commands, Ctrl-D leaves" : "");
    rc = tn_cli_engine_start(cli, &chat->engine, params);
    if (rc) return rc;
    chat->held = malloc(((size_t)chat->engine.session_info.n_ctx + 1) * sizeof *chat->held);
    return chat->held ? 0 : tn_cli_out_of_memory();
}

static int prepare(tn_cli_chat *chat, bool *out_none)
{
    int rc = tn_cli_engine_find_model(chat->cli, &chat->engine);
    if (rc == 0) rc = tn_cli_engine_open_model(chat->cli, &chat->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = choose_template(chat);
    if (rc == 0) rc = begin_conversation(chat);
    if (rc == 0) rc = first_message(chat, out_none);
    if (rc == 0) rc = start_session(chat);
    if (rc == 0) tn_cli_interrupt_install_lasting(false);
    if (rc == 0 && chat->cli->verbosity > 0) tn_cli_note_sampling(&chat->sampling.sampler);
    return rc;
}

// Somebody types: one message or command. Sets `leaves`; returns the exit status for that.
static int next_input(tn_cli_chat *chat, bool single)
{
    char *text = NULL;
    bool command = false;
    tn_cli_line_result result = tn_cli_chat_read(chat, &text, &command);
    int rc = 0;
    if (result != TN_CLI_LINE_READ) {
        fputs("\n", stderr);
        chat->n_breaks = result == TN_CLI_LINE_INTERRUPTED ? chat->n_breaks + 1 : 0;
        chat->leaves = result != TN_CLI_LINE_INTERRUPTED || chat->n_breaks > 1;
        if (!chat->leaves) tn_cli_note("[Ctrl-C again, Ctrl-D or /exit leaves]");
        if (result == TN_CLI_LINE_FAILED) return tn_cli_fail(NULL, "cannot read from the terminal");
        return chat->n_breaks > 1 ? TN_CLI_INTERRUPTED : 0;
    }
    chat->n_breaks = 0;
    if (command) {
        tn_cli_chat_command(chat, text);
    } else if (text[strspn(text, " \t\n")]) {
        rc = tn_cli_conversation_add(&chat->conversation, TN_CHAT_USER, text, strlen(text));
        if (rc == 0) rc = tn_cli_chat_ask(chat);
        chat->leaves = single;
    }
    free(text);
    return single ? rc : 0; // what went wrong with one message was said, and the next may do better
}

// One turn for scripts: the answer on standard output, the summary on standard error.
static int report_single(tn_cli_chat *chat)
{
    const tn_cli_answer *a = &chat->answer;
    const char *name = tn_chat_template_name(chat->conversation.chat_template);
    bool ended = a->text_len == 0 || a->text[a->text_len - 1] == '\n';
    int rc = 0;
    if (chat->cli->json)
        rc = tn_cli_print_answer_json(&chat->engine, &chat->prompt, name, &chat->sampling.sampler, a);
    else if (!ended && !chat->editor && (isatty(STDOUT_FILENO) || (!chat->cli->quiet && tn_cli_one_output())))
        rc = tn_cli_print("\n", 1);
    if (rc) return rc;
    tn_cli_note_summary(&chat->engine, &chat->prompt, chat->sampling.sampler.seed, a);
    return a->stop == TN_CLI_STOP_INTERRUPTED ? TN_CLI_INTERRUPTED : TN_CLI_OK;
}

static int converse(tn_cli_chat *chat, bool none)
{
    tn_cli *cli = chat->cli;
    bool typed = isatty(STDIN_FILENO);
    bool single = !typed || cli->json || tn_cli_given(&cli->options, TN_OPT_SINGLE_TURN);
    int rc = 0;
    if (typed && (none || !single)) {
        chat->editor = tn_cli_line_edit_open(!tn_cli_given(&cli->options, TN_OPT_NO_HISTORY), cli->err.moves);
        if (!chat->editor) return tn_cli_out_of_memory();
    }
    if (!none) {
        rc = tn_cli_chat_ask(chat);
        chat->leaves = single;
    }
    while (!chat->leaves) {
        (void)tn_cli_interrupt_take(); // it was for the answer
        rc = next_input(chat, single);
    }
    return rc == 0 && single && chat->prompt.n_tokens > 0 ? report_single(chat) : rc;
}

int tn_cli_chat_verb(tn_cli *cli)
{
    tn_cli_chat chat = {.cli = cli};
    bool none = true;
    int rc = prepare(&chat, &none);
    if (rc == 0) rc = converse(&chat, none);
    tn_cli_line_edit_close(chat.editor);
    tn_cli_conversation_deinit(&chat.conversation);
    tn_cli_sampling_deinit(&chat.sampling);
    tn_cli_answer_deinit(&chat.answer);
    tn_cli_prompt_deinit(&chat.prompt);
    free(chat.held);
    tn_cli_engine_close(&chat.engine);
    return rc;
}
