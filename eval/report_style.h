// The style sheet of the report: light and dark by the reader's preference.
#pragma once

namespace bigbigan {

inline constexpr const char* kReportStyle = R"css(
:root { color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --ink: #1c2431; --soft: #5b6675; --line: #dfe3ea; --bar: #e8edfb;
  --c1: #2f5fd0; --c2: #d9730d; --c3: #1a8f6a; --c4: #b0408f; --c5: #7a869a; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161d; --card: #1b212b; --ink: #e6eaf1; --soft: #9aa5b5; --line: #313a48; --bar: #2a3a63;
  --c1: #7ba2ff; --c2: #f2a65a; --c3: #4fc79d; --c4: #e48bcb; --c5: #8f9bb0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 36px 28px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 44px 0 4px; }
p { margin: 4px 0 14px; }
.lead, .note, figcaption, .tile span, footer { color: var(--soft); }
.note { font-size: 13px; margin: 0 0 6px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin-top: 22px; }
.tile, .card, .chart { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 23px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { font-size: 13px; white-space: nowrap; }
.card { padding: 16px 18px; margin-top: 12px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; }
th, td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th.n, td.n { text-align: right; }
th.wide, td.wide { padding-left: 16px; padding-right: 20px; }
td.wide { width: 34%; min-width: 210px; }
td.n + td:not(.n):not(.wide), th.n + th:not(.n):not(.wide) { padding-left: 14px; }
.meter { display: block; position: relative; height: 24px; border-radius: 5px; background: var(--page); }
.meter i { display: block; height: 100%; border-radius: 5px; background: var(--bar); }
.meter b { position: absolute; left: 9px; top: 0; line-height: 24px; font-weight: 600; }
tr.best .meter i { background: var(--c1); }
tr.best .meter b { color: var(--card); }
.grid2 { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(430px, 100%), 1fr)); gap: 14px; margin-top: 12px; }
figure { margin: 0; }
figcaption { font-size: 13px; margin-bottom: 8px; }
figcaption b { color: var(--ink); font-weight: 600; }
.chart { padding: 14px 16px 10px; }
.chart figcaption { color: var(--ink); font-weight: 600; font-size: 14.5px; margin-bottom: 2px; }
.chart > svg { width: 100%; height: auto; display: block; overflow: visible; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 2px 0 6px; padding: 0; font-size: 13px; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 6px; }
.picture img { width: 100%; display: block; image-rendering: pixelated; border-radius: 6px; border: 1px solid var(--line); background: #fff; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 12px; margin-top: 14px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.tick { fill: var(--soft); font-size: 11.5px; font-family: inherit; } .mid { text-anchor: middle; } .end { text-anchor: end; }
.line, .faint { fill: none; stroke-linejoin: round; }
.line { stroke-width: 2; } .faint { stroke-width: 1; opacity: .28; } .dash { stroke-dasharray: 6 4; }
.s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); }
.f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
details ul { margin: 8px 0 0; padding-left: 20px; font-size: 13px; color: var(--soft); }
pre { font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-x: auto; margin: 10px 0 0; }
footer { margin-top: 44px; font-size: 13px; border-top: 1px solid var(--line); padding-top: 12px; }
)css";

}  // namespace bigbigan
