"""Experiments as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from training.experiments.arms import (
    ArmResult,
    WinResult,
    arm_names,
    compare_arms,
    compare_rivals,
    people_in_several_arms,
)
from training.experiments.intervals import METHODS, TARGET_COUNT, Method
from training.experiments.logged_policy import estimate_exploration
from training.experiments.off_policy import OffPolicyEstimate
from training.experiments.ratio import RateEstimate
from training.experiments.sample import Sample


@dataclass(frozen=True)
class ReportPlan:
    """What a report tells.

    Args:
        experiments: Which, in this order; all of the log when empty.
        actions: Which; all that were done when empty.
        methods: Which intervals.
        confidence: Of the intervals, within (0, 1).
        target_count: Where sequential intervals are tightest, in answers; fixed before the start.
        controls: The control's name by experiment; the arm named ``control`` where unset, or the first by name.
        clip: Bounds the weights of off-policy estimates; None for none.
    """

    experiments: Sequence[str] = ()
    actions: Sequence[str] = ()
    methods: Sequence[Method] = ("sequential", "fixed-horizon")
    confidence: float = 0.95
    target_count: float = TARGET_COUNT
    controls: dict[str, str] | None = None
    clip: float | None = None

    def arms(self, sample: Sample, experiment: str) -> list[str]:
        """The arms of an experiment, its control first."""
        names = arm_names(sample, experiment)
        control = (self.controls or {}).get(experiment, names[0])
        # A control that nobody was in is told of as such.
        return [control, *(name for name in names if name != control)]


@dataclass(frozen=True)
class Section:
    """One experiment and one action.

    Args:
        experiment: Which.
        action: What was done.
        arms: The arms, the control first; none where two are interleaved.
        rivals: The interleaved arms; None otherwise.
    """

    experiment: str
    action: str
    arms: Sequence[ArmResult] = ()
    rivals: WinResult | None = None


def sections(sample: Sample, plan: ReportPlan) -> list[Section]:
    """Computes all that the plan names.

    Raises:
        ValueError: The log has no such experiment.
    """
    for name in plan.experiments:
        if name not in sample.arms:
            there = ", ".join(sample.arms) or "none"
            raise ValueError(f"experiment: expected one of the log's ({there}), received {name!r}")
    computed = []
    for experiment in plan.experiments or sample.arms:
        for action in plan.actions or sample.action_names():
            if experiment in sample.rivals:
                computed.append(Section(experiment, action, rivals=compare_rivals(sample, experiment, action)))
            else:
                arms = compare_arms(sample, experiment, action, plan.arms(sample, experiment))
                computed.append(Section(experiment, action, arms))
    return computed


def tables(sample: Sample, computed: Sequence[Section], plan: ReportPlan) -> Iterator[Table | str]:
    """The sections, what is doubtful about them, and what exploration says; tables and lines between them."""
    for section in computed:
        yield _win_table(section, plan) if section.rivals is not None else _arm_table(section, plan)
    for experiment in dict.fromkeys(section.experiment for section in computed):
        several = people_in_several_arms(sample, experiment)
        if several:
            yield (
                f"{experiment}: {several} people were in more than one arm, as they are where requests are assigned; "
                "otherwise arms or salts were changed and the arms cannot be compared"
            )
    if sample.unnamed_count:
        yield f"{sample.unnamed_count} answers have no person and count as one each: intervals may be too narrow"
    if sample.unmatched_count:
        yield f"{sample.unmatched_count} events name an answer, an item or a person that the log does not have together"
    for method in plan.methods:
        yield f"{method}: {METHODS[method]}"
    for action in plan.actions or sample.action_names():
        estimates = estimate_exploration(sample, action, clip=plan.clip)
        if estimates:
            yield _off_policy_table(action, estimates, plan)


def _arm_table(section: Section, plan: ReportPlan) -> Table:
    table = Table(
        "arm", "people", "answers", "actions", "per answer", *plan.methods, "to control", *plan.methods, box=None
    )
    table.title = f"{escape(section.experiment)}: {escape(section.action)}, {plan.confidence:.0%} intervals"
    for arm in section.arms:
        difference = arm.difference
        table.add_row(
            escape(arm.arm),
            f"{arm.people_count:,}",
            f"{arm.answer_count:,}",
            f"{arm.action_count:,}",
            f"{arm.rate.value:.5f}",
            *(interval_text(arm.rate, method, plan) for method in plan.methods),
            "control" if difference is None else f"{difference.value:+.5f}",
            *("" if difference is None else interval_text(difference, method, plan) for method in plan.methods),
        )
    return table


def _win_table(section: Section, plan: ReportPlan) -> Table:
    wins = section.rivals
    assert wins is not None
    table = Table("arm", "against", "answers", "wins", "losses", "ties", "share of wins", *plan.methods, box=None)
    table.title = f"{escape(section.experiment)}: {escape(section.action)}, interleaved; 0.5 says as good"
    table.add_row(
        escape(wins.arm),
        escape(wins.rival),
        *(f"{count:,}" for count in (wins.answer_count, wins.win_count, wins.loss_count, wins.tie_count)),
        f"{wins.share.value:.4f}",
        *(interval_text(wins.share, method, plan) for method in plan.methods),
    )
    return table


def interval_text(estimate: RateEstimate, method: Method, plan: ReportPlan) -> str:
    """An interval as a table shows it."""
    interval = estimate.interval(method, plan.confidence, plan.target_count)
    return "too little" if interval is None else f"[{interval.low:.4g}, {interval.high:.4g}]"


def _off_policy_table(action: str, estimates: Sequence[OffPolicyEstimate], plan: ReportPlan) -> Table:
    table = Table("estimate", "per shown item", "fixed-horizon", "effective", "of items", "clipped", box=None)
    table.title = f"without exploration: {escape(action)}, from the answers that were explored"
    for each in estimates:
        interval = each.interval(plan.confidence)
        table.add_row(
            each.estimator,
            f"{each.value:.6f}",
            f"[{interval.low:.4g}, {interval.high:.4g}]",
            f"{each.effective_count:,.0f}",
            f"{each.observation_count:,}",
            f"{each.clipped_count:,}",
        )
    return table
