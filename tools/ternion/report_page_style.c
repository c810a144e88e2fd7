// The look of a comparison's page: light and dark, wide and narrow, on a screen and on paper. Nothing is told by colour alone: patterns,
// shapes, dashes and words say it too. Colours are variables, whose contrasts a test works out.
#include "report_page_parts.h"

static const char *const colours =
    ":root{color-scheme:light dark;--bg:#ffffff;--fg:#1b1f24;--soft:#525b66;--line:#c9d0d8;--panel:#f4f6f8;"
    "--bar:#2f6fb3;--bad:#b3261e;--warn:#7d5200;--good:#1a6e35;--s0:#0b5cad;--s1:#b3261e;--s2:#1a6e35;--s3:#7b3fa0;"
    "--s4:#7d5200;--s5:#006d6d}@media (prefers-color-scheme:dark){"
    ":root{--bg:#14171c;--fg:#e6e9ee;--soft:#a9b2be;--line:#3c444f;--panel:#1e232a;--bar:#5aa2e6;--bad:#ff8a80;"
    "--warn:#f2b84b;--good:#6fd08c;--s0:#6cb4ff;--s1:#ff8a80;--s2:#6fd08c;--s3:#d19cff;--s4:#f2b84b;--s5:#4fd1d1}\n"
    "}\n";

static const char *const text_rules =
    "*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}\n"
    "h2{font-size:1.25rem;margin:2.2rem 0 .5rem;border-bottom:2px solid var(--line);padding-bottom:.2rem}\n"
    "h3{font-size:1.05rem;margin:1.4rem 0 .3rem}p,ul,dl{margin:.5rem 0;max-width:60rem}\n"
    "ul{padding-left:1.3rem}a{color:var(--s0)}nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;"
    "gap:.2rem 1rem}nav a{display:inline-block;padding:.2rem 0}.soft,.error,.none,figcaption,caption{"
    "color:var(--soft)}.tag{border:1px solid currentColor;border-radius:.3rem;padding:0 .35rem;font-size:.8125rem;"
    "white-space:nowrap}.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}\n"
    ".good{color:var(--good);font-weight:600}.letter{display:inline-block;min-width:1.5em;padding:0 .3em;"
    "border:1px solid var(--soft);border-radius:.2rem;text-align:center;font-weight:600;font-size:.8125rem}\n"
    "data{font-variant-numeric:tabular-nums}code,pre{font-family:ui-monospace,monospace;font-size:.875rem}\n"
    "pre{background:var(--panel);border:1px solid var(--line);padding:.75rem;overflow-x:auto;overflow-wrap:normal}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:var(--soft)}\n"
    "dd{margin:0;min-width:0}\n";

static const char *const table_rules =
    ".scroll{overflow-x:auto}td code{overflow-wrap:anywhere}data,td .hash{white-space:nowrap}"
    "tbody th{min-width:9rem;max-width:18rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%;"
    "margin:.8rem 0;font-size:.9375rem}caption{text-align:left;padding-bottom:.3rem}\n"
    "th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;"
    "overflow-wrap:break-word}th:first-child{text-align:left;font-weight:600}\n"
    "thead th{vertical-align:bottom;font-weight:600;border-bottom:2px solid var(--soft)}\n"
    ".error{white-space:nowrap}.tests td:nth-child(2){min-width:8.5em}\n";

static const char *const drawing_rules =
    "figcaption{margin-bottom:.3rem}figure{margin:.6rem 0 1rem;break-inside:avoid}\n"
    ".bars{list-style:none;padding:0;margin:.3rem 0;max-width:none}.bars li{display:grid;"
    "grid-template-columns:minmax(8rem,15rem) minmax(6rem,1fr) minmax(8rem,13rem);gap:0 .8rem;align-items:center;"
    "padding:.15rem 0;break-inside:avoid}.bars .value{font-variant-numeric:tabular-nums}\n"
    ".bars .note{grid-column:2/4}svg{display:block;overflow:visible}svg text{fill:var(--fg);"
    "font:12px system-ui,sans-serif;paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}\n"
    ".chart{width:calc(100% - 92px);margin:30px 32px 48px 60px}.track{fill:var(--panel);stroke:var(--line)}\n"
    ".spread{stroke:var(--fg);stroke-width:1.5}.sample{fill:var(--bg);stroke:var(--fg);stroke-width:1.2}\n"
    ".grid{stroke:var(--line)}.axis{stroke:var(--soft)}.lead{stroke:var(--soft)}\n"
    ".roof{stroke:var(--fg);stroke-width:2.5}.int8{stroke-dasharray:9 4}.peak{stroke:var(--fg);stroke-width:3}\n"
    ".p0{fill:var(--bar)}.p1{fill:url(#hatch)}.p2{fill:url(#dots)}.p3{fill:url(#cross)}\n"
    ".p4{fill:url(#bands)}.p5{fill:url(#back)}.p1,.p2,.p3,.p4,.p5{stroke:var(--bar);stroke-width:1.5}\n"
    ".ink{stroke:var(--bar)}.inkfill{fill:var(--bar)}.paper{fill:var(--bg)}.s0{--ink:var(--s0)}\n"
    ".s1{--ink:var(--s1)}.s2{--ink:var(--s2)}.s3{--ink:var(--s3)}.s4{--ink:var(--s4)}\n"
    ".s5{--ink:var(--s5)}.mark{stroke:var(--ink);stroke-width:2;fill:var(--ink)}\n"
    ".hollow{fill:var(--bg)}.series{stroke:var(--ink);stroke-width:2;fill:none}\n"
    ".key{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.9375rem}\n"
    ".key svg{display:inline-block;vertical-align:-2px;margin-right:.4rem}.wide{display:inline}\n"
    ".narrow{display:none}\n";

static const char *const place_rules =
    "@media screen and (max-width:48rem){"
    "th,td{overflow-wrap:anywhere}.wide{display:none}.narrow{display:inline}\n"
    ".bars li{grid-template-columns:minmax(0,1fr) minmax(0,auto);padding:.35rem 0}\n"
    ".bars svg{grid-row:2;grid-column:1/3}.bars .value{text-align:right}.bars .note{grid-column:1/3}\n"
    "thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}\n"
    "table,tbody,tr,caption{display:block}tr{border:1px solid var(--line);border-radius:.4rem;padding:.3rem .6rem;"
    "margin:.5rem 0}tbody th{display:block;border:0;padding:.2rem 0}td{display:flex;justify-content:space-between;"
    "flex-wrap:wrap;gap:0 1rem;padding:.15rem 0;border-bottom:1px dotted var(--line)}td:last-child{border-bottom:0}\n"
    "td::before{content:attr(data-head);color:var(--soft);text-align:left;overflow-wrap:normal}\n"
    "td>span{min-width:0;margin-left:auto}tbody th{max-width:none}.tests td:nth-child(2){min-width:0}.dense tr{display:grid;"
    "grid-template-columns:minmax(0,1fr) minmax(0,1fr);column-gap:1.2rem}.dense tbody th{grid-column:1/3}\n"
    "dl{grid-template-columns:minmax(0,1fr)}dd{margin-bottom:.3rem}}@media print{"
    ":root{color-scheme:light;--bg:#ffffff;--fg:#000000;--soft:#444444;--line:#bbbbbb;--panel:#ffffff;"
    "--bar:#2f6fb3;--bad:#8f1d16;--warn:#6b4600;--good:#145c2b;--s0:#0b5cad;--s1:#8f1d16;--s2:#145c2b;--s3:#63318a;"
    "--s4:#6b4600;--s5:#005a5a}@page{"
    "margin:14mm}body{font-size:10pt;padding:0;max-width:none}nav{display:none}\n"
    ".scroll{overflow:visible}table{font-size:8.5pt}td{overflow-wrap:anywhere}"
    "tbody th{min-width:7rem}.tests "
    "td:nth-child(2){min-width:5em}h3+p{break-after:avoid}\n"
    "td code,.tag,.letter{font-size:inherit}th,td{padding:.2rem .3rem}pre{white-space:pre-wrap;font-size:7.5pt}\n"
    "h2,h3,caption,figcaption{break-after:avoid}tr,figure,.bars li{break-inside:avoid}\n"
    "thead{display:table-header-group}a{color:inherit;text-decoration:none}svg{print-color-adjust:exact}\n"
    "}\n";

void tn_cli_page_style(FILE *out)
{
    fprintf(out, "<style>\n%s%s%s%s%s</style>\n", colours, text_rules, table_rules, drawing_rules, place_rules);
}

static void pattern(FILE *out, const char *id, int size, const char *drawing)
{
    fprintf(
        out,
        "<pattern id=\"%s\" width=\"%d\" height=\"%d\" patternUnits=\"userSpaceOnUse\"><rect width=\"%d\" height=\"%d\" class=\"paper\"/>%s"
        "</pattern>\n",
        id, size, size, size, size, drawing);
}

void tn_cli_page_patterns(FILE *out)
{
    fputs("<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>\n", out);
    pattern(out, "hatch", 8, "<path d=\"M-2 2l4-4M0 8l8-8M6 10l4-4\" class=\"ink\" stroke-width=\"2.5\"/>");
    pattern(out, "dots", 7, "<circle cx=\"3.5\" cy=\"3.5\" r=\"1.8\" class=\"inkfill\"/>");
    pattern(out, "cross", 8, "<path d=\"M0 0l8 8M8 0l-8 8\" class=\"ink\" stroke-width=\"1.3\"/>");
    pattern(out, "bands", 6, "<path d=\"M3 0v6\" class=\"ink\" stroke-width=\"2.5\"/>");
    pattern(out, "back", 8, "<path d=\"M-2 6l4 4M0 0l8 8M6-2l4 4\" class=\"ink\" stroke-width=\"2.5\"/>");
    fputs("</defs></svg>\n", out);
}
