// ternion tokenize: text to tokens and back.
#include "json_out.h"
#include "numbers.h"
#include "output.h"
#include "prompt.h"
#include "report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The bytes of a token; the caller frees `*bytes`.
static int token_bytes(const tn_cli_engine *engine, int32_t token, bool special, char **bytes, size_t *len)
{
    *bytes = NULL;
    if (tn_tokenizer_decode_token(engine->tokenizer, token, special, NULL, 0, len) != TN_OK) return tn_cli_fail_status(NULL);
    *bytes = malloc(*len + 1);
    if (!*bytes) return tn_cli_out_of_memory();
    tn_status status = tn_tokenizer_decode_token(engine->tokenizer, token, special, *bytes, *len, len);
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// A piece of text on one line: control bytes and quotes are escaped, the rest is shown as it is.
static void print_piece(const char *bytes, size_t len)
{
    putchar('\'');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '\t')
            fputs("\\t", stdout);
        else if (c == '\r')
            fputs("\\r", stdout);
        else if (c == '\'' || c == '\\')
            printf("\\%c", c);
        else if (iscntrl(c))
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\'');
}

static int print_tokens(const tn_cli *cli, const tn_cli_engine *engine, const int32_t *tokens, size_t n)
{
    bool only_ids = tn_cli_given(&cli->options, TN_OPT_IDS);
    for (size_t i = 0; i < n; i++) {
        char *bytes = NULL;
        size_t len = 0;
        if (only_ids) {
            printf("%s%" PRId32, i ? " " : "", tokens[i]);
            continue;
        }
        int rc = token_bytes(engine, tokens[i], true, &bytes, &len);
        if (rc == 0 && bytes) {
            printf("%6" PRId32 " -> ", tokens[i]);
            print_piece(bytes, len);
            putchar('\n');
        }
        free(bytes);
        if (rc) return rc;
    }
    if (only_ids) putchar('\n');
    return 0;
}

static int print_json(const tn_cli_engine *engine, const int32_t *tokens, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char *bytes = NULL;
        size_t len = 0;
        int rc = token_bytes(engine, tokens[i], true, &bytes, &len);
        if (rc == 0) json_array_append_new(list, json_pack("{s:i, s:o}", "id", (int)tokens[i], "text", tn_cli_json_text(bytes, len)));
        free(bytes);
        if (rc) {
            json_decref(list);
            return rc;
        }
    }
    return tn_cli_json_print(json_pack("{s:o, s:s, s:I, s:o}", "model", tn_cli_json_text(engine->path, strlen(engine->path)), "pre",
                                       tn_tokenizer_pre(engine->tokenizer), "n_tokens", (json_int_t)n, "tokens", list));
}

static int print_text(const tn_cli *cli, const tn_cli_engine *engine, const int32_t *tokens, size_t n)
{
    bool special = tn_cli_given(&cli->options, TN_OPT_SPECIAL);
    size_t len = 0;
    if (tn_tokenizer_decode(engine->tokenizer, tokens, n, special, NULL, 0, &len) != TN_OK) return tn_cli_fail_status(NULL);
    char *text = malloc(len + 1);
    if (!text) return tn_cli_out_of_memory();
    int rc;
    if (tn_tokenizer_decode(engine->tokenizer, tokens, n, special, text, len, &len) != TN_OK) {
        rc = tn_cli_fail_status(NULL);
    } else if (cli->json) {
        rc = tn_cli_json_print(json_pack("{s:I, s:o}", "n_tokens", (json_int_t)n, "text", tn_cli_json_text(text, len)));
    } else {
        rc = tn_cli_print(text, len);
    }
    free(text);
    return rc;
}

static int detokenize(const tn_cli *cli, const tn_cli_engine *engine, const tn_cli_prompt *prompt)
{
    int32_t *ids = NULL;
    size_t n = 0;
    char why[160];
    bool good = tn_cli_parse_ids(prompt->text, prompt->len, &ids, &n, why, sizeof why);
    int rc = good ? print_text(cli, engine, ids, n)
                  : tn_cli_fail("ternion tokenize --ids -p TEXT", "the input is not a list of token ids: %s", why);
    free(ids);
    return rc;
}

static int work(tn_cli *cli, tn_cli_engine *engine, tn_cli_prompt *prompt)
{
    if (tn_cli_given(&cli->options, TN_OPT_DETOKENIZE) && tn_cli_given(&cli->options, TN_OPT_IDS)) {
        return tn_cli_usage("--detokenize writes text and --ids writes ids: leave one of them out");
    }
    int rc = tn_cli_prompt_read(cli, prompt, TN_CLI_INPUT_MAX);
    if (rc) return rc;
    if (prompt->from_terminal) return tn_cli_usage("there is no text: give one with -p, -f or on standard input");
    rc = tn_cli_engine_open_model(cli, engine, TN_MODEL_LOAD_TOKENIZER);
    if (rc) return rc;
    if (!engine->tokenizer) return tn_cli_fail(NULL, "%s has no tokenizer: use another file", engine->path);
    if (tn_cli_given(&cli->options, TN_OPT_DETOKENIZE)) return detokenize(cli, engine, prompt);
    rc = tn_cli_prompt_encode(cli, engine, prompt, tn_cli_given(&cli->options, TN_OPT_NO_BOS) ? 0 : TN_ENCODE_ADD_SPECIAL);
    if (rc) return rc;
    return cli->json ? print_json(engine, prompt->tokens, prompt->n_tokens) : print_tokens(cli, engine, prompt->tokens, prompt->n_tokens);
}

int tn_cli_tokenize(tn_cli *cli)
{
    tn_cli_engine engine = {0};
    tn_cli_prompt prompt = {0};
    int rc = work(cli, &engine, &prompt);
    tn_cli_prompt_deinit(&prompt);
    tn_cli_engine_close(&engine);
    return rc;
}
