// The search for the first op whose bits differ, with both subjects traced.
#include "compare_difference.h"

#include "compare_exact.h"
#include "report.h"

#include <string.h>

// A side of the search: the same host and placement, and a session with a trace.
typedef struct traced_side {
    tn_cli_compare *job;
    tn_cli_compare_subject *subject;
    uint32_t n_tokens;
} traced_side;

static tn_status open_traced(void *user, tn_trace trace, tn_session **out_session)
{
    const traced_side *side = user;
    const tn_cli_compare *job = side->job;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = side->subject->engine.placement;
    params.n_ctx = side->n_tokens > job->n_context ? side->n_tokens : job->n_context;
    params.n_ubatch = (uint32_t)tn_cli_int(&job->cli->options, TN_OPT_UBATCH);
    params.may_shrink_ubatch = true;
    params.n_logits_max = job->n_rows_max;
    params.trace = trace;
    params.log = tn_cli_log();
    params.head = tn_cli_text(&job->cli->options, TN_OPT_HEAD);
    params.numerics = tn_cli_text(&job->cli->options, TN_OPT_NUMERICS);
    params.no_recovery = true;
    return tn_session_create(job->engine.model, side->subject->engine.host, &params, out_session);
}

static json_t *place_json(const tn_cli_compare_place *place, const tn_cli_exact_result *found)
{
    char value[TN_CLI_EXACT_VALUE], reference[TN_CLI_EXACT_VALUE];
    const bool has_values = found->kind == TN_CLI_EXACT_PARTED || found->kind == TN_CLI_EXACT_UNTRACED;
    const bool has_place = has_values || found->kind == TN_CLI_EXACT_UNSTABLE;
    tn_cli_exact_value(found->values[1], value);
    tn_cli_exact_value(found->values[0], reference);
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "token",
                     (json_int_t)(has_place ? found->token : place->first_token + place->position), "position",
                     (json_int_t)(has_place ? found->position : place->position), "layer",
                     has_place ? json_integer(found->layer) : json_null(), "op", has_place ? json_string(found->op) : json_null(),
                     "element", has_values ? json_integer(found->element) : json_null(), "value",
                     has_values ? json_string(value) : json_null(), "reference", has_values ? json_string(reference) : json_null());
}

int tn_cli_compare_find_difference(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject,
                                   const tn_cli_compare_place *place, json_t *accuracy)
{
    traced_side sides[2] = {{job, reference, place->n_tokens}, {job, subject, place->n_tokens}};
    const tn_cli_exact_request request = {
        .sides = {{reference->name, open_traced, NULL, &sides[0]}, {subject->name, open_traced, NULL, &sides[1]}},
        .tokens = place->tokens,
        .n_tokens = place->n_tokens,
        .first_token = place->first_token,
        .n_feed = place->n_feed,
        .progress = tn_cli_progress_hook(&job->cli->progress)};
    tn_cli_exact_result found;
    char sentence[1400];
    tn_cli_exact_find(&request, &found);
    tn_cli_progress_end(&job->cli->progress);
    if (found.kind == TN_CLI_EXACT_FAILED && found.status == TN_CANCELLED) return tn_cli_stopped();
    if (found.kind == TN_CLI_EXACT_SAME && place->found_in)
        snprintf(sentence, sizeof sentence, "%s", place->found_in);
    else
        tn_cli_exact_sentence(&request, &found, sentence, sizeof sentence);
    tn_cli_warn("%s", sentence);
    json_object_set_new(accuracy, "first_difference", place_json(place, &found));
    json_object_set_new(subject->json, "status", json_string("different"));
    json_object_set_new(subject->json, "reason", tn_cli_json_text(sentence, strlen(sentence)));
    subject->differs = true;
    return 0;
}
