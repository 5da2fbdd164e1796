"""A panel of a dashboard, and the queries that panels are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RECOMMEND = 'namespace="$namespace", method="twostage.v1.RecommendationService/Recommend"'
HERE_ONLY = 'namespace="$namespace"'
EVERY = "$__rate_interval"
MODEL_LATENCY = ":tensorflow:serving:request_latency"
CERTIFICATE_EXPIRY = "twostage_tls_certificate_expiry_timestamp_seconds"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: What is seen.
        queries: PromQL and legend.
        unit: Grafana's name of the unit.
        description: What it means, or what to look for.
        kind: Grafana's name of the panel.
        stacked: Whether series are stacked.
        exemplars: Whether exemplars, which open a trace, are shown.
        most: The largest value of the axis, where there is one.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    description: str = ""
    kind: str = "timeseries"
    stacked: bool = False
    exemplars: bool = False
    most: float | None = None


def rate(series: str, by: str = "", **labels: str) -> str:
    """How fast a counter grows, summed by labels."""
    told = ", ".join([HERE_ONLY, *(f'{name}="{value}"' for name, value in labels.items())])
    return f"sum{f' by ({by})' if by else ''} (rate({series}{{{told}}}[{EVERY}]))"


def quantiles(
    histogram: str, by: str = "", labels: str = HERE_ONLY, shares: Sequence[float] = (0.5, 0.9, 0.99)
) -> list[tuple[str, str]]:
    """Percentiles of a histogram."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    groups = ", ".join(filter(None, ["le", by]))
    return [
        (
            f"histogram_quantile({share}, sum by ({groups}) (rate({histogram}_bucket{{{labels}}}[{EVERY}])))",
            f"{legend} p{share * 100:g}".strip(),
        )
        for share in shares
    ]


def burn(record: str, budget: float) -> list[tuple[str, str]]:
    """How fast an objective's budget is spent, 1 is the pace that just lasts."""
    return [
        (f"twostage:{record}:ratio_rate{window}{{{HERE_ONLY}}} / {budget}", window) for window in ("5m", "1h", "6h")
    ]
