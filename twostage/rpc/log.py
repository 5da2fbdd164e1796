"""Structured logs on standard error: readable on a terminal, one JSON object a line otherwise.

Standard output stays free for the one line by which a server says that it serves.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor


def configure_logging(
    service: str,
    *,
    level: str = "INFO",
    log_format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
) -> FilteringBoundLogger:
    """Configures logging for this process; call it once, at start.

    Args:
        service: The name that every event carries.
        level: The least level that is logged, e.g. ``INFO``; applies to Twostage and to libraries alike.
        log_format: ``auto`` chooses by whether the stream is a terminal.
        stream: Where to write; standard error when unset.

    Returns:
        A logger bound to the service.
    """
    out = stream if stream is not None else sys.stderr
    pretty = log_format == "console" or (log_format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not pretty),
    ]
    # Tracebacks without local variables: those hold requests, user ids and vectors.
    traceback = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    last: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
        if pretty
        else [traceback, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    _route_libraries(service, level, shared, last, out)
    logger: FilteringBoundLogger = structlog.get_logger(service=service)
    return logger


def _route_libraries(service: str, level: str, shared: list[Processor], last: list[Processor], out: TextIO) -> None:
    """Sends what libraries log through `logging` the same way, so that every line of the process parses."""

    def name_origin(
        _logger: logging.Logger, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        record: logging.LogRecord = event["_record"]
        return {**event, "service": service, "logger": record.name}

    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, name_origin],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
