// Messages of one or more lines: a line that ends with a backslash goes on, """ begins and ends a block, a pasted text is whole.
#include "chat.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTES "\"\"\""

typedef struct collected {
    char *text;
    size_t len;
} collected;

static bool append(collected *c, const char *text, size_t n)
{
    char *grown = realloc(c->text, c->len + n + 1);
    if (!grown) return false;
    c->text = grown;
    memcpy(c->text + c->len, text, n);
    c->len += n;
    c->text[c->len] = '\0';
    return true;
}

// Takes blanks and then `tail` off the end of a line of *len bytes; false, and *len as it was, where it does not end so.
static bool take_tail(const char *line, size_t *len, const char *tail)
{
    size_t n = *len, k = strlen(tail);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r')) n--;
    if (n < k || memcmp(line + n - k, tail, k) != 0) return false;
    *len = n - k;
    return true;
}

// Adds a line; *block: within """. Sets *done where the message ends with it.
static bool add_line(collected *c, const char *line, bool first, bool *block, bool *done)
{
    bool opens = first && strncmp(line, QUOTES, 3) == 0;
    if (opens) line += 3;
    size_t len = strlen(line);
    if (opens) *block = true;
    bool goes_on = *block ? !take_tail(line, &len, QUOTES) : take_tail(line, &len, "\\");
    bool nothing = opens && goes_on && len == 0; // the text begins in the next line
    *done = !goes_on;
    return append(c, line, len) && (!goes_on || nothing || append(c, "\n", 1));
}

static void make_prompt(const tn_cli_chat *chat, bool first, char *prompt, size_t capacity)
{
    if (!first)
        snprintf(prompt, capacity, ". ");
    else if (tn_cli_chat_is_filling(chat))
        snprintf(prompt, capacity, "%zu/%u > ", tn_cli_chat_used(chat), chat->engine.session_info.n_ctx);
    else
        snprintf(prompt, capacity, "> ");
}

tn_cli_line_result tn_cli_chat_read(tn_cli_chat *chat, char **out_text, bool *out_command)
{
    collected c = {0};
    char prompt[64];
    bool block = false, done = false;
    tn_cli_line_result result = TN_CLI_LINE_READ;
    for (bool first = true; !done && result == TN_CLI_LINE_READ; first = false) {
        char *line = NULL;
        make_prompt(chat, first, prompt, sizeof prompt);
        result = tn_cli_line_edit_read(chat->editor, prompt, chat->cli->err.colour, &line);
        if (result == TN_CLI_LINE_READ && !add_line(&c, line, first, &block, &done)) result = TN_CLI_LINE_FAILED;
        if (result == TN_CLI_LINE_END && !first) result = TN_CLI_LINE_INTERRUPTED; // Ctrl-D gives up the message, not the chat
        free(line);
    }
    if (result != TN_CLI_LINE_READ) {
        free(c.text);
        c.text = NULL;
    }
    bool slash = c.text && c.text[0] == '/' && !block && !strchr(c.text, '\n'), twice = slash && c.text[1] == '/';
    if (twice) memmove(c.text, c.text + 1, c.len);
    *out_command = slash && !twice;
    *out_text = c.text;
    return result;
}
