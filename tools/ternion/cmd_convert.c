// ternion convert: a checkpoint from Hugging Face to a GGUF file.
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

static int print_result(const tn_cli *cli, const tn_convert_params *params, uint64_t ns)
{
    struct stat status;
    char size[24], time[32];
    uint64_t bytes = stat(params->output_path, &status) == 0 ? (uint64_t)status.st_size : 0;
    tn_cli_format_bytes(bytes, size, sizeof size);
    tn_cli_format_seconds((double)ns * 1e-9, time, sizeof time);
    tn_cli_note("wrote %s  %s in %s", params->output_path, size, time);
    if (!cli->json) return 0;
    return tn_cli_json_print(
        json_pack("{s:o, s:o, s:s, s:s, s:I, s:f, s:I}", "input", tn_cli_json_text(params->input_dir, strlen(params->input_dir)), "output",
                  tn_cli_json_text(params->output_path, strlen(params->output_path)), "type", params->type, "embd", params->embd, "size",
                  (json_int_t)bytes, "seconds", (double)ns * 1e-9, "peak_rss_bytes", (json_int_t)tn_cli_peak_rss_bytes()));
}

int tn_cli_convert(tn_cli *cli)
{
    char command[700], in[300], out[300];
    struct stat status;
    tn_convert_params params = TN_CONVERT_PARAMS_INIT;
    params.input_dir = cli->options.positionals[0];
    params.output_path = cli->options.positionals[1];
    params.type = tn_cli_text(&cli->options, TN_OPT_TYPE);
    params.embd = tn_cli_text(&cli->options, TN_OPT_EMBD);
    params.overwrite = tn_cli_given(&cli->options, TN_OPT_OVERWRITE);
    params.log = tn_cli_log();
    params.progress = tn_cli_progress_hook(&cli->progress);
    if (strcmp(params.output_path, "-") == 0) return tn_cli_usage("convert writes a file, not standard output: name it");
    tn_cli_shell_word(params.input_dir, in, sizeof in);
    tn_cli_shell_word(params.output_path, out, sizeof out);
    if (stat(params.input_dir, &status) == 0 && !S_ISDIR(status.st_mode)) {
        return tn_cli_fail("ternion convert HF_DIR OUT.gguf",
                           "%s is not a folder: name the one that holds config.json, tokenizer.json and the weights", params.input_dir);
    }
    if (!params.overwrite && stat(params.output_path, &status) == 0) {
        snprintf(command, sizeof command, "ternion convert %s %s --overwrite", in, out);
        return tn_cli_fail(command, "%s exists: choose another name, or have it replaced", params.output_path);
    }
    tn_cli_interrupt_install();
    uint64_t begun_ns = tn_cli_now_ns();
    tn_status result = tn_convert(&params);
    tn_cli_progress_end(&cli->progress);
    int64_t number = result == TN_IO ? (int64_t)tn_error_last()->native_code : 0;
    bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    if (result != TN_OK) return tn_cli_fail_status(full ? "df -h" : "ternion convert --help");
    return print_result(cli, &params, tn_cli_now_ns() - begun_ns);
}
