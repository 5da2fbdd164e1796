"""Messages of Explain to the engine's dataclasses and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gateway.convert import read_recommend_request, write_recommendation
from gateway.engine.why import ItemQuestion, Why
from twostage.errors import InvalidField
from twostage.messages.bounds import MAX_ID_BYTES, checked_text
from twostage.v1 import gateway_pb2


def read_question(message: gateway_pb2.ExplainRequest, now_seconds: Callable[[], float]) -> ItemQuestion:
    """Reads a request.

    Args:
        message: As it came.
        now_seconds: Unix time, asked for when the request does not say when it is made.

    Raises:
        InvalidField: A field breaks the contract's bounds; those of the inner request are named ``request.…``.
    """
    item_id = checked_text("item_id", message.item_id, MAX_ID_BYTES, least=1)
    with naming_inner_fields():
        return ItemQuestion(read_recommend_request(message.request, now_seconds), item_id)


@contextmanager
def naming_inner_fields() -> Iterator[None]:
    """Has errors about fields of the request that is explained name them as they stand in the caller's message."""
    try:
        yield
    except InvalidField as error:
        error.tell([replace(each, field=f"request.{each.field}") for each in error.violations])
        raise


def write_why(why: Why) -> gateway_pb2.ExplainResponse:
    """Writes an answer."""
    message = gateway_pb2.ExplainResponse(
        request_id=why.request_id,
        generation=why.generation,
        rung=f"RUNG_{why.rung.name}",
        rung_reason=why.rung_reason,
        outcome=f"ITEM_OUTCOME_{why.outcome.name}",
        lost_by=why.lost_by,
        position=why.position,
    )
    write_recommendation(why.recommendation, message.recommendation)
    for step in why.steps:
        added = message.steps.add(
            stage=step.stage, rule=step.rule, effect=f"EXPLAIN_EFFECT_{step.effect.name}", words=step.words
        )
        added.numbers.update(step.numbers)
    for experiment, arm in why.arms:
        message.arms.add(experiment=experiment, arm=arm)
    return message
