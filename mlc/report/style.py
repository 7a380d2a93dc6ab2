"""The style sheet of the page: light and dark, from phone to desk."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f7f8fa; --card: #ffffff; --ink: #1f2431; --muted: #5b6475;
  --line: #dfe3ea; --good: #0b6bb9; --bad: #b8500c; --warn: #8a5a00;
  --good-soft: #e3f0fb; --tied-soft: #f1f7fd; --bad-soft: #fbece0;
  --warn-soft: #fdf3da;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
    Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
    monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1a1e26; --ink: #e8ebf1; --muted: #9fa9ba;
    --line: #303744; --good: #74bdf8; --bad: #f2a467; --warn: #e9bd5b;
    --good-soft: #16344f; --tied-soft: #19293a; --bad-soft: #40291a;
    --warn-soft: #37301c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 var(--sans); font-variant-numeric: tabular-nums;
}
main, header, footer {
  max-width: 74rem; margin: 0 auto; padding: 0 1.25rem;
}
h1 {
  font-size: clamp(1.65rem, 4.4vw, 2.5rem); line-height: 1.15;
  letter-spacing: -.022em; margin: .35rem 0 .7rem; max-width: 24em;
  text-wrap: balance;
}
h2 {
  font-size: 1.4rem; letter-spacing: -.012em; line-height: 1.25;
  margin: 3.2rem 0 .7rem;
}
h3 { font-size: 1rem; margin: 2rem 0 .6rem; }
p { margin: .5rem 0; }
a { color: var(--good); text-underline-offset: .18em; }
header { padding-top: 2.6rem; }
.study { color: var(--muted); font-size: .9rem; margin: 0; }
.study b { color: var(--ink); }
.lede { font-size: 1.1rem; max-width: 50em; color: var(--muted); }
.facts {
  display: flex; flex-wrap: wrap; gap: .4rem .5rem; padding: 0;
  margin: 1.1rem 0 0; list-style: none; font-size: .875rem;
}
.facts li {
  border: 1px solid var(--line); background: var(--card);
  border-radius: 99px; padding: .12rem .75rem;
}
.facts li.warn { border-color: transparent; background: var(--warn-soft); }
nav {
  display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; font-size: .9rem;
  margin: 1.3rem 0 0; padding: .7rem 0; border-top: 1px solid var(--line);
  border-bottom: 1px solid var(--line);
}
nav a { text-decoration: none; overflow-wrap: anywhere; }
nav a:hover { text-decoration: underline; }
.warn { background: var(--warn-soft); color: var(--warn); }
.name { font-weight: 650; overflow-wrap: anywhere; }
.better, .worse {
  font-weight: 650; white-space: nowrap; border-radius: .3em;
  padding: .05em .3em; margin: 0 -.05em;
}
.number { white-space: nowrap; }
.better { color: var(--good); background: var(--good-soft); }
.worse { color: var(--bad); background: var(--bad-soft); }
.muted, .how, figcaption, .legend { color: var(--muted); }
.answers { list-style: none; padding: 0; margin: 1.1rem 0 0; }
.answers > li {
  background: var(--card); border: 1px solid var(--line);
  border-left: .3rem solid var(--muted); border-radius: .6rem;
  padding: .85rem 1.15rem; margin: .7rem 0; font-size: 1.06rem;
}
.answers > li.is-better { border-left-color: var(--good); }
.answers > li.is-worse { border-left-color: var(--bad); }
.answers > li.is-none { border-left-color: var(--line); }
.answers p { margin: 0; }
.answers .clauses {
  margin: .45rem 0 .1rem; padding-left: 1.1rem; font-size: .95em;
}
.answers .clauses li { margin: .2rem 0; }
.answers .how { margin-top: .4rem; }
.how, .legend, figcaption, .small { font-size: .875rem; }
figure { margin: 1rem 0; }
figcaption { max-width: 58em; margin-top: .5rem; }
.panels {
  display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19.5rem), 1fr));
}
.panels.narrow {
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr));
}
.panels.wide {
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 31rem), 1fr));
}
.panel, .card {
  background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .7rem .85rem; min-width: 0;
}
.panel { display: flex; flex-direction: column; }
.panel svg { margin-top: auto; }
.card.paper { background: #fff; }
.card.wide { overflow-x: auto; }
.card.wide svg { min-width: 40rem; }
.panel h4 {
  margin: 0 0 .2rem; font-size: .85rem; font-weight: 600;
  overflow-wrap: anywhere;
}
.panel svg, .card svg { display: block; height: auto; }
.set-title {
  font-size: .875rem; color: var(--muted); margin: 1.3rem 0 .45rem;
  font-weight: 600; overflow-wrap: anywhere;
}
.key { white-space: nowrap; margin-right: 1.1rem; }
.profile {
  display: grid; gap: 1px; background: var(--card); margin: .9rem 0 1.2rem;
  border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  grid-template-columns: repeat(auto-fit, minmax(7.6rem, 1fr));
}
.profile div {
  padding: .5rem .8rem .45rem; box-shadow: 0 0 0 1px var(--line);
}
.profile dt { font-size: .75rem; color: var(--muted); line-height: 1.3; }
.profile dd { margin: 0; font-size: 1.08rem; font-weight: 600; }
.scroll {
  overflow-x: auto; background: var(--card); border-radius: .6rem;
  border: 1px solid var(--line);
}
table { border-collapse: separate; border-spacing: 0; width: 100%; }
th, td { padding: .34rem .7rem; text-align: left; vertical-align: baseline; }
thead th {
  font-size: .8rem; font-weight: 600; color: var(--muted); line-height: 1.25;
  border-bottom: 1px solid var(--line); vertical-align: bottom;
}
tbody + tbody tr:first-child > * { border-top: 1px solid var(--line); }
td.n, th.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; min-width: 5.4rem; }
tbody th {
  font-weight: 600; min-width: 11.5rem; position: sticky; left: 0;
  background: var(--card);
  vertical-align: top; max-width: 15rem; overflow-wrap: anywhere; z-index: 1;
}
thead th:first-child {
  position: sticky; left: 0; background: var(--card); z-index: 2;
}
th .tag, td .tag {
  display: block; width: fit-content; font-size: .74rem; font-weight: 500;
  color: var(--muted); line-height: 1.35;
}
th .tag.warn { color: var(--warn); border-radius: .3em; padding: .1em .4em; }
td.d { color: var(--muted); font-size: .92rem; }
.pair { white-space: nowrap; }
.pm { color: var(--muted); font-size: .8em; margin-left: .22em; }
.m {
  display: inline-block; width: .75em; text-align: left; color: var(--muted);
  font-size: .85em; margin-left: .1em; cursor: help;
}
td.best { background: var(--good-soft); }
td.best b { color: var(--good); }
td.tied { background: var(--tied-soft); }
td.best .pm { color: inherit; opacity: .8; }
.sign { color: var(--good); font-size: .85em; margin-right: .15em; }
td.shared { vertical-align: middle; }
td.up { color: var(--good); font-weight: 600; }
td.down { color: var(--bad); font-weight: 600; }
td.up .pm, td.down .pm { color: inherit; font-weight: 400; }
td.failed { color: var(--warn); background: var(--warn-soft); }
.legend { margin: .5rem 0 0; }
.legend span { margin-right: 1rem; display: inline-block; }
details { margin: .8rem 0; }
summary {
  cursor: pointer; color: var(--good); font-weight: 550; padding: .2rem 0;
  width: fit-content;
}
summary:focus-visible, a:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--good); outline-offset: 2px; border-radius: .3em;
}
pre {
  background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .8rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font: .875rem/1.5 var(--mono); margin: .6rem 0;
}
code { font: .9em var(--mono); overflow-wrap: anywhere; }
.list { padding-left: 1.15rem; max-width: 58em; }
.list li { margin: .35rem 0; }
footer {
  color: var(--muted); font-size: .85rem; margin-top: 3rem;
  padding-bottom: 3rem;
}
@media (max-width: 40rem) {
  body { font-size: 15.5px; }
  main, header, footer { padding-left: .95rem; padding-right: .95rem; }
  header { padding-top: 1.5rem; }
  h2 { margin-top: 2.5rem; }
  th, td { padding: .32rem .5rem; }
  tbody th, thead th:first-child {
    min-width: 6rem; max-width: 7.4rem; font-size: .84rem;
  }
  .answers > li { padding: .75rem .85rem; font-size: 1rem; }
  .panel { padding: .6rem .6rem; }
}
@media print {
  :root { color-scheme: light; }
  body { background: #fff; font-size: 10.5pt; }
  nav { display: none; }
  .panel, .card, .answers > li, tbody { break-inside: avoid; }
}
"""
