"""Traces: what is under way is known to logs."""

from __future__ import annotations

from pathlib import Path

from minicloud.core.clock import SystemClock
from minicloud.core.store import Store
from minicloud.core.trace import Tracer, tell_work


def test_facts_in_logs_bear_the_request_and_subject_they_belong_to(tmp_path: Path) -> None:
    tracer = Tracer(Store(tmp_path / "db"), SystemClock())
    assert tell_work(None, "info", {"event": "x"}) == {"event": "x"}
    with tracer.request("req-1", "GET /things"):
        assert tell_work(None, "info", {"event": "x"}) == {"event": "x", "request_id": "req-1"}
        with tracer.operation("req-0", "thing/1", "thing.create"):
            told = tell_work(None, "info", {"event": "x"})
            assert told == {"event": "x", "request_id": "req-0", "subject": "thing/1"}
            assert tell_work(None, "info", {"subject": "thing/2"})["subject"] == "thing/2"
    assert tell_work(None, "info", {}) == {}
