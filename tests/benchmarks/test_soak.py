"""The soak does what it says: things change, the source comes back, the slow sink holds up nobody."""

from __future__ import annotations

import pytest

from benchmarks import soak as module


@pytest.mark.slow
def test_a_short_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_S", 0.5)
    monkeypatch.setattr(module, "CHANGE_S", 0.5)
    monkeypatch.setattr(module, "STALL_S", 2.0)
    diary = module.soak(15.0, "vangogh", first_s=1.0, present_s=(2.0, 3.0))
    assert diary.lost >= 2
    assert diary.changes >= 3
    assert len(diary.styles) >= 2
    assert len(diary.threads) == len(diary.memory_mb) >= 10
    assert max(diary.threads[5:]) <= max(diary.threads[:5]) + 1
    assert len(diary.ages_ms) > 30
