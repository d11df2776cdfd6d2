#include "report/page.h"

namespace artel {

std::string_view figure_style() {
  // First four colours after Okabe and Ito; shapes, dashes and labels carry the same information.
  return R"css(
svg text{fill:var(--ink);font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
svg text.tick{fill:var(--muted);font-size:11px}
svg text.name{font-weight:600}
.s0{color:var(--s0)}.s1{color:var(--s1)}.s2{color:var(--s2)}.s3{color:var(--s3)}
.s4{color:var(--s4)}.s5{color:var(--s5)}.s6{color:var(--s6)}.s7{color:var(--s7)}
.line{fill:none;stroke:currentColor;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}
.s4.line,.s5.line{stroke-dasharray:7 4}
.s6.line,.s7.line{stroke-dasharray:2 4}
.raw{fill:none;stroke:currentColor;stroke-width:.7;opacity:.25}
.band{fill:currentColor;stroke:none;opacity:.18}
.fill{fill:currentColor;stroke:var(--paper);stroke-width:1}
.dot{fill:none;stroke:currentColor;stroke-width:1.3;opacity:.8}
.whisker{stroke:currentColor;stroke-width:1.9}
.leader{fill:none;stroke:currentColor;stroke-width:.8;opacity:.6}
.grid{stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--muted);stroke-width:1}
.reference{stroke:var(--muted);stroke-width:1.2;stroke-dasharray:5 4}
.zone{fill:var(--zone)}
.cells{image-rendering:pixelated}
.box{fill:none;stroke:var(--muted);stroke-width:.8}
)css";
}

std::string_view page_style() {
  return R"css(
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1e22;--muted:#596068;--grid:#e7eaed;--rule:#d5dae0;--soft:#f4f6f8;
--zone:#e3eef7;--accent:#005a8f;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#a8479b;--s4:#a67c00;--s5:#3a8fc7;--s6:#7c4a2a;--s7:#5c6470}
@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){--paper:#15181c;--ink:#e9ebee;
--muted:#a4acb5;--grid:#2a3037;--rule:#3a424b;--soft:#1d2227;--zone:#1f3342;--accent:#7cc4f5;
--s0:#4fb0ee;--s1:#ff8f4d;--s2:#3ccfa2;--s3:#e28ddb;--s4:#e2b93f;--s5:#9ad2f6;--s6:#cf9f7f;--s7:#b4bcc6}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
header,main,footer{max-width:1160px;margin:0 auto;padding:0 16px}
header{padding-top:28px}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.7rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.4rem 0;max-width:46rem}
a{color:var(--accent)}
.verdicts{margin:.6rem 0 1rem;font-size:.95rem;padding:0;list-style:none;max-width:56rem}
.verdicts li{margin:.45rem 0;padding:.55rem .8rem;background:var(--soft);border-left:3px solid var(--rule)}
.verdicts li.found{border-left-color:var(--accent)}
.muted,.notes{color:var(--muted);font-size:.9rem}
.notes{padding-left:1.1rem;max-width:56rem;overflow-wrap:anywhere}
.table{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .75rem .32rem 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{font-weight:600;vertical-align:bottom;border-bottom-color:var(--rule)}
th:first-child,td:first-child,.left{text-align:left}
th:first-child,td:first-child{position:sticky;left:0;background:var(--paper)}
svg.key{width:14px;height:14px;vertical-align:-2px;margin-right:5px}
.choice{position:absolute;opacity:0;width:1px;height:1px}
.switch{position:sticky;top:0;z-index:2;background:var(--paper);border-bottom:1px solid var(--rule);margin-top:1.2rem}
.switch div{max-width:1160px;margin:0 auto;padding:8px 16px;display:flex;gap:6px;align-items:center;font-size:.9rem}
.switch span{color:var(--muted);margin-right:4px}
.switch label{padding:4px 12px;border:1px solid var(--rule);border-radius:14px;cursor:pointer}
#axis-tokens:checked~.switch [for=axis-tokens],#axis-flops:checked~.switch [for=axis-flops],
#axis-seconds:checked~.switch [for=axis-seconds]{background:var(--ink);color:var(--paper);border-color:var(--ink)}
#axis-tokens:focus-visible~.switch [for=axis-tokens],#axis-flops:focus-visible~.switch [for=axis-flops],
#axis-seconds:focus-visible~.switch [for=axis-seconds]{outline:2px solid var(--accent);outline-offset:2px}
.variant{display:none}
#axis-tokens:checked~main .on-tokens,#axis-flops:checked~main .on-flops,
#axis-seconds:checked~main .on-seconds{display:block}
.figures{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:26px 16px;margin-top:1rem}
figure{margin:0;position:relative;min-width:0}
figure.full{grid-column:1/-1}
figure svg{display:block;width:100%;height:auto}
svg.narrow{display:none}
figcaption{font-size:.85rem;line-height:1.4;color:var(--muted);margin-top:.5rem}
figcaption b{color:var(--ink)}
.tools{display:none;margin-left:.4rem;white-space:nowrap}
.script .tools{display:inline}
button{font:inherit;font-size:.8rem;color:var(--accent);background:none;border:0;padding:2px 4px;cursor:pointer;
text-decoration:underline;text-underline-offset:2px}
.tip{position:absolute;pointer-events:none;z-index:3;background:var(--paper);border:1px solid var(--rule);
border-radius:5px;box-shadow:0 2px 8px #0003;padding:5px 8px;font-size:.78rem;line-height:1.35;
font-variant-numeric:tabular-nums;white-space:nowrap}
.guide{stroke:var(--muted);stroke-width:1}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--accent)}
pre{overflow-x:auto;background:var(--soft);padding:.8rem;font-size:.78rem;line-height:1.4}
footer{margin-top:3rem;padding-bottom:3rem;color:var(--muted);font-size:.85rem}
footer p{max-width:56rem}
@media (max-width:980px){.figures{grid-template-columns:minmax(0,1fr)}}
@media (max-width:640px){svg.wide{display:none}svg.narrow{display:block}h1{font-size:1.35rem}
.switch span{display:none}header{padding-top:18px}}
@page{margin:14mm}
@media print{body{font-size:10pt}.figures>div{grid-column:1/-1}#numbers{display:none}.switch,.tools,details:not([open]){display:none!important}
.figures{grid-template-columns:repeat(2,minmax(0,1fr))}figure{break-inside:avoid}h2,h3{break-after:avoid}
figure:not(.full) svg.wide{display:none}figure:not(.full) svg.narrow{display:block}
figure.full svg.wide{display:block}figure.full svg.narrow{display:none}
header,main,footer{max-width:none;padding:0}.table{overflow:visible}table{font-size:8pt}}
)css";
}

}  // namespace artel
