"""The report for a person: one HTML file that needs nothing else."""

from html import escape
from math import isfinite
from pathlib import Path

from monitor.demo import plots
from monitor.demo.policies import LEARNED, SAFE
from monitor.demo.recording import Recording
from monitor.demo.timeline import Step, after_text, timeline
from monitor.demo.traffic import DECISIONS_PER_S
from monitor.durations import rfc3339
from monitor.pages.chart import STYLE

_PAGE_STYLE = """
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:1020px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 8px;letter-spacing:-.015em}h2{font-size:19px;margin:44px 0 10px}
p{margin:8px 0;max-width:76ch}.soft{color:var(--soft)}.tiles{display:grid;gap:12px;margin:26px 0 8px;
grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}.tile{background:var(--card);border-radius:10px;
padding:14px 16px}.tile b{display:block;font-size:25px;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:14px}blockquote{margin:12px 0;padding:14px 18px;background:var(--card);
border-left:4px solid var(--bad);border-radius:4px 10px 10px 4px;font-size:17px}
figure{margin:10px 0 0;overflow-x:auto}figure svg{display:block;width:100%;min-width:680px;height:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:15px}
th{text-align:left;font-weight:600;color:var(--soft);font-size:13px}
td,th{padding:7px 14px 7px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td.num,th.num{text-align:right;white-space:nowrap}code{font:13.5px ui-monospace,SFMono-Regular,Menlo,monospace;
overflow-wrap:anywhere}.bad{color:var(--bad)}.good{color:var(--safe)}
"""


def write_report(recording: Recording, path: Path) -> None:
    """The page as a file."""
    path.write_text(render(recording), encoding="utf-8")


def render(recording: Recording) -> str:
    """The page; made of the recording alone."""
    sections = [_head(recording), _tiles(recording), _reward(recording), _signal(recording)]
    sections += [_timeline(recording), _shares(recording), _verdicts(recording), _all_signals(recording)]
    sections.append(_how(recording))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>policywatch demo: {escape(_verdict(recording))}</title>"
        f"<style>{STYLE}{_PAGE_STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def _verdict(recording: Recording) -> str:
    missing = recording.missing()
    return f"the loop did not close: {missing[0]}" if missing else "the loop closed"


def _head(recording: Recording) -> str:
    missing = recording.missing()
    if missing:
        title = f'<h1 class="bad">The loop did not close: {escape(missing[0])}</h1>'
    else:
        seconds = after_text(recording.marks["fallback"] - recording.marks["change"])
        title = f"<h1>The policy went wrong, and {seconds} later it was out of traffic</h1>"
    return title + (
        f"<p>A home page shows each reader one of six shelves first. The learned policy <b>{LEARNED}</b> chooses by "
        "what the reader has looked at; its reward is a click. At a known moment the readers' tastes turn round. The "
        "features keep their distribution, so nothing looks wrong except what comes back. policywatch reads decisions "
        f"and rewards from Kafka, and tells the serving layer with a signed webhook to serve <b>{SAFE}</b>.</p>"
    )


def _tiles(recording: Recording) -> str:
    steps = {step.name: step for step in timeline(recording)}
    shown = [
        (_after(steps.get("detected")), "from the change to the alert"),
        (_since(steps.get("delivered")), "more until the signed webhook was verified"),
        (_since(steps.get("fallback")), f"more until {SAFE} served"),
        (_percent(recording.regained()), "of the lost reward came back"),
    ]
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in shown)
    return f'<div class="tiles">{tiles}</div>'


def _reward(recording: Recording) -> str:
    words = (
        f"Mean reward {_mean(recording.mean_before())} before the change, {_mean(recording.mean_fallen())} under "
        f"{LEARNED} after it, {_mean(recording.mean_fallback())} under {SAFE}."
    )
    return _figure("Reward", words, plots.reward_plot(recording))


def _signal(recording: Recording) -> str:
    act = recording.act
    if act is None:
        return "<h2>The signal</h2><p>None was obeyed.</p>"
    evidence = act.data["evidence"]
    rows = [("statistic", evidence["statistic"]), ("value", _number(evidence["value"])),
            ("trip line", _number(evidence["threshold"])), ("rewards in the window", f"{evidence['n']:,}"),
            ("window", f"{_clock(evidence['window_start'])} to {_clock(evidence['window_end'])}"),
            ("serve instead", act.data["to_policy"]), ("generation", act.data["generation"]), ("id", act.data["id"]),
            ("baseline", evidence["baseline"])]  # fmt: skip
    table = "".join(f"<tr><td>{escape(k)}</td><td><code>{escape(str(v))}</code></td></tr>" for k, v in rows)
    return (
        f"<h2>The signal, as the on-call reads it</h2><blockquote>{escape(act.data['reason'])}</blockquote>"
        f"<table>{table}</table>"
    )


def _timeline(recording: Recording) -> str:
    rows = "".join(
        f"<tr><td>{escape(step.words)}</td><td class=num>{_clock(rfc3339(step.at_ms))}</td>"
        f"<td class=num>{_after(step)}</td><td class=num>{_since(step)}</td></tr>"
        for step in timeline(recording)
    )
    head = "<tr><th>what</th><th class=num>UTC</th><th class=num>after the change</th><th class=num>step</th></tr>"
    return f"<h2>Timeline</h2><table>{head}{rows}</table>"


def _shares(recording: Recording) -> str:
    words = (
        f"What the page showed first. {LEARNED} is as sure of itself after the change as before; {SAFE} shows the "
        "three shelves that most readers like."
    )
    return _figure("Shares of the actions", words, plots.shares_plot(recording))


def _verdicts(recording: Recording) -> str:
    if not recording.looks:
        return ""
    words = (
        f"The worst verdict of each rule on {LEARNED}, as the daemon's status had it. Once {LEARNED} is out of traffic "
        "there is nothing to judge, and unknown is not healthy."
    )
    return _figure("Verdicts", words, plots.verdicts_plot(recording))


def _all_signals(recording: Recording) -> str:
    rows = "".join(
        f"<tr><td class=num>{_clock(rfc3339(one.at_ms))}</td><td>{escape(one.data['kind'])}</td>"
        f"<td>{escape(one.data['state'])}</td><td>{escape(one.verdict)}</td><td>{escape(one.data['reason'])}</td></tr>"
        for one in recording.received
    )
    rows += "".join(f"<tr><td></td><td></td><td></td><td>refused</td><td>{escape(why)}</td></tr>"
                    for why in recording.refused)  # fmt: skip
    head = "<tr><th class=num>UTC</th><th>kind</th><th>state</th><th>receiver</th><th>reason</th></tr>"
    return (
        "<h2>Everything that came to the serving layer's webhook</h2><table>" + head + rows + "</table>"
        '<p class="soft">The refused one was forged by the demo itself: a fallback that nobody had signed.</p>'
    )


def _how(recording: Recording) -> str:
    base = recording.baseline
    return (
        '<h2>How it was run</h2><p class="soft">'
        f"Broker: {escape(recording.broker)}. Seed {recording.seed}. {DECISIONS_PER_S} decisions a second and as many "
        f"rewards, each half a second late or more. Baseline <code>{escape(str(base.get('digest', 'none')))}</code> of "
        f"{base.get('decisions', 0):,} decisions. Daemon, serving layer and broker were processes of their own; the "
        "config, the logs and the recording that this page is made of lie beside it.</p>"
    )


def _figure(title: str, words: str, picture: str) -> str:
    return f"<h2>{title}</h2><p>{words}</p><figure>{picture}</figure>"


def _after(step: Step | None) -> str:
    return "–" if step is None or step.after_ms is None else f"{after_text(step.after_ms)}"


def _since(step: Step | None) -> str:
    return "–" if step is None or step.since_ms is None else f"+{after_text(step.since_ms)}"


def _clock(stamp: str) -> str:
    return stamp[11:23]


def _mean(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"


def _percent(value: float) -> str:
    return f"{value:.0%}" if isfinite(value) else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
