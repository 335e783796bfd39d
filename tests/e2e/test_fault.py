"""A short run of tests/fault: enough to notice when a crash costs something. `make fault` does it 300 times."""
import sys

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/fault"))
import fault  # noqa: E402


@pytest.mark.parametrize("part", [fault.alone, fault.contending])
def test_killed_at_random_moments(part):
    assert part(8, 20) == []
