// Lines by libedit; without it as the terminal itself gives them.
#include "line_edit.h"

#include "history.h"
#include "interrupt.h"
#include "report.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef TN_HAVE_LIBEDIT
#include <histedit.h>
#endif

struct tn_cli_line_edit {
    char history_path[4096]; // "": none
    bool warned;             // that the file cannot be written
    bool moves;
    char prompt[160];
#ifdef TN_HAVE_LIBEDIT
    EditLine *editor;
    History *history;
#endif
};

// Lines that begin with a blank are not remembered, as in shells.
static bool is_remembered(const char *line) { return line[0] != '\0' && line[0] != ' '; }

static void append_to_file(tn_cli_line_edit *edit, const char *line)
{
    int number = edit->history_path[0] ? tn_cli_history_append(edit->history_path, line) : 0;
    if (number == 0 || edit->warned) return;
    edit->warned = true;
    tn_cli_note("history: cannot write %s: %s", edit->history_path, strerror(number));
}

static tn_cli_line_result failed_read(void)
{
    int number = errno;
    if (tn_cli_interrupt_take()) return TN_CLI_LINE_INTERRUPTED;
    errno = number;
    return number == 0 ? TN_CLI_LINE_END : TN_CLI_LINE_FAILED;
}

#ifdef TN_HAVE_LIBEDIT

const char *tn_cli_line_edit_kind(void) { return "libedit"; }

static char *prompt_of(EditLine *editor)
{
    tn_cli_line_edit *edit = NULL;
    el_get(editor, EL_CLIENTDATA, &edit);
    return edit->prompt;
}

static void remember(void *user, const char *line)
{
    HistEvent event;
    tn_cli_line_edit *edit = user;
    history(edit->history, &event, H_ENTER, line);
}

// A terminal in bracketed paste mode sends ESC [ 200 ~ before a pasted text and ESC [ 201 ~ behind it: its newlines do not end the line.
static unsigned char insert_paste(EditLine *editor, int key)
{
    static const wchar_t end[] = L"\033[201~";
    enum { N_END = sizeof end / sizeof end[0] - 1 };
    wchar_t one, *text = NULL;
    size_t n = 0, capacity = 0, n_matched = 0;
    bool good = true;
    (void)key;
    // Without memory the rest is read all the same: it was not typed.
    while (n_matched < N_END && el_wgetc(editor, &one) == 1) {
        n_matched = one == end[n_matched] ? n_matched + 1 : one == end[0];
        if (good && n + 2 > capacity) {
            wchar_t *grown = realloc(text, (capacity = 2 * capacity + 256) * sizeof *text);
            good = grown != NULL;
            if (grown) text = grown;
        }
        if (good) text[n++] = one == L'\r' ? L'\n' : one;
    }
    if (good && n_matched == N_END) n -= N_END;
    if (good && n > 0) {
        text[n] = L'\0';
        good = el_winsertstr(editor, text) == 0;
    }
    free(text);
    return good ? CC_REFRESH : CC_REFRESH_BEEP;
}

static bool start_editor(tn_cli_line_edit *edit)
{
    HistEvent event;
    edit->history = history_init();
    edit->editor = el_init("ternion", stdin, stderr, stderr);
    if (!edit->history || !edit->editor) return false;
    history(edit->history, &event, H_SETSIZE, TN_CLI_HISTORY_MAX);
    history(edit->history, &event, H_SETUNIQUE, 1);
    el_set(edit->editor, EL_CLIENTDATA, edit);
    el_set(edit->editor, EL_PROMPT_ESC, prompt_of, '\1');
    el_set(edit->editor, EL_EDITOR, "emacs");
    el_set(edit->editor, EL_HIST, history, edit->history);
    el_wset(edit->editor, EL_ADDFN, L"tn-paste", L"Insert a pasted text", insert_paste); // el_set would leak its copies of the names
    el_set(edit->editor, EL_BIND, "^[[200~", "tn-paste", NULL);
    el_set(edit->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(edit->editor, EL_BIND, "^[[3~", "ed-delete-next-char", NULL);
    el_set(edit->editor, EL_BIND, "^[[1;5D", "ed-prev-word", NULL);
    el_set(edit->editor, EL_BIND, "^[[1;5C", "em-next-word", NULL);
    el_source(edit->editor, NULL); // the user's own ~/.editrc
    if (edit->history_path[0]) tn_cli_history_load(edit->history_path, remember, edit);
    return true;
}

static void stop_editor(tn_cli_line_edit *edit)
{
    if (edit->editor) el_end(edit->editor);
    if (edit->history) history_end(edit->history);
}

tn_cli_line_result tn_cli_line_edit_read(tn_cli_line_edit *edit, const char *prompt, bool colour, char **out_line)
{
    int n = 0;
    *out_line = NULL;
    snprintf(edit->prompt, sizeof edit->prompt, colour ? "\1\033[1;32m\1%s\1\033[0m\1" : "%s", prompt);
    if (tn_cli_interrupt_take()) return TN_CLI_LINE_INTERRUPTED;
    tn_cli_interrupt_install_lasting(true);
    el_resize(edit->editor); // windows change while an answer is written
    if (edit->moves) fputs("\033[?2004h", stderr);
    fflush(stderr);
    errno = 0;
    const char *line = el_gets(edit->editor, &n);
    int number = errno;
    if (edit->moves) fputs("\033[?2004l", stderr);
    fflush(stderr);
    tn_cli_interrupt_install_lasting(false);
    errno = n < 0 ? number : 0;
    if (!line || n <= 0) return failed_read();
    *out_line = strndup(line, (size_t)n);
    if (!*out_line) return TN_CLI_LINE_FAILED;
    if (n > 0 && line[n - 1] == '\n') (*out_line)[n - 1] = '\0';
    if (!is_remembered(*out_line)) return TN_CLI_LINE_READ;
    remember(edit, *out_line);
    append_to_file(edit, *out_line);
    return TN_CLI_LINE_READ;
}

#else

const char *tn_cli_line_edit_kind(void) { return "plain lines"; }

static bool start_editor(tn_cli_line_edit *edit) { return edit != NULL; }
static void stop_editor(tn_cli_line_edit *edit) { (void)edit; }

tn_cli_line_result tn_cli_line_edit_read(tn_cli_line_edit *edit, const char *prompt, bool colour, char **out_line)
{
    size_t capacity = 0;
    *out_line = NULL;
    if (tn_cli_interrupt_take()) return TN_CLI_LINE_INTERRUPTED;
    fprintf(stderr, colour ? "\033[1;32m%s\033[0m" : "%s", prompt);
    fflush(stderr);
    tn_cli_interrupt_install_lasting(true);
    errno = 0;
    ssize_t n = getline(out_line, &capacity, stdin);
    int number = ferror(stdin) ? errno : 0;
    clearerr(stdin);
    tn_cli_interrupt_install_lasting(false);
    errno = number;
    if (n < 0) {
        free(*out_line);
        *out_line = NULL;
        return failed_read();
    }
    (*out_line)[strcspn(*out_line, "\n")] = '\0';
    if (is_remembered(*out_line)) append_to_file(edit, *out_line);
    return TN_CLI_LINE_READ;
}

#endif

tn_cli_line_edit *tn_cli_line_edit_open(bool wants_history, bool moves)
{
    tn_cli_line_edit *edit = calloc(1, sizeof *edit);
    if (!edit) return NULL;
    edit->moves = moves;
    // Lines are characters of UTF-8, also where the environment names no such locale.
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
    if (wants_history && !tn_cli_history_path(edit->history_path, sizeof edit->history_path)) {
        edit->history_path[0] = '\0';
        tn_cli_note("history: there is no place for it; set XDG_STATE_HOME or HOME, or say --no-history");
    }
    if (start_editor(edit)) return edit;
    tn_cli_line_edit_close(edit);
    return NULL;
}

void tn_cli_line_edit_close(tn_cli_line_edit *edit)
{
    if (!edit) return;
    stop_editor(edit);
    free(edit);
}
