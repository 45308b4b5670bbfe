"""Forked processes: what belongs to whom, and connections that are never shared."""

from __future__ import annotations

import socket

import pytest
from obs_core.testing import OtlpSink

CHILDREN = 50
PRELUDE = """
import os, sys, time
from opentelemetry import trace
from obs_core import TracingConfig, setup_tracing
tracer = trace.get_tracer("test")
def spans(count, name):
    for _ in range(count):
        tracer.start_span(name).end()
"""

SETUP = """
    manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{url}", {more}))
    def fork(child):
        pid = os.fork()
        if pid == 0:
            try:
                child()
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.promise("CORE-23")
def test_each_span_of_a_fork_is_exported_once_by_the_right_process(
    run, otlp_sink: OtlpSink
) -> None:
    """Finished before the fork, or open at it: the parent's. The SDK exports the open one twice."""
    run(
        SETUP.format(url=otlp_sink.url, more="")
        + """
    spans(1, "before")
    with tracer.start_as_current_span("open"):
        open_too = tracer.start_span("open too")
        def child():
            open_too.end()
            with tracer.start_as_current_span("child"): pass
            trace.get_current_span().end()
            tracer.start_span("backdated", start_time=1).end()
            assert manager.flush(20)
            assert manager.stats().exported == manager.stats().started == 2, manager.stats()
        fork(child)
        open_too.end()
    assert manager.flush(20)
    assert manager.stats().exported == manager.stats().started == 3, manager.stats()
    """
    )
    arrived = otlp_sink.wait_for(5)
    assert sorted(span.name for span in arrived) == [
        "backdated",
        "before",
        "child",
        "open",
        "open too",
    ]
    processes = {span.name: span.resource["process.pid"] for span in arrived}
    assert processes["before"] == processes["open"] == processes["open too"]
    assert processes["child"] == processes["backdated"] != processes["before"]
    by_name = {span.name: span for span in arrived}
    assert by_name["child"].parent_id == by_name["open"].span_id
    assert (
        by_name["child"].resource["process.parent_pid"]
        == by_name["before"].resource["process.pid"]
    )


@pytest.mark.promise("CORE-23")
@pytest.mark.parametrize(
    ("more", "env", "kept"),
    [
        ("", {}, None),
        ("resource_attributes={'service.instance.id': 'mine'}", {}, "mine"),
        ("", {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine"}, "mine"),
        (
            "resource_attributes={'team': 't'}",
            {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine"},
            "mine",
        ),
    ],
    ids=["generated", "argument", "environment", "both"],
)
def test_instance_id_is_the_childs_own_unless_the_user_set_one(
    run, otlp_sink, more, env, kept
) -> None:
    """The SDK (1.45) overwrites the user's; earlier ones keep the parent's generated one."""
    run(
        SETUP.format(url=otlp_sink.url, more=more)
        + """
    spans(1, "parent")
    manager.flush(20)
    fork(lambda: (spans(1, "child"), manager.flush(20)))
    fork(lambda: (trace.get_tracer("another").start_span("another").end(), manager.flush(20)))
    """,
        **env,
    )
    ids = {
        span.name: span.resource["service.instance.id"]
        for span in otlp_sink.wait_for(3)
    }
    if kept:
        assert set(ids.values()) == {kept}
    else:
        assert len(set(ids.values())) == 3


@pytest.mark.promise("CORE-24")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_fifty_children_with_a_warm_connection_export_without_a_stall(
    run, otlp_sink, grpc_sink, protocol
) -> None:
    """The inherited connection is never used: the SDK's children write into one socket, and stall (#4994)."""
    url = grpc_sink.url if protocol == "grpc" else otlp_sink.url
    done = run(
        SETUP.format(url=url, more=f"collector_protocol='{protocol}'")
        + f"""
    spans(1, "warm")
    assert manager.flush(20)
    slowest = 0
    for _ in range({CHILDREN}):
        def child():
            began = time.monotonic()
            spans(1, "child")
            assert manager.flush(20)
            assert time.monotonic() - began < 5
        fork(child)
    spans(1, "after")
    assert manager.flush(20)
    """
    )
    names = (
        grpc_sink.wait_for(52)
        if protocol == "grpc"
        else [span.name for span in otlp_sink.wait_for(52)]
    )
    assert sorted(names) == ["after", *["child"] * CHILDREN, "warm"]
    assert done.lines("obs_core") == []


@pytest.mark.promise("CORE-24")
def test_children_that_fork_at_the_same_time_export_too(run, otlp_sink) -> None:
    """Fifty children alive together, forked while other threads end spans and hold whatever locks there are."""
    done = run(
        SETUP.format(
            url=otlp_sink.url, more="max_queue_size=100000, export_timeout_s=60"
        )
        + f"""
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            spans(1, "busy")
            manager.stats()
            time.sleep(0.0002)
    threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    for thread in threads: thread.start()
    pids = []
    for _ in range({CHILDREN}):
        pid = os.fork()
        if pid == 0:
            spans(1, "child")
            os._exit(0 if manager.flush(60) else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * {CHILDREN}
    stop.set()
    for thread in threads: thread.join()
    assert manager.flush(30)
    stats = manager.stats()
    print(stats.exported)
    """
    )
    exported = int(done.stdout)
    arrived = otlp_sink.wait_for(exported + CHILDREN)
    assert len(otlp_sink.named("child")) == CHILDREN
    assert (
        len({span.span_id for span in arrived}) == len(arrived) == exported + CHILDREN
    )


@pytest.mark.promise("CORE-24")
def test_grpc_without_fork_support_gives_one_warning(run, grpc_sink) -> None:
    """`GRPC_ENABLE_FORK_SUPPORT=0` leaves children that cannot export: said once, at the first fork."""
    done = run(
        SETUP.format(url=grpc_sink.url, more="collector_protocol='grpc'")
        + """
    fork(lambda: None)
    fork(lambda: None)
    assert "GRPC_ENABLE_FORK_SUPPORT" in manager.status.problems[0]
    """,
        GRPC_ENABLE_FORK_SUPPORT="0",
    )
    assert len(done.lines("obs_core")) == 1
    assert "GRPC_ENABLE_FORK_SUPPORT=0" in done.lines("obs_core")[0]


@pytest.mark.promise("CORE-23")
def test_greenlets_go_on_while_a_flush_waits_and_do_not_export_twice(
    run, otlp_sink
) -> None:
    """Under gevent the export thread is a greenlet, which survives the fork, with the parent's queue in its hands."""
    pytest.importorskip("gevent")
    done = run(
        f"""
        import gevent
        from gevent.os import fork
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}", schedule_delay_s=0.2)
        manager, _ = setup_tracing(config)
        spans(3, "parent")
        ticks = []
        gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0)) for _ in range(5)])
        assert manager.flush(20)
        assert ticks
        spans(1, "queued")
        pid = fork()
        if pid == 0:
            spans(1, "child")
            gevent.sleep(0.5)
            os._exit(0 if manager.flush(20) and manager.stats().exported == 1 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        prelude="from gevent import monkey; monkey.patch_all()" + PRELUDE,
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    names = sorted(span.name for span in otlp_sink.wait_for(5))
    assert names == ["child", "parent", "parent", "parent", "queued"]
    assert done.stderr == ""


@pytest.mark.promise("CORE-27")
def test_stats_are_per_process(run, otlp_sink) -> None:
    """A child counts from zero."""
    run(
        SETUP.format(url=otlp_sink.url, more="")
        + """
    spans(3)
    manager.flush(20)
    def child():
        assert manager.stats().started == 0
        spans(2)
        manager.flush(20)
        assert (manager.stats().started, manager.stats().exported) == (2, 2)
    fork(child)
    assert (manager.stats().started, manager.stats().exported) == (3, 3)
    """
    )


POOLS = {
    "multiprocessing": """
        import multiprocessing
        process = multiprocessing.get_context("fork").Process(target=spans, args=(3, "child"))
        process.start(); process.join()
        assert process.exitcode == 0
    """,
    "pool": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(spans, (3, "child"))
            pool.close()
            pool.join()
    """,
    "executor": """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            pool.submit(spans, 3, "child").result()
    """,
}


@pytest.mark.promise("CORE-25")
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_children_of_multiprocessing_lose_nothing(
    run, otlp_sink, grpc_sink, pool, protocol
) -> None:
    """They end by `os._exit`, past `atexit`: with the SDK, and without our hook, their spans are lost."""
    url = grpc_sink.url if protocol == "grpc" else otlp_sink.url
    run(
        f"""
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{url}", collector_protocol="{protocol}",
                                                 exit_timeout_s=30))
        manager.flush_in_children()
        manager.flush_in_children()
        spans(1, "parent")
        """
        + POOLS[pool],
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    names = (
        grpc_sink.wait_for(4)
        if protocol == "grpc"
        else [span.name for span in otlp_sink.wait_for(4)]
    )
    assert sorted(names) == ["child", "child", "child", "parent"]


SERVED = """
    if __name__ == "__main__":
        context = multiprocessing.get_context("{method}")
        {use}
        spans(1, "parent")
"""
SERVED_USES = {
    "process": """process = context.Process(target=spans, args=(3, "child"))
        process.start(); process.join()
        assert process.exitcode == 0""",
    "executor": """with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(spans, 3, "child").result()""",
}


@pytest.mark.promise("CORE-25")
@pytest.mark.parametrize("use", SERVED_USES)
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_children_that_set_up_tracing_themselves_lose_nothing(
    run, otlp_sink: OtlpSink, method: str, use: str
) -> None:
    """The default from Python 3.14 on: children of the fork server import the main module anew, and end by `os._exit`."""
    done = run(
        f"""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}", exit_timeout_s=30))
    """
        + SERVED.format(method=method, use=SERVED_USES[use])
    )
    assert done.stderr == ""
    names = sorted(span.name for span in otlp_sink.wait_for(4))
    assert names == ["child", "child", "child", "parent"]


@pytest.mark.promise("CORE-23")
def test_a_fork_made_in_c_is_noticed(run, otlp_sink: OtlpSink) -> None:
    """No hook of Python's runs there: the child has a queue, counts, an instance and ids of its own all the same."""
    run(
        SETUP.format(url=otlp_sink.url, more="")
        + """
    import ctypes
    spans(2, "parent")
    open_too = tracer.start_span("open too")
    for _ in range(2):
        pid = ctypes.PyDLL(None).fork()
        if pid == 0:
            open_too.end()
            spans(1, "child")
            ok = manager.flush(20) and manager.stats().exported == manager.stats().started == 1
            print(manager.stats(), file=sys.stderr, flush=True)
            os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
    open_too.end()
    assert manager.flush(20)
    assert manager.stats().exported == manager.stats().started == 3, manager.stats()
    """
    )
    arrived = otlp_sink.wait_for(5)
    children = otlp_sink.named("child")
    assert sorted(span.name for span in arrived) == [
        "child",
        "child",
        "open too",
        "parent",
        "parent",
    ]
    assert (
        len({span.trace_id for span in arrived})
        == len({span.span_id for span in arrived})
        == 5
    )
    assert len({span.resource["service.instance.id"] for span in arrived}) == 3
    assert len({span.resource["process.pid"] for span in children}) == 2


@pytest.mark.promise("CORE-24")
def test_a_thread_pool_imported_after_setup_does_not_stop_the_children(
    run, otlp_sink: OtlpSink
) -> None:
    """The SDK uses one in each child; did its module watch forks after the SDK, the child would wait for its lock for ever."""
    finished = run(
        """
        import signal
        setup_tracing(TracingConfig(service_name="parent", collector_url=os.environ["SINK"], exit_timeout_s=20))
        import concurrent.futures.thread
        child = os.fork()
        if not child:
            spans(1, "child")
            os._exit(0)
        threading.Timer(20, os.kill, (child, signal.SIGKILL)).start()
        print(os.waitpid(child, 0)[1], flush=True)
        os._exit(0)
        """,
        SINK=otlp_sink.url,
    )
    assert finished.stdout.strip() == "0"


@pytest.mark.promise("CORE-24")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_first_export_imports_nothing(
    run, otlp_sink: OtlpSink, grpc_sink, protocol: str
) -> None:
    """A child forked during an import would wait for ever for the module's lock, which a thread of the parent held."""
    finished = run(
        """
        import logging
        manager = setup_tracing(TracingConfig(
            service_name="parent", collector_url=sys.argv[1], collector_protocol=sys.argv[2],
            logs=True, metrics=sys.argv[2] == "http",
        )).manager
        before = set(sys.modules)
        spans(1, "first")
        logging.getLogger("shop").warning("first")
        assert manager.flush(20)
        print(sorted(set(sys.modules) - before))
        """,
        {"http": otlp_sink, "grpc": grpc_sink}[protocol].url,
        protocol,
    )
    assert finished.stdout.strip() == "[]"


@pytest.mark.promise("CORE-24")
def test_no_request_of_grpc_is_under_way_at_a_fork(run, grpc_sink) -> None:
    """While threads make spans all the time; gRPC would skip its preparation, and a child's export might never end."""
    grpc_sink.delay_s = 0.03
    finished = run(
        """
        import threading
        from obs_core._export import grpc_at_fork
        grpc_at_fork.LONGEST_WAIT_S = 20 # however busy the machine is
        manager, _ = setup_tracing(TracingConfig(
            service_name="parent", collector_url=sys.argv[1], collector_protocol="grpc", schedule_delay_s=0.1,
        ))
        is_over = False
        def noise():
            while not is_over:
                spans(50, "noise")
                time.sleep(0.01)
        threads = [threading.Thread(target=noise) for _ in range(2)]
        for thread in threads: thread.start()
        children = []
        for number in range(60):
            time.sleep(0.02)
            if not (child := os.fork()):
                spans(1, "child")
                os._exit(0 if manager.flush(20) else 1)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        is_over = True
        for thread in threads: thread.join()
        assert codes == [0] * 60, codes
        """,
        grpc_sink.url,
    )
    assert "skipping fork()" not in finished.stderr
    assert grpc_sink.names.count("child") == 60


@pytest.mark.promise("CORE-29")
def test_a_silent_collector_does_not_hold_up_a_fork(run) -> None:
    """A tenth of a second, while the request waits for its answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finished = run(
            """
            setup_tracing(TracingConfig(
                service_name="parent", collector_url=sys.argv[1], collector_protocol="grpc",
                schedule_delay_s=0.1, exit_timeout_s=0.1,
            ))
            spans(1, "first")
            time.sleep(1)
            began = time.monotonic()
            if not (child := os.fork()):
                os._exit(0)
            print(time.monotonic() - began)
            """,
            f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
    assert float(finished.stdout) < 1
