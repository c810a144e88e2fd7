// The public API from C: parameter initialisers, statuses, and the sampler, which needs no model.
#include "ternion/ternion.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void expect(bool holds, const char *what)
{
    if (holds) return;
    failures++;
    fprintf(stderr, "use_api.c: does not hold: %s\n", what);
}

int main(void)
{
    const tn_model_params model_params = TN_MODEL_PARAMS_INIT;
    expect(model_params.struct_size == sizeof model_params && model_params.load == TN_MODEL_LOAD_ALL, "TN_MODEL_PARAMS_INIT");
    const tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    expect(session_params.struct_size == sizeof session_params && session_params.placement == NULL, "TN_SESSION_PARAMS_INIT");
    expect(strcmp(tn_version(), "0.1.0") == 0, "tn_version() is 0.1.0");
    expect(strcmp(tn_status_name(TN_BAD_FILE), "BAD_FILE") == 0, "tn_status_name");

    tn_model *model = NULL;
    expect(tn_model_open("/no/such/file.gguf", NULL, &model) == TN_NOT_FOUND && model == NULL, "a missing file is NOT_FOUND");
    expect(strstr(tn_error_last()->message, "/no/such/file.gguf") != NULL, "the message names the file");

    tn_sampler *sampler = NULL;
    tn_sampler_params params = tn_sampler_params_default();
    params.temperature = 0;
    const float logits[] = {0.5f, 2.0f, 1.0f};
    int32_t token = -1;
    expect(tn_sampler_create(&params, 3, &sampler) == TN_OK, "tn_sampler_create");
    expect(tn_sampler_sample(sampler, logits, 0, &token) == TN_OK && token == 1, "greedy takes the best");
    tn_sampler_destroy(sampler);
    return failures != 0;
}
