// The commands that begin with a slash.
#include "chat.h"
#include "interrupt.h"
#include "options.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *argument;
    void (*run)(tn_cli_chat *chat, const char *argument);
    const char *help;
} command;

static void print_help(tn_cli_chat *chat, const char *argument);

static void set_system(tn_cli_chat *chat, const char *argument)
{
    const tn_cli_conversation *c = &chat->conversation;
    char shown[1200];
    if (*argument) {
        if (tn_cli_conversation_set_system(&chat->conversation, argument, strlen(argument)) == 0)
            tn_cli_tell("[the system message is set]");
    } else if (tn_cli_conversation_has_system(c)) {
        tn_cli_tell("system: %s", tn_cli_plain(c->messages[0].text, c->messages[0].text_len, shown, sizeof shown));
    } else {
        tn_cli_tell("[there is no system message]");
    }
}

static void clear(tn_cli_chat *chat, const char *argument)
{
    (void)argument;
    tn_cli_conversation_cut(&chat->conversation, tn_cli_conversation_has_system(&chat->conversation));
    (void)tn_cli_chat_shorten(chat);
    tn_cli_tell("[the conversation is empty%s]", chat->conversation.n_messages ? " but for the system message" : "");
}

static void undo(tn_cli_chat *chat, const char *argument)
{
    size_t question = tn_cli_conversation_last_question(&chat->conversation);
    (void)argument;
    if (question == chat->conversation.n_messages) {
        tn_cli_tell("[there is no turn to take back]");
        return;
    }
    tn_cli_conversation_cut(&chat->conversation, question);
    (void)tn_cli_chat_shorten(chat);
    tn_cli_tell("[the last turn is taken back; %zu messages are left]", chat->conversation.n_messages);
}

// Another answer to the same message: with the same seed, it is the next sequence of numbers that makes it another one.
static void regenerate(tn_cli_chat *chat, const char *argument)
{
    size_t question = tn_cli_conversation_last_question(&chat->conversation);
    (void)argument;
    if (question == chat->conversation.n_messages) {
        tn_cli_tell("[there is no answer to write again]");
        return;
    }
    tn_cli_conversation old;
    bool answered;
    if (tn_cli_conversation_split(&chat->conversation, question + 1, &old) != 0) return;
    chat->sampling.sampler.sequence++;
    (void)tn_cli_chat_answer(chat, &answered);
    if (!answered) {
        tn_cli_conversation_join(&chat->conversation, &old);
        tn_cli_tell("[there is no new answer; the turn stays as it was]");
    }
    tn_cli_conversation_deinit(&old);
    (void)tn_cli_interrupt_take();
}

static void print_stats(tn_cli_chat *chat, const char *argument)
{
    const tn_cli_answer *a = &chat->answer;
    uint32_t n_ctx = chat->engine.session_info.n_ctx;
    size_t n_new = chat->prompt.n_tokens - chat->n_known;
    char prompt_time[32], reply_time[32];
    (void)argument;
    if (chat->prompt.n_tokens > 0) {
        tn_cli_format_seconds((double)a->prompt_ns * 1e-9, prompt_time, sizeof prompt_time);
        tn_cli_format_seconds((double)a->reply_ns * 1e-9, reply_time, sizeof reply_time);
        tn_cli_tell("last prompt  %zu tokens, %zu of them new, %s, %.1f t/s", chat->prompt.n_tokens, n_new, prompt_time,
                    tn_cli_rate(n_new, a->prompt_ns));
        tn_cli_tell("last answer  %zu tokens, %s, %.1f t/s", a->n_tokens, reply_time, tn_cli_rate(a->n_decoded, a->reply_ns));
    }
    tn_cli_tell("context      %zu of %u tokens, %.0f %%", chat->n_held, n_ctx, 100.0 * (double)chat->n_held / (double)n_ctx);
    tn_cli_tell("messages     %zu, template %s", chat->conversation.n_messages, tn_chat_template_name(chat->conversation.chat_template));
}

// Whether a row of the option table may be changed while a chat runs.
static bool is_setting(const tn_cli_option *option)
{
    bool number = option->kind == TN_CLI_INT || option->kind == TN_CLI_REAL;
    bool group = strcmp(option->group, "Sampling") == 0 || strcmp(option->group, "Reply") == 0;
    return (option->verbs & 1u << TN_VERB_CHAT) && number && group;
}

static void print_settings(const tn_cli_chat *chat)
{
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        const tn_cli_value *value = &chat->cli->options.values[row];
        const char *name = option->names[0][1] || !option->names[1] ? option->names[0] : option->names[1];
        if (!is_setting(option)) continue;
        if (option->kind == TN_CLI_INT)
            tn_cli_tell("  %-18s %lld", name, (long long)value->integer);
        else
            tn_cli_tell("  %-18s %g", name, value->real);
    }
    if (tn_chat_template_thinks(chat->conversation.chat_template))
        tn_cli_tell("  %-18s %s", "think", chat->conversation.flags & TN_CHAT_NO_THINKING ? "off" : "on");
}

static void set_thinking(tn_cli_chat *chat, const char *value)
{
    bool on = strcmp(value, "on") == 0;
    if (!tn_chat_template_thinks(chat->conversation.chat_template))
        tn_cli_fail("/set", "the template %s has no thoughts", tn_chat_template_name(chat->conversation.chat_template));
    else if (!on && strcmp(value, "off") != 0)
        tn_cli_fail("/set think off", "think: '%s' is not one of on|off", value);
    else
        chat->conversation.flags = on ? 0 : TN_CHAT_NO_THINKING;
}

static bool names_setting(const char *name)
{
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        for (size_t i = 0; is_setting(option) && i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
            if (strcmp(option->names[i], name) == 0) return true;
        }
    }
    return false;
}

static void set_value(tn_cli_chat *chat, const char *argument)
{
    char name[40];
    size_t n = strcspn(argument, " \t"), rest = n + strspn(argument + n, " \t");
    const char *value = argument + rest;
    if (!*argument) {
        print_settings(chat);
        return;
    }
    while (*argument == '-') argument++, n--; // as on the command line
    snprintf(name, sizeof name, "%.*s", (int)n, argument);
    if (strcmp(name, "think") == 0) {
        set_thinking(chat, value);
        return;
    }
    if (!names_setting(name) || !*value) {
        tn_cli_fail("/set", "%s", *value ? "there is no such setting" : "a value is missing, as in /set temp 0.7");
        return;
    }
    tn_cli_options before = chat->cli->options; // its arrays stay where they are
    tn_cli_sampling sampling = {0};
    int rc = tn_cli_options_set_number(&chat->cli->options, TN_VERB_CHAT, name, value);
    if (rc == 0) rc = tn_cli_sampling_read(chat->cli, &chat->engine, &sampling);
    if (rc) {
        chat->cli->options = before;
        tn_cli_sampling_deinit(&sampling);
        return;
    }
    tn_cli_sampling_deinit(&chat->sampling);
    chat->sampling = sampling;
    tn_cli_tell("[%s is %s]", name, value);
}

static void save(tn_cli_chat *chat, const char *argument)
{
    if (!*argument)
        tn_cli_fail("/save FILE", "the name of the file is missing");
    else if (tn_cli_conversation_save(&chat->conversation, argument) == 0)
        tn_cli_tell("[saved to %s]", argument);
}

static void load(tn_cli_chat *chat, const char *argument)
{
    if (!*argument)
        tn_cli_fail("/load FILE", "the name of the file is missing");
    else if (tn_cli_conversation_load(&chat->conversation, argument) == 0 && tn_cli_chat_shorten(chat) == 0)
        tn_cli_tell("[%zu messages from %s]", chat->conversation.n_messages, argument);
}

static void leave(tn_cli_chat *chat, const char *argument)
{
    (void)argument;
    chat->leaves = true;
}

static const command commands[] = {
    {"help", "", print_help, "show this"},
    {"system", "[TEXT]", set_system, "set the system message, or show it"},
    {"clear", "", clear, "forget the conversation; the system message stays"},
    {"undo", "", undo, "take the last turn back"},
    {"regen", "", regenerate, "answer the last message again, in another way"},
    {"set", "[NAME VALUE]", set_value, "change a flag of sampling (temp 0.7), or show them"},
    {"stats", "", print_stats, "speed of the last answer, and the context in use"},
    {"save", "FILE", save, "write the conversation to a new JSON file"},
    {"load", "FILE", load, "go on with a saved conversation"},
    {"exit", "", leave, "leave; so does Ctrl-D"},
};

static void print_help(tn_cli_chat *chat, const char *argument)
{
    char left[40];
    (void)chat;
    (void)argument;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        snprintf(left, sizeof left, "/%s %s", commands[i].name, commands[i].argument);
        tn_cli_tell("  %-20s %s", left, commands[i].help);
    }
    tn_cli_tell("  %-20s %s", "\\ at a line's end", "the message goes on in the next line");
    tn_cli_tell("  %-20s %s", "\"\"\" ... \"\"\"", "a message of many lines; pasted texts need no quotes");
    tn_cli_tell("  %-20s %s", "//...", "a message that begins with a slash");
    tn_cli_tell("  %-20s %s", "Ctrl-C", "stop the answer; at the prompt, drop the line, and twice: leave");
}

void tn_cli_chat_command(tn_cli_chat *chat, const char *text)
{
    static const char *const others[][2] = {{"reset", "clear"}, {"quit", "exit"}, {"bye", "exit"}, {"?", "help"}, {"regenerate", "regen"}};
    char name[24], shown[80];
    size_t n = strcspn(text + 1, " \t\n");
    const char *argument = text + 1 + n + strspn(text + 1 + n, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), text + 1);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(name, others[i][0]) == 0) snprintf(name, sizeof name, "%s", others[i][1]);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (n < sizeof name && strcmp(name, commands[i].name) == 0) {
            commands[i].run(chat, argument);
            return;
        }
    }
    tn_cli_fail("/help", "there is no command %s; a message that begins with a slash is written with two",
                tn_cli_plain(text, n + 1 < 60 ? n + 1 : 60, shown, sizeof shown));
}
