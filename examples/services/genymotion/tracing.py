"""The tracing of both of genymotion's processes, the API and the worker: the same few lines."""

from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from obs_db import instrument_redis, instrument_sqlalchemy

manager, middleware_config = setup_tracing(TracingConfig(service_name="genymotion"))
instrument_celery()
instrument_sqlalchemy(service_name="genymotion-db")
instrument_redis()
