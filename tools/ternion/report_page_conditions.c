// Under which conditions all was measured, and what may have disturbed it.
#include "report_page_parts.h"

#include <math.h>
#include <string.h>

static void begin_item(FILE *out, const char *name) { fprintf(out, "<dt>%s</dt><dd>", name); }

static void put_word(FILE *out, const char *name, const json_t *object, const char *key)
{
    begin_item(out, name);
    tn_cli_page_word(out, object, key);
    fputs("</dd>\n", out);
}

static void put_before_and_after(FILE *out, const json_t *machine, const char *name, const char *before, const char *after,
                                 tn_cli_page_form form, const char *unit)
{
    begin_item(out, name);
    tn_cli_page_figure(out, machine, before, form, "/machine");
    fprintf(out, "%s before, ", unit);
    tn_cli_page_figure(out, machine, after, form, "/machine");
    fprintf(out, "%s after</dd>\n", unit);
}

static void write_machine(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *machine = tn_cli_page_field(page->root, "machine"), *settings = tn_cli_page_field(page->root, "settings");
    fputs("<dl>\n", out);
    put_word(out, "Processor", machine, "cpu");
    begin_item(out, "Cores");
    tn_cli_page_figure(out, machine, "n_cores", TN_PAGE_COUNT, "/machine");
    fputs(" cores, ", out);
    tn_cli_page_figure(out, machine, "n_processors", TN_PAGE_COUNT, "/machine");
    fputs(" processors</dd>\n", out);
    begin_item(out, "Memory");
    tn_cli_page_figure(out, machine, "memory_bytes", TN_PAGE_BYTES, "/machine");
    fputs("</dd>\n", out);
    put_word(out, "Kernel", machine, "kernel");
    put_word(out, "Governor", machine, "governor");
    put_before_and_after(out, machine, "Clock", "clock_mhz_before", "clock_mhz_after", TN_PAGE_COUNT, " MHz");
    put_before_and_after(out, machine, "Load", "load_before", "load_after", TN_PAGE_RATE, "");
    put_before_and_after(out, machine, "Temperature", "celsius_before", "celsius_after", TN_PAGE_RATE, " °C");
    put_before_and_after(out, machine, "Slowed down by heat", "throttles_before", "throttles_after", TN_PAGE_COUNT, " times");
    begin_item(out, "Repetitions");
    tn_cli_page_figure(out, settings, "repetitions", TN_PAGE_COUNT, "/settings");
    fputs(" of each test, after ", out);
    tn_cli_page_figure(out, settings, "warmup_runs", TN_PAGE_COUNT, "/settings");
    fputs(" that warmed up and are not counted</dd>\n</dl>\n", out);
}

static void note(FILE *out, const char *text) { fprintf(out, "<li><span class=\"warn\">Note:</span> %s</li>\n", text); }

// What a reader must know to judge the figures: known disturbances, and what could not be seen.
static void write_notes(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *machine = tn_cli_page_field(page->root, "machine"), *settings = tn_cli_page_field(page->root, "settings");
    const double load = tn_cli_page_number(machine, "load_before"), n_processors = tn_cli_page_number(machine, "n_processors");
    const double before = tn_cli_page_number(machine, "clock_mhz_before"), after = tn_cli_page_number(machine, "clock_mhz_after");
    const char *governor = tn_cli_page_string(machine, "governor");
    bool external = false;
    for (size_t i = 0; i < page->n_subjects; i++) external = external || tn_cli_page_is_external(tn_cli_page_subject(page, i));
    fputs("<ul>\n<li>Speeds are medians; the spread of the samples is shown beside them.</li>\n", out);
    if (load > 0.25 * n_processors) note(out, "the machine was busy with something else when this began (see its load).");
    if (isnan(load)) note(out, "the load of the machine is unknown.");
    if (!governor) note(out, "the governor of the clocks could not be read.");
    if (governor && strcmp(governor, "performance") != 0)
        note(out, "the governor is not \"performance\": clocks may have changed under way.");
    if (fabs(after - before) > 0.05 * before) note(out, "the clock changed by more than 5 % under way.");
    if (isnan(before) || isnan(after)) note(out, "the clock could not be read before and after.");
    if (isnan(tn_cli_page_number(machine, "celsius_before")) || isnan(tn_cli_page_number(machine, "celsius_after")))
        note(out, "the temperature of the processors could not be read before and after.");
    if (tn_cli_page_number(machine, "throttles_after") > tn_cli_page_number(machine, "throttles_before"))
        note(out, "heat slowed the processors down under way.");
    if (tn_cli_page_true(machine, "virtual"))
        note(out, "this is a virtual machine: its neighbours may have taken time and memory bandwidth.");
    if (tn_cli_page_number(settings, "repetitions") < 3) note(out, "fewer than three repetitions tell little of the spread.");
    if (!(tn_cli_page_number(settings, "warmup_runs") > 0)) note(out, "nothing was warmed up before it was measured.");
    if (external)
        note(
            out,
            "subjects that are not ours come from files that other programs wrote, maybe on another machine; ternion measured none of it.");
    fputs("</ul>\n", out);
}

static void write_devices(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject", "Device", "Description", "Driver", "Instructions", "Kernels", "Threads", NULL};
    static const char *const words[] = {"name", "description", "driver", "isa", "kernels"};
    tn_cli_page_table table;
    char at[64];
    tn_cli_page_table_begin(&table, page->out, "plain", "Devices", heads);
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *device = tn_cli_page_field(tn_cli_page_subject(page, i), "device");
        snprintf(at, sizeof at, "/subjects/%zu/device", i);
        tn_cli_page_row_begin(&table);
        tn_cli_page_subject_name(page, i);
        for (size_t n = 0; n < sizeof words / sizeof *words; n++) {
            tn_cli_page_cell(&table);
            tn_cli_page_word(page->out, device, words[n]);
        }
        tn_cli_page_cell(&table);
        tn_cli_page_figure(page->out, device, "n_threads", TN_PAGE_COUNT, at);
        tn_cli_page_row_end(&table);
    }
    tn_cli_page_table_end(&table);
}

static void write_source(const tn_cli_page *page, tn_cli_page_table *table, size_t i)
{
    FILE *out = page->out;
    const json_t *source = tn_cli_page_field(tn_cli_page_subject(page, i), "source");
    char at[64];
    snprintf(at, sizeof at, "/subjects/%zu/source", i);
    tn_cli_page_row_begin(table);
    tn_cli_page_subject_name(page, i);
    tn_cli_page_cell(table);
    tn_cli_page_word(out, source, "file");
    tn_cli_page_cell(table);
    tn_cli_page_word(out, source, "build_commit");
    if (json_is_number(json_object_get(source, "build_number"))) {
        fputs(" (", out);
        tn_cli_page_figure(out, source, "build_number", TN_PAGE_COUNT, at);
        fputs(")", out);
    }
    tn_cli_page_cell(table);
    tn_cli_page_word(out, source, "cpu");
    tn_cli_page_cell(table);
    tn_cli_page_word(out, source, "model_type");
    tn_cli_page_cell(table);
    tn_cli_page_figure(out, source, "model_size", TN_PAGE_BYTES, at);
    tn_cli_page_cell(table);
    tn_cli_page_word(out, source, "time");
    tn_cli_page_row_end(table);
}

static void write_sources(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject", "File", "Build", "Machine", "Model", "Size", "Time", NULL};
    tn_cli_page_table table = {.out = NULL};
    for (size_t i = 0; i < page->n_subjects; i++) {
        if (!tn_cli_page_is_external(tn_cli_page_subject(page, i))) continue;
        if (!table.out) tn_cli_page_table_begin(&table, page->out, "plain", "Where the figures that are not ours come from", heads);
        write_source(page, &table, i);
    }
    if (table.out) tn_cli_page_table_end(&table);
}

void tn_cli_page_conditions(const tn_cli_page *page)
{
    fputs("<section id=\"conditions\">\n<h2>Conditions</h2>\n", page->out);
    write_machine(page);
    write_notes(page);
    if (page->n_subjects > 0) write_devices(page);
    write_sources(page);
    fputs("</section>\n", page->out);
}
