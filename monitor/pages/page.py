"""The shell of a page: head, style, and one column of text, tables and figures."""

from html import escape

from monitor.pages.chart import STYLE

_PAGE = """
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1020px;margin:0 auto;padding:40px 24px 64px}h1{font-size:28px;margin:0 0 8px}
h2{font-size:17px;margin:36px 0 8px}figure{margin:0;overflow-x:auto}svg{width:100%;min-width:640px;height:auto}
table{border-collapse:collapse;font-size:14px}td,th{text-align:left;padding:6px 16px 6px 0;
border-bottom:1px solid var(--rule);vertical-align:top}th{color:var(--soft);font-weight:600}
"""


def page(title: str, body: str) -> str:
    """A whole document; the body is HTML, the title is not."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_PAGE}</style></head><body><main>{body}</main></body></html>\n"
    )
