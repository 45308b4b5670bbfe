#!/usr/bin/env bash
# Celery 5.7.0, kombu 5.7.0, RabbitMQ with quorum queues (Celery's "native delayed delivery").
#
# send_task(exchange=…, routing_key=…) goes where it says. The same call with countdown=1 goes elsewhere: Celery
# computes the delayed message's place from the task's *queue* alone, here the default queue, and overwrites both
# arguments. No warning, no error. The routing key that arrives is the queue's binding pattern ("jobs.#"), literally.
#
# Expected by most: countdown changes when a message arrives, and nothing else. Here it changes who gets it.
#
# Output seen:
#   now: queue audit, routing key audit.eu
#   countdown: queue jobs, routing key ….1.jobs.#
#
# Needs a RabbitMQ to write to: BROKER_URL, or guest's on this host. What it declares of its own, it deletes; Celery's
# shared celery_delayed_* exchanges and queues stay, as any worker with a quorum queue leaves them.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet celery==5.7.0 kombu==5.7.0
"$folder/venv/bin/python" - <<'PROGRAM'
import os
import time
import uuid

from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.transport import native_delayed_delivery as delayed

url = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
mark = uuid.uuid4().hex[:8]
quorum = {"x-queue-type": "quorum"}
jobs, audit = queues = [
    Queue(f"{name}-{mark}", Exchange(f"{name}-{mark}", type="topic"), routing_key=f"{name}.#", queue_arguments=quorum)
    for name in ("jobs", "audit")
]
app = Celery(broker=url)
app.conf.update(task_queues=queues, task_default_queue=jobs.name, task_default_queue_type="quorum")

with Connection(url) as connection:
    channel = connection.default_channel
    delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
    for queue in queues:
        queue(channel).declare()
        delayed.bind_queue_to_native_delayed_delivery_exchange(connection, queue)
    arrived = []
    for when, options in (("now", {}), ("countdown", {"countdown": 1})):
        app.send_task("note", exchange=audit.exchange.name, routing_key="audit.eu", ignore_result=True, **options)
        found = None
        end = time.monotonic() + 20
        while found is None and time.monotonic() < end:
            time.sleep(0.1)
            for queue in queues:
                if message := queue(channel).get(no_ack=True):
                    found = queue.name.removesuffix(f"-{mark}"), message.delivery_info["routing_key"]
        arrived.append(found)
        print(f"{when}: queue {found[0]}, routing key {found[1]}")
    for queue in queues:
        queue(channel).delete()
        queue.exchange(channel).delete()
assert arrived[0] == ("audit", "audit.eu"), arrived
assert arrived[1][0] == "jobs" and arrived[1][1].endswith(".1.jobs.#"), arrived
PROGRAM
