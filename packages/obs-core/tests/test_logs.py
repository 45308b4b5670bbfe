"""Ids on log records."""

from __future__ import annotations

import logging
import logging.config

import pytest
from obs_core import correlation_scope
from obs_core.testing import SpanRecorder
from opentelemetry import trace

FORMAT = "%(message)s %(trace_id)s %(span_id)s %(correlation_id)s"


@pytest.mark.promise("CORE-10")
def test_the_filter_works_from_dict_config(spans: SpanRecorder, capsys) -> None:
    """On a handler, so that every logger's records pass it; "-" where there is nothing."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"trace": {"()": "obs_core.TraceContextFilter"}},
            "formatters": {"ids": {"format": FORMAT}},
            "handlers": {
                "out": {
                    "class": "logging.StreamHandler",
                    "filters": ["trace"],
                    "formatter": "ids",
                }
            },
            "loggers": {
                "ids": {"handlers": ["out"], "level": "INFO", "propagate": False}
            },
        }
    )
    logger = logging.getLogger("ids.child")
    logger.info("outside")
    with correlation_scope("abc"), trace.get_tracer("t").start_as_current_span("span"):
        logger.info("inside")
        logger.info("given", extra={"trace_id": "mine"})
    span = spans.one("span").context
    ids = f"{trace.format_trace_id(span.trace_id)} {trace.format_span_id(span.span_id)}"
    assert capsys.readouterr().err.splitlines() == [
        "outside - - -",
        f"inside {ids} abc",
        f"given mine {ids.split()[1]} abc",
    ]


@pytest.mark.promise("CORE-10")
def test_the_filter_works_on_celerys_loggers(run) -> None:
    """Celery sets up its own handlers and formatters: the filter goes on them by its signals."""
    pytest.importorskip("celery")
    done = run(
        """
        from celery import Celery
        from celery.signals import after_setup_logger, after_setup_task_logger
        from celery.utils.log import get_task_logger
        from obs_core import TraceContextFilter, correlation_scope

        @after_setup_logger.connect
        @after_setup_task_logger.connect
        def add_filter(logger, **_):
            for handler in logger.handlers:
                handler.addFilter(TraceContextFilter())

        app = Celery(broker="memory://", set_as_current=True)
        app.conf.worker_log_format = "worker %(message)s %(correlation_id)s"
        app.conf.worker_task_log_format = "task %(message)s %(correlation_id)s %(task_name)s"
        app.log.setup(loglevel="INFO", redirect_stdouts=False, colorize=False)
        with correlation_scope("abc"):
            get_task_logger("mine").info("hello")
            logging.getLogger("celery.worker").info("ready")
        """,
        prelude="import logging, time\n",
    )
    assert done.stderr.splitlines() == ["task hello abc ???", "worker ready abc"]
