"""Numbers of a comparison as they are told."""

import pandas as pd

from app.views.shared.intervals import DASH


def percent(value: float) -> str:
    """As many digits as a small share needs; empty where there is none."""
    if pd.isna(value):
        return ""
    if 0 < value < 0.00005:
        return "< 0.01%"
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{min(value, 0.9999):.2%}" if not 0.0995 <= value < 0.9995 else f"{value:.1%}"


def span(low: float, high: float) -> str:
    if pd.isna(low):
        return ""
    return f"{percent(low).removesuffix('%')}{DASH}{percent(high)}"


def times(ratio: float) -> str:
    """Three digits."""
    if 0 < ratio < 0.001:
        return "< 0.001×"
    ratio = float(f"{ratio:.3g}")
    digits = 0 if ratio >= 100 else 1 if ratio >= 10 else 2 if ratio >= 0.1 or not ratio else 4
    return f"{ratio:,.{digits}f}×"


def times_span(low: float, high: float) -> str:
    """Empty where there is no interval."""
    return "" if pd.isna(low) else f"{times(low).rstrip('×')}{DASH}{times(high)}"


def minus(text: str) -> str:
    """With a sign as wide as a plus, instead of a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
