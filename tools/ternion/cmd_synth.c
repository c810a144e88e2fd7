// ternion synth: a random model of a real shape.
#include "cli.h"
#include "interrupt.h"
#include "json_out.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int print_result(const tn_cli *cli, const tn_synth_params *params, uint64_t ns)
{
    struct stat status;
    char size[24], time[32], rate[24];
    uint64_t bytes = stat(params->output_path, &status) == 0 ? (uint64_t)status.st_size : 0;
    tn_cli_format_bytes(bytes, size, sizeof size);
    tn_cli_format_seconds((double)ns * 1e-9, time, sizeof time);
    tn_cli_format_bytes((uint64_t)tn_cli_rate(bytes, ns), rate, sizeof rate);
    tn_cli_note("wrote %s  %s in %s (%s/s)", params->output_path, size, time, rate);
    if (!cli->json) return 0;
    return tn_cli_json_print(json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:f, s:I}", "shape", params->shape, "output",
                                       tn_cli_json_text(params->output_path, strlen(params->output_path)), "type", params->type, "embd",
                                       params->embd, "seed", (json_int_t)params->seed, "size", (json_int_t)bytes, "seconds",
                                       (double)ns * 1e-9, "peak_rss_bytes", (json_int_t)tn_cli_peak_rss_bytes()));
}

static uint32_t size_of(const tn_cli *cli, tn_cli_option_id id)
{
    return tn_cli_given(&cli->options, id) ? (uint32_t)tn_cli_int(&cli->options, id) : 0;
}

static void read_flags(const tn_cli *cli, tn_synth_params *params)
{
    params->shape = cli->options.positionals[0];
    params->output_path = cli->options.positionals[1];
    params->type = tn_cli_text(&cli->options, TN_OPT_SYNTH_TYPE);
    params->embd = tn_cli_text(&cli->options, TN_OPT_SYNTH_EMBD);
    params->arch = tn_cli_text(&cli->options, TN_OPT_SYNTH_ARCH);
    params->seed = (uint64_t)tn_cli_int(&cli->options, TN_OPT_SYNTH_SEED);
    params->n_layers = size_of(cli, TN_OPT_SYNTH_LAYERS);
    params->n_embd = size_of(cli, TN_OPT_SYNTH_WIDTH);
    params->n_ff = size_of(cli, TN_OPT_SYNTH_FF);
    params->n_heads = size_of(cli, TN_OPT_SYNTH_HEADS);
    params->n_kv_heads = size_of(cli, TN_OPT_SYNTH_KV_HEADS);
    params->head_dim = size_of(cli, TN_OPT_SYNTH_HEAD_DIM);
    params->n_vocab = size_of(cli, TN_OPT_SYNTH_VOCAB);
    params->n_ctx = size_of(cli, TN_OPT_SYNTH_CTX);
    if (tn_cli_given(&cli->options, TN_OPT_SYNTH_TIED)) params->head = TN_SYNTH_HEAD_TIED;
    if (tn_cli_given(&cli->options, TN_OPT_SYNTH_UNTIED)) params->head = TN_SYNTH_HEAD_OWN;
    params->overwrite = tn_cli_given(&cli->options, TN_OPT_OVERWRITE);
    params->log = tn_cli_log();
}

int tn_cli_synth(tn_cli *cli)
{
    char command[700], out[300];
    struct stat status;
    tn_synth_params params = TN_SYNTH_PARAMS_INIT;
    read_flags(cli, &params);
    params.progress = tn_cli_progress_hook(&cli->progress);
    if (tn_cli_given(&cli->options, TN_OPT_SYNTH_TIED) && tn_cli_given(&cli->options, TN_OPT_SYNTH_UNTIED))
        return tn_cli_usage("--tied and --untied exclude each other");
    if (strcmp(params.output_path, "-") == 0) return tn_cli_usage("synth writes a file, not standard output: name it");
    if (!params.overwrite && stat(params.output_path, &status) == 0) {
        tn_cli_shell_word(params.output_path, out, sizeof out);
        snprintf(command, sizeof command, "ternion synth %.100s %s --overwrite", params.shape, out);
        return tn_cli_fail(command, "%s exists: choose another name, or have it replaced", params.output_path);
    }
    tn_cli_interrupt_install();
    uint64_t begun_ns = tn_cli_now_ns();
    tn_status result = tn_synth(&params);
    tn_cli_progress_end(&cli->progress);
    int64_t number = result == TN_IO ? (int64_t)tn_error_last()->native_code : 0;
    bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    if (result != TN_OK) return tn_cli_fail_status(full ? "df -h" : "ternion synth --help");
    return print_result(cli, &params, tn_cli_now_ns() - begun_ns);
}
