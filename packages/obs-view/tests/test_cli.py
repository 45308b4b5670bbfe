"""The command, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from obs_view import Receiver
from obs_view._cli import main

from .test_http import TRACE, a_span, document
from .test_receiver import run_service


class Running:
    """A running ``obs-view`` and its ports."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        assert process.stderr
        self.stdout: IO[str] = process.stdout
        line = process.stderr.readline()
        ports = re.findall(r"http://127\.0\.0\.1:(\d+)", line)
        assert len(ports) == 2, line + process.stderr.read()
        self.grpc_url, self.http_url = (f"http://127.0.0.1:{port}" for port in ports)

    def read_until(self, text: str) -> str:
        """Return the output up to the line that has `text`."""
        read = ""
        while text not in read:
            line = self.stdout.readline()
            assert line, f"ended after:\n{read}"
            read += line
        return read

    def stop(self) -> str:
        """Interrupt it; return the rest of its output."""
        self.process.send_signal(signal.SIGINT)
        rest, errors = self.process.communicate(timeout=20)
        assert (self.process.returncode, errors) == (0, "")
        return rest


@contextmanager
def command(*arguments: str) -> Iterator[Running]:
    """Run the command on free ports."""
    line = [
        sys.executable,
        "-m",
        "obs_view",
        *arguments,
        "--port",
        "0",
        "--grpc-port",
        "0",
    ]
    variables = {**os.environ, "COLUMNS": "100", "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=variables,
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


def send(running: Running, *spans: dict[str, object]) -> None:
    """Post spans as OTLP-JSON."""
    answer = httpx.post(
        running.http_url + "/v1/traces", json=document(*spans), trust_env=False
    )
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.promise("VIEW-02")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_tail_prints_live_what_a_service_sends(protocol: str) -> None:
    """The tree comes while the command runs on, with nothing else on standard output."""
    with command("tail") as running:
        run_service(
            protocol,
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": running.grpc_url
                if protocol == "grpc"
                else running.http_url
            },
        )
        shown = running.read_until("linked to").splitlines()
        assert re.fullmatch(
            r"POST /orders · [\d.]+ [mµ]s · 2 spans · 1 service · 2 errors", shown[0]
        )
        assert re.fullmatch(r"trace [0-9a-f]{32} · correlation c-1", shown[1])
        assert re.fullmatch(
            r"✗ POST /orders +orders +SERVER +━+ +[\d.]+ [mµ]s", shown[2]
        )
        assert shown[3].strip() == "│  ValueError: card declined"
        assert running.stop().strip() == ""


@pytest.mark.promise("VIEW-01", "VIEW-07")
def test_alone_it_serves_the_page(tmp_path: Path) -> None:
    """``obs-view`` receives and serves the page, with the traces of files given; SIGTERM ends it as Ctrl-C does."""
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(document(a_span(name="kept"))))
    with command(str(file)) as running:
        send(running, a_span(traceId="1" * 32, name="sent"))
        found = httpx.get(running.http_url + "/api/traces", trust_env=False).json()
        assert [trace["name"] for trace in found["traces"]] == ["kept", "sent"]
        assert (
            "<title>obs-view</title>"
            in httpx.get(running.http_url, trust_env=False).text
        )
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


@pytest.mark.promise("VIEW-02")
def test_tail_filters() -> None:
    """Service, errors and least duration, all at once; what is unfinished is printed at the end."""
    good, failed = (
        a_span(traceId="1" * 32, name="good"),
        a_span(traceId="2" * 32, name="failed", status={"code": 2}),
    )
    short = a_span(
        traceId="3" * 32,
        name="short",
        status={"code": 2},
        endTimeUnixNano="1544712660000000009",
    )
    with command(
        "tail", "--errors", "--min-duration", "0.5s", "--service", "shop"
    ) as running:
        send(running, good, failed, short)
        assert re.findall(r"^\S+ · ", running.stop(), re.MULTILINE) == ["failed · "]
    with command("tail", "--service", "other") as running:
        send(running, good)
        assert running.stop() == ""


@pytest.mark.promise("VIEW-02")
@pytest.mark.parametrize("fold", [True, False])
def test_tail_folds_what_a_poller_sends(fold: bool) -> None:
    """The first one-span trace of a kind is printed, the others are counted; a failed one is printed."""
    polls = [
        a_span(traceId=f"{number:032x}", name="SELECT ctl_systems")
        for number in range(1, 44)
    ]
    failed = a_span(traceId="f" * 32, name="SELECT ctl_systems", status={"code": 2})
    whole = (
        a_span(traceId="e" * 32, name="GET /"),
        a_span(traceId="e" * 32, spanId="1" * 16),
    )
    with command("tail", *([] if fold else ["--no-fold"])) as running:
        send(running, *polls, failed, *whole)
        shown = running.stop()
    counts = re.findall(
        r"^(\d+) \u00d7 SELECT ctl_systems · shop · 1.00 s$", shown, re.MULTILINE
    )
    assert (counts, shown.count("\ntrace ")) == ((["42"], 3) if fold else ([], 45))


@pytest.mark.promise("VIEW-02", "VIEW-07")
def test_json_lines_can_be_shown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``tail --json`` writes OTLP-JSON, one document a trace, and ``show`` prints a file of it as the same trees."""
    with command("tail", "--json") as running:
        send(
            running,
            a_span(traceId="1" * 32, name="first"),
            a_span(traceId="2" * 32, name="second"),
        )
        lines = running.stop()
    assert [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"]
        for line in lines.splitlines()
    ] == [
        "first",
        "second",
    ]
    file = tmp_path / "traces.jsonl"
    file.write_text(lines)
    assert main(["show", str(file)]) == 0
    assert re.findall(r"^\S+ · ", capsys.readouterr().out, re.MULTILINE) == [
        "first · ",
        "second · ",
    ]


@pytest.mark.promise("VIEW-07")
def test_show_takes_one_document_with_line_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pretty-printed file, as other tools write it, is one document."""
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(document(a_span()), indent=2))
    assert main(["show", str(file)]) == 0
    assert f"trace {TRACE}" in capsys.readouterr().out


@pytest.mark.promise("VIEW-11")
def test_show_leaves_out_what_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad value costs its span, with a line that says so; the rest is shown."""
    file = tmp_path / "trace.json"
    file.write_text(
        json.dumps(document(a_span(name="kept"), a_span(endTimeUnixNano=-1)))
    )
    assert main(["show", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("kept · ")
    assert "trace.json: 1 span cannot be read: " in printed.err


@pytest.mark.promise("VIEW-04")
def test_linked_traces_lead_to_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below each tree a line says which other trace is linked with it, whichever way the link points."""
    first, second = "1" * 32, "2" * 32
    link = {"traceId": first, "spanId": "a" * 16}
    spans = (
        a_span(traceId=first, name="publish"),
        a_span(traceId=second, name="process", links=[link]),
    )
    (tmp_path / "trace.json").write_text(json.dumps(document(*spans)))
    assert main(["show", str(tmp_path / "trace.json")]) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "linked with" in line
    ]
    assert lines == [
        f"↪ linked with trace {second}: process · 1 span",
        f"↪ linked with trace {first}: publish · 1 span",
    ]


@pytest.mark.promise("VIEW-08")
def test_demo_says_what_it_misses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its extra there is one line, with the fix; tests/test_demo.py runs it."""
    monkeypatch.setattr(
        "obs_view._demo.find_spec", lambda name: None if name == "moto" else object()
    )
    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    told, command = line.removesuffix(", on Python 3.11 or later").split(": pip ")
    assert told == "obs-view: the demo misses moto"
    install, package, *ours = shlex.split(command)
    assert (install, Path(package).name) == ("install", "obs-view[demo]")
    assert {"obs-core", "obs-celery"} <= {path.name for path in map(Path, ours)}
    assert all((Path(path) / "pyproject.toml").is_file() for path in ours)


@pytest.mark.promise("VIEW-06")
def test_mistakes_get_one_line(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """A taken port, a missing file, a file of something else: what, and how to go on, with no traceback."""
    (tmp_path / "bad.json").write_text("{]")
    (tmp_path / "other.json").write_text('{"data": [{"traceID": "1"}]}')
    (tmp_path / "empty.json").write_text("")
    for arguments, text in (
        (
            ["tail", "--port", str(receiver.port), "--grpc-port", "0"],
            "choose another with --port (0: any free one)",
        ),
        (["show", str(tmp_path / "none.json")], "No such file"),
        (["show", str(tmp_path / "bad.json")], "the body is not OTLP-JSON"),
        (
            ["show", str(tmp_path / "other.json")],
            "other.json holds no span that can be read",
        ),
        (["show", str(tmp_path / "empty.json")], "the body is not OTLP-JSON"),
    ):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("obs-view: ")
        assert text in line


def test_a_wrong_duration_says_how_to_write_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The value is named, with what would be right."""
    with pytest.raises(SystemExit):
        main(["tail", "--min-duration", "long"])
    assert "'long' is no duration: write 250ms, 1.5s or 2min" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_has_enough_is_no_error(
    tmp_path: Path, options: list[str]
) -> None:
    """``obs-view show … | head -1`` ends in silence."""
    file = tmp_path / "many.json"
    file.write_text(
        json.dumps(document(*(a_span(traceId=f"{n:032x}") for n in range(1, 3000))))
    )
    line = [sys.executable, "-m", "obs_view", "show", str(file), *options]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.promise("VIEW-01")
def test_help_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A development tool; production goes to a collector."""
    for arguments in (["--help"], ["serve", "--help"], ["tail", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert (
            "Production sends to an OpenTelemetry Collector." in capsys.readouterr().out
        )
