"""The pieces of a pack's page: claims with their digests, tables, and the page around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from html import escape
from typing import Any

from aios_assets.evidence.scope import Folder

_STYLE = """
:root { --ink:#1d2733; --soft:#5b6775; --line:#dde3ea; --wash:#f5f7fa; --mark:#0b62a8;
  --amber:#8a5a00; --amber-wash:#fff6e0; }
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:#fff; line-height:1.5;
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
main { max-width:1000px; margin:0 auto; padding:32px 24px 80px; }
h1 { font-size:1.9rem; line-height:1.2; margin:0 0 4px; }
h2 { font-size:1.3rem; margin:44px 0 10px; padding-top:14px; border-top:2px solid var(--ink); }
h3 { font-size:1.02rem; margin:24px 0 6px; }
.lead { color:var(--soft); margin:0 0 20px; font-size:1.05rem; }
nav { font-size:.9rem; margin:18px 0; display:flex; flex-wrap:wrap; gap:2px 14px; }
a { color:var(--mark); text-decoration:none; } a:hover { text-decoration:underline; }
.facts { display:grid; grid-template-columns:repeat(auto-fit,minmax(122px,1fr)); gap:10px;
  margin:18px 0; }
.facts div { background:var(--wash); border-radius:8px; padding:12px 14px; }
.facts b { display:block; font-size:1.45rem; line-height:1.2; font-variant-numeric:tabular-nums; }
.facts span { color:var(--soft); font-size:.85rem; }
.claim { margin:8px 0; padding-left:14px; border-left:3px solid var(--line); }
.ref { font:12px ui-monospace,SFMono-Regular,Menlo,monospace; color:var(--soft);
  background:var(--wash); border-radius:4px; padding:1px 6px; white-space:nowrap; }
table { border-collapse:collapse; width:100%; margin:10px 0 16px; font-size:.88rem; }
th,td { text-align:left; padding:5px 10px 5px 0; border-bottom:1px solid var(--line);
  vertical-align:top; }
th { color:var(--soft); font-weight:600; } td.n,th.n { text-align:right; padding-right:18px;
  font-variant-numeric:tabular-nums; }
td ul { margin:0; padding-left:16px; } .date { white-space:nowrap; }
.wide { overflow-x:auto; }
.missing { background:var(--amber-wash); color:var(--amber); border-radius:8px; padding:10px 16px; }
.missing ul { margin:6px 0; padding-left:20px; } .amber { color:var(--amber); }
.note { color:var(--soft); font-size:.9rem; }
code,pre { font:13px ui-monospace,SFMono-Regular,Menlo,monospace; overflow-wrap:anywhere; }
pre { background:var(--wash); border-radius:8px; padding:12px; white-space:pre-wrap; }
summary { cursor:pointer; color:var(--mark); }
svg { width:100%; height:auto; margin:8px 0; } svg text { font-size:12px; fill:var(--soft); }
.grid { stroke:var(--line); } .curve { stroke:#0072b2; stroke-width:2; }
.interval { stroke:#0072b2; stroke-opacity:.35; stroke-width:4; }
.point { fill:#0072b2; } .alarm { fill:#d55e00; } .floor { stroke:#d55e00; stroke-dasharray:5 4; }
.legend span { margin-right:16px; font-size:.88rem; } .legend i { display:inline-block;
  width:11px; height:11px; border-radius:2px; margin-right:6px; }
@media print { main { max-width:none; padding:0; } body { font-size:10.5pt; } nav { display:none; }
  h2 { break-after:avoid; margin-top:26px; } h3 { break-after:avoid; }
  tr,svg,.claim,.facts div { break-inside:avoid; } a { color:inherit; }
  .facts { grid-template-columns:repeat(4,1fr); } .missing li { break-inside:avoid; }
  .facts div,.missing,pre,.ref { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  @page { size:A4; margin:16mm; } }
"""


_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONG = 1e12


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page that loads nothing and runs nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def reference(folder: Folder, name: str) -> str:
    """Return a link to a file with the beginning of its SHA-256."""
    digest = folder.digests[name]
    return (
        f'<a class="ref" href="{escape(name)}" title="sha256 {digest}">'
        f"{escape(name)} {digest[:12]}</a>"
    )


def claim(folder: Folder, text: str, *names: str) -> str:
    """Return a sentence with the files that it rests on; the text is escaped."""
    links = " ".join(reference(folder, name) for name in names)
    return f'<p class="claim">{escape(text)} {links}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    """Return a table, cells escaped but for `Raw` ones; `numbers` are columns of figures."""

    def cells(tag: str, row: Sequence[Any]) -> str:
        marks = [' class="n"' if i in numbers else "" for i in range(len(row))]
        return "".join(
            f"<{tag}{mark}>{cell(one)}</{tag}>" for mark, one in zip(marks, row, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    if not body:
        return '<p class="note">None.</p>'
    top = f"<thead><tr>{cells('th', head)}</tr></thead>"
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


class Raw(str):
    """Markup that is safe already."""


GONE = Raw('<span class="amber">missing</span>')
NONE = "\u2013"


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, Raw):
        return value
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < _LONG else f"{value:.4g}"
    if isinstance(value, datetime):
        value = f"{value:%Y-%m-%d}" if value.time() == time() else f"{value:%Y-%m-%d %H:%M}"
    text = escape(str(value))
    return f'<span class="date">{text}</span>' if _DATE.match(text) else text


def listing(items: Iterable[str]) -> Raw:
    """Return texts as a list, for a cell."""
    lines = "".join(f"<li>{escape(one)}</li>" for one in items)
    return Raw(f"<ul>{lines}</ul>") if lines else Raw(NONE)


def folded(summary: str, inside: str) -> str:
    """Return what opens when it is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"
