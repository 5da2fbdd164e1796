"""What operators see of answers to Recommend: by generation, arm and source, what is missing, and where time went."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.engine.ladder import Rung
from gateway.engine.plan import Arm
from gateway.engine.response import RecommendResponse, ShortfallReason
from twostage.rpc.step_seconds import StepSeconds, several_processes
from twostage.rpc.tracing.current import exemplar

# Of each generation that answered lately there is a series: current, previous, and what a roll-out has beside them.
_KEPT_GENERATIONS = 4
_HEALTHY = (Rung.FULL, Rung.FEWER_CANDIDATES)
# By the timings' names: what counts as the stage's own work, and what as the way there and back.
_STAGES: dict[str, tuple[tuple[str, str], tuple[str, str] | None]] = {
    "user": (("users", "compute"), None),
    "retrieval": (("retrieval", "compute"), ("retrieval", "transport")),
    "ranking": (("ranking", "compute"), ("ranking", "transport")),
}
# Everything of a Recommend that is none of the others.
_ANSWER = ("answer", "compute")


class AnswerMetrics:
    """Counts answers to Recommend; labels are resolved once, because resolving costs more than counting.

    ``twostage_gateway_generation_recommendations_total{generation, rung}``,
    ``twostage_gateway_arm_recommendations_total{experiment, arm, rung}``,
    ``twostage_gateway_stage_seconds{stage, part}``, ``twostage_gateway_shown_items_total{source}``,
    ``twostage_gateway_shortfalls_total{reason}``, ``twostage_gateway_missing_items_total{reason}``,
    ``twostage_gateway_answer_cache_total{outcome}``, ``twostage_gateway_answer_cache_bytes`` and
    ``twostage_gateway_answer_cache_people``.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_generation = _DroppedWhenGone(
            Counter(
                "twostage_gateway_generation_recommendations_total",
                "Recommend answers by the generation that they come from and by rung.",
                ("generation", "rung"),
                registry=registry,
            )
        )
        self._by_arm = _DroppedWhenGone(
            Counter(
                "twostage_gateway_arm_recommendations_total",
                "Recommend answers by the experiments' arms that the request was in and by rung.",
                ("experiment", "arm", "rung"),
                registry=registry,
            )
        )
        self._stage_seconds = StepSeconds(
            "twostage_gateway_stage_seconds",
            "Where the time of Recommend went: users (store, and the question posed), retrieval and ranking (compute "
            "as they state it, transport as the rest of the wait, of calls that were answered), answer (all else of "
            "requests that both stages answered).",
            ("stage", "part"),
            registry=registry,
        )
        self._shown = Counter(
            "twostage_gateway_shown_items_total",
            "Recommended items by the candidate sources that found them; an item of two sources counts for both, one "
            "that was no candidate for none.",
            ("source",),
            registry=registry,
        )
        self._by_source: dict[str, Counter] = {}
        shortfalls = Counter(
            "twostage_gateway_shortfalls_total",
            "Recommend answers with fewer items than asked for, by reason.",
            ("reason",),
            registry=registry,
        )
        missing = Counter(
            "twostage_gateway_missing_items_total",
            "Items by which Recommend answers were short, by reason.",
            ("reason",),
            registry=registry,
        )
        self._short = {
            reason: (shortfalls.labels(reason.name.lower()), missing.labels(reason.name.lower()))
            for reason in ShortfallReason
        }
        cache = Counter(
            "twostage_gateway_answer_cache_total",
            "Requests that retrieval did not answer, by whether an earlier answer was of use: hit, miss.",
            ("outcome",),
            registry=registry,
        )
        self._cached = {Rung.CACHED: cache.labels("hit"), Rung.POPULAR: cache.labels("miss")}
        self._cache_bytes = Gauge(
            "twostage_gateway_answer_cache_bytes",
            "What earlier answers take in memory, estimated.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._shown_bytes = self._shown_people = -1
        self._cache_people = Gauge(
            "twostage_gateway_answer_cache_people",
            "People, or questions of nobody in particular, of whom an answer is remembered.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def answered(self, response: RecommendResponse, seconds: float) -> None:
        """Counts an answer.

        Args:
            response: The answer.
            seconds: How long it took.
        """
        rung = response.rung
        self._stage_seconds.observe(_observations(response, seconds), exemplar())
        self._by_generation.inc((str(response.generation), rung.name), self._newest_generations)
        for experiment, arm in response.arms:
            self._by_arm.inc((experiment, arm, rung.name))
        by_sources: dict[tuple[str, ...], int] = {}
        for each in response.recommendations:
            sources = tuple(each.sources)
            by_sources[sources] = by_sources.get(sources, 0) + 1
        for sources, count in by_sources.items():
            for name in sources:
                self._source(name).inc(count)
        if response.shortfall is not None:
            answers, items = self._short[response.shortfall.reason]
            answers.inc()
            items.inc(response.shortfall.missing_count)
        if (cached := self._cached.get(rung)) is not None:
            cached.inc()

    def remembered(self, byte_count: int, people_count: int) -> None:
        """Shows how much is remembered of earlier answers."""
        # Comparing costs less than setting.
        if byte_count != self._shown_bytes:
            self._shown_bytes = byte_count
            self._cache_bytes.set(byte_count)
        if people_count != self._shown_people:
            self._shown_people = people_count
            self._cache_people.set(people_count)

    def keep_arms(self, arms: Collection[Arm]) -> None:
        """Drops the series of all other arms; told when experiments change."""
        kept = set(arms)
        self._by_arm.keep(lambda labels: Arm(labels[0], labels[1]) in kept)

    def _source(self, name: str) -> Counter:
        found = self._by_source.get(name)
        if found is None:
            found = self._by_source[name] = self._shown.labels(name)
        return found

    def _newest_generations(self, known: Collection[tuple[str, ...]]) -> Callable[[tuple[str, ...]], bool]:
        # By when each first answered, not by number: after going back a low one answers.
        newest = list(dict.fromkeys(generation for generation, _ in reversed(list(known))))[:_KEPT_GENERATIONS]
        return lambda labels: labels[0] in newest


def _observations(response: RecommendResponse, seconds: float) -> list[tuple[tuple[str, str], float]]:
    found: list[tuple[tuple[str, str], float]] = []
    stages_ms = 0.0
    for stage, compute_ms, transport_ms in response.timings:
        if (labels := _STAGES.get(stage)) is None:
            # A step inside a stage, which that stage counts itself.
            continue
        stages_ms += compute_ms + transport_ms
        compute, transport = labels
        found.append((compute, compute_ms / 1e3))
        if transport is not None:
            found.append((transport, transport_ms / 1e3))
    # Of a stage that did not answer there is no timing, so what it took cannot be told from our own work.
    if response.rung in _HEALTHY:
        found.append((_ANSWER, max(seconds - stages_ms / 1e3, 0.0)))
    return found


class _DroppedWhenGone:
    """A counter whose series can be dropped.

    Where several processes count for one port a series cannot be dropped, for its file is everybody's: there it stays
    until they end.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._known: dict[tuple[str, ...], Counter] = {}
        self._droppable = not several_processes()

    def inc(
        self,
        labels: tuple[str, ...],
        kept: Callable[[Collection[tuple[str, ...]]], Callable[[tuple[str, ...]], bool]] | None = None,
    ) -> None:
        """Counts one.

        Args:
            labels: Whose.
            kept: Asked, when a series is new, which of all are kept; all are when None.
        """
        counter = self._known.get(labels)
        if counter is None:
            counter = self._counter.labels(*labels)
            self._known = {**self._known, labels: counter}
            if kept is not None:
                self.keep(kept(self._known))
        counter.inc()

    def keep(self, wanted: Callable[[tuple[str, ...]], bool]) -> None:
        """Drops the series that are not wanted."""
        if not self._droppable:
            return
        known = self._known
        self._known = {labels: counter for labels, counter in known.items() if wanted(labels)}
        for labels in known.keys() - self._known.keys():
            self._counter.remove(*labels)
