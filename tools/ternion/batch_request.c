// A batch line's frame: who asks, what for, and of which API.
#include "batch_fields.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUSTOM_ID_BYTES_MAX = 512 };

static const char byte_order_mark[] = "\xef\xbb\xbf"; // that some editors put in front of a file

static json_t *parse(const char *text, size_t len, tn_cli_batch_error *error)
{
    json_error_t found;
    tn_cli_json_begin(); // what a line before had no memory for says nothing of this one
    json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &found);
    if (line && tn_cli_json_complete()) return line;
    json_decref(line);
    if (!tn_cli_json_complete()) // jansson also shortens a text that it had no memory for
        tn_cli_batch_no_memory(error);
    else
        tn_cli_batch_refuse(error, "invalid_json", NULL, "the line is no JSON object: %s, at byte %d", found.text, found.position);
    return NULL;
}

static bool missing(tn_cli_batch_error *error, const char *name, const char *wanted)
{
    return tn_cli_batch_refuse(error, "missing_required_parameter", name, "'%s' is missing: it must be %s", name, wanted);
}

static bool read_custom_id(const json_t *line, tn_cli_batch_request *request, tn_cli_batch_error *error)
{
    json_t *id = json_object_get(line, "custom_id");
    const size_t len = json_is_string(id) ? json_string_length(id) : 0;
    if (!id || json_is_null(id)) return missing(error, "custom_id", "a text that tells the line's result from others");
    if (len == 0 || len > CUSTOM_ID_BYTES_MAX)
        return tn_cli_batch_wrong(error, "custom_id", id, "a string of 1 to %d bytes", (int)CUSTOM_ID_BYTES_MAX);
    request->custom_id = json_incref(id);
    return true;
}

static bool read_method(const json_t *line, tn_cli_batch_error *error)
{
    const json_t *method = json_object_get(line, "method");
    if (!method || json_is_null(method)) return missing(error, "method", "\"POST\"");
    if (json_is_string(method) && strcmp(json_string_value(method), "POST") == 0) return true;
    return tn_cli_batch_wrong(error, "method", method, "\"POST\"");
}

static bool read_url(const json_t *line, tn_cli_batch_kind *kind, tn_cli_batch_error *error)
{
    static const char wanted[] = "\"/v1/completions\" or \"/v1/chat/completions\"";
    const json_t *url = json_object_get(line, "url");
    const char *text = json_string_value(url);
    if (!url || json_is_null(url)) return missing(error, "url", wanted);
    *kind = text && strcmp(text, "/v1/chat/completions") == 0 ? TN_CLI_BATCH_CHAT : TN_CLI_BATCH_COMPLETION;
    if (*kind == TN_CLI_BATCH_CHAT || (text && strcmp(text, "/v1/completions") == 0)) return true;
    tn_cli_batch_wrong(error, "url", url, "%s", wanted);
    if (text) snprintf(error->code, sizeof error->code, "unknown_url");
    return false;
}

static void note_unknown_keys(tn_cli_batch_context *context, uint64_t number, json_t *line)
{
    static const char *const known[] = {"custom_id", "method", "url", "body"};
    const char *key;
    json_t *value;
    json_object_foreach(line, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(key, known[i]) != 0) i++;
        if (i == sizeof known / sizeof known[0] && !json_is_null(value))
            tn_cli_batch_note_unknown(context, number, key, "those beside 'body'");
    }
}

// Whether `name` means the loaded model: by its own name or that of its file.
static bool is_loaded(const tn_cli_engine *engine, const char *name)
{
    const char *slash = strrchr(engine->path, '/'), *file = slash ? slash + 1 : engine->path;
    const char *suffix = strrchr(file, '.');
    const size_t stem = suffix ? (size_t)(suffix - file) : strlen(file);
    return strcmp(name, engine->info.name) == 0 || strcmp(name, engine->path) == 0 || strcmp(name, file) == 0 ||
           (strlen(name) == stem && strncmp(name, file, stem) == 0);
}

static void note_model(tn_cli_batch_context *context, uint64_t number, const char *name)
{
    if (!name || context->notes.model_noted || is_loaded(context->engine, name)) return;
    context->notes.model_noted = true;
    tn_cli_warn("line %" PRIu64 " asks for the model '%.100s', but all lines are answered by '%s'", number, name,
                context->engine->info.name);
}

static bool read_body(tn_cli_batch_body *body, const json_t *line)
{
    json_t *object = json_object_get(line, "body");
    if (!object || json_is_null(object)) return missing(body->error, "body", "an object, with what is asked for");
    if (!json_is_object(object)) return tn_cli_batch_wrong(body->error, "body", object, "an object");
    if (!tn_cli_batch_read_params(body, object) || !tn_cli_batch_apply_params(body)) return false;
    note_model(body->context, body->number, body->request->model);
    return body->request->kind == TN_CLI_BATCH_CHAT ? tn_cli_batch_read_messages(body) : tn_cli_batch_read_prompts(body);
}

static bool read_line(tn_cli_batch_body *body, json_t *line)
{
    if (!json_is_object(line))
        return tn_cli_batch_refuse(body->error, "invalid_json", NULL, "the line is JSON, but no object: it must be {\"custom_id\": ...}");
    if (!read_custom_id(line, body->request, body->error)) return false;
    note_unknown_keys(body->context, body->number, line);
    if (!read_method(line, body->error) || !read_url(line, &body->request->kind, body->error)) return false;
    return read_body(body, line);
}

static void free_parts(tn_cli_batch_request *request)
{
    for (size_t i = 0; request->stops && i < request->params.n_stops; i++) free(request->stops[i]);
    for (size_t i = 0; request->prompts && i < request->n_prompts; i++) free(request->prompts[i]);
    free(request->stops);
    free(request->prompts);
    free(request->n_prompt_tokens);
    free(request->bias);
}

bool tn_cli_batch_request_parse(tn_cli_batch_context *context, uint64_t number, const char *text, size_t len, tn_cli_batch_request *request,
                                tn_cli_batch_error *error)
{
    tn_cli_batch_body body = {.context = context, .request = request, .error = error, .number = number};
    const size_t n_mark = sizeof byte_order_mark - 1;
    memset(error, 0, sizeof *error);
    *request = (tn_cli_batch_request){.params = TN_REQUEST_PARAMS_INIT};
    if (number == 1 && len >= n_mark && memcmp(text, byte_order_mark, n_mark) == 0) {
        text += n_mark;
        len -= n_mark;
    }
    json_t *line = parse(text, len, error);
    const bool good = line && read_line(&body, line);
    json_decref(line);
    if (good) return true;
    free_parts(request);
    *request = (tn_cli_batch_request){.kind = request->kind, .custom_id = request->custom_id, .model = request->model};
    return false;
}

void tn_cli_batch_request_deinit(tn_cli_batch_request *request)
{
    free_parts(request);
    json_decref(request->custom_id);
    free(request->model);
    memset(request, 0, sizeof *request);
}
