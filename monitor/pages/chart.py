"""A frame for one chart as inline SVG: scales, axes, and the few shapes that the report draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

Point = tuple[float, float]

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--card:#f7f8fb;--ink:#1b2130;--soft:#5d6678;--rule:#dfe3ea;
--learned:#2f62d9;--safe:#0b8a68;--bad:#c9304c;--warn:#a86b00;--fill:#c9304c14;--window:#8a93a6;
--c0:#2f62d9;--c1:#e08a1e;--c2:#0b8a68;--c3:#b5438f;--c4:#7a6fd0;--c5:#8f9bb0}
@media (prefers-color-scheme:dark){:root{--paper:#12161e;--card:#1a202b;--ink:#e8ebf2;--soft:#9aa4b7;--rule:#2c3443;
--learned:#7fa5ff;--safe:#46d0a8;--bad:#ff7f92;--warn:#f0b455;--fill:#ff7f921c;--window:#7d879b;
--c0:#7fa5ff;--c1:#f0b455;--c2:#46d0a8;--c3:#ec8fcb;--c4:#b3a9ff;--c5:#8c97ab}}
svg{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
svg text{fill:var(--soft)}svg .ink{fill:var(--ink)}svg .strong{font-weight:600}
svg line,svg path,svg polyline{fill:none;stroke-linejoin:round;stroke-linecap:round}
"""


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps x in [left, right] and y in [low, high] to a plot area inside width by height, with room for labels."""

    left: float
    right: float
    low: float
    high: float
    width: int = 960
    height: int = 340
    inset_left: int = 52
    inset_right: int = 20
    inset_top: int = 58
    inset_bottom: int = 46

    @property
    def bottom(self) -> float:
        """Pixel of the x axis."""
        return self.height - self.inset_bottom

    def x(self, value: float) -> float:
        """Pixel of an x."""
        share = (value - self.left) / ((self.right - self.left) or 1.0)
        return self.inset_left + share * (self.width - self.inset_left - self.inset_right)

    def y(self, value: float) -> float:
        """Pixel of a y."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.bottom - share * (self.bottom - self.inset_top)

    def axes(self, ys: Sequence[tuple[float, str]], xs: Sequence[tuple[float, str]], title: str) -> str:
        """Horizontal rules with their labels, x labels, and what the x axis says."""
        end = self.width - self.inset_right
        parts = []
        for value, label in ys:
            y = self.y(value)
            parts.append(stroke(f"M{self.inset_left} {y:.1f}H{end}", "--rule", 1))
            parts.append(text(self.inset_left - 8, y + 4, label, anchor="end"))
        parts += [text(self.x(value), self.bottom + 20, label, anchor="middle") for value, label in xs]
        parts.append(text(end, self.height - 6, title, anchor="end"))
        return "".join(parts)

    def curve(self, points: Sequence[Point], colour: str, width: float, extra: str = "") -> str:
        """A line through the points whose y is a number."""
        seen = [(x, y) for x, y in points if isfinite(y)]
        if not seen:
            return ""
        path = "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in seen)
        return stroke(path, colour, width, extra)

    def svg(self, body: str, label: str, style: bool = False) -> str:
        """The picture. style: carry the colours along, for a file of its own."""
        own = (
            f"<style>{STYLE}</style><rect width='100%' height='100%' rx='10' fill='var(--paper)'/>"
            if style
            else ""
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(label)}">{own}{body}</svg>'
        )


def stroke(path: str, colour: str, width: float, extra: str = "") -> str:
    """A path without filling; `colour` names a variable of the style."""
    return f'<path d="{path}" style="stroke:var({colour});stroke-width:{width:g}" {extra}/>'


def rect(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> str:
    """A filled box with an optional tooltip."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="1.5" '
        f'style="fill:var({colour})">{tip}</rect>'
    )


def text(x: float, y: float, what: str, anchor: str = "start", kind: str = "", colour: str = "") -> str:
    """One line of text."""
    style = f' style="fill:var({colour})"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{style}>{escape(what)}</text>'
