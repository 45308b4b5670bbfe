"""A beat with a scheduler of others, which ticks until its entry has been sent: ``redbeat`` or ``django`` is the argument."""

from __future__ import annotations

import os
import sys
import uuid
from datetime import timedelta

from celery import Celery
from celery.beat import Service
from obs_celery import instrument_celery
from obs_core.testing import record_spans, wait_until


def redbeat_service(app: Celery) -> Service:
    """Keep an entry in Redis."""
    from redbeat import RedBeatScheduler, RedBeatSchedulerEntry

    app.conf.redbeat_redis_url = os.environ["TEST_BROKER"]
    app.conf.redbeat_key_prefix = f"redbeat-{uuid.uuid4().hex}:"
    entry = RedBeatSchedulerEntry("nightly", "work", timedelta(seconds=0.1), app=app)
    entry.save()
    return Service(app, scheduler_cls=RedBeatScheduler)


def django_service(app: Celery) -> Service:
    """Keep an entry in SQLite."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["TEST_DATABASE"],
    }
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["django_celery_beat"],
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    schedule = IntervalSchedule.objects.create(every=100, period="microseconds")
    PeriodicTask.objects.create(name="nightly", task="work", interval=schedule)
    return Service(app, scheduler_cls="django_celery_beat.schedulers:DatabaseScheduler")


if __name__ == "__main__":
    from celery import signals

    beat_app = Celery("beat", broker=os.environ["TEST_BROKER"])
    beat_app.conf.task_default_queue = f"beat-{uuid.uuid4().hex}"
    instrument_celery(beat_app)
    of = {"redbeat": redbeat_service, "django": django_service}
    with record_spans() as spans:
        service = of[sys.argv[1]](beat_app)
        signals.beat_init.send(sender=service)

        def has_sent() -> bool:
            service.scheduler.tick()
            return any(span.name == "publish work" for span in spans.finished)

        wait_until(has_sent, 60)
        with beat_app.connection_for_write() as connection:
            connection.default_channel.queue_delete(beat_app.conf.task_default_queue)
    sent = next(span for span in spans.finished if span.name == "publish work")
    place = "root" if sent.parent is None else "child"
    entry_name = (sent.attributes or {}).get("celery.beat.entry")
    print(f"{sent.name}: {sent.kind.name}, {place}, {entry_name}")
