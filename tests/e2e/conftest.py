"""Fixtures: `server` is shared by the tests of a session; `fresh` makes servers of a test's own."""
import sys

import pytest

sys.path.insert(0, str(__import__("pathlib").Path(__file__).parent))

import contract  # noqa: E402
from harness import Server  # noqa: E402

Server.judge = staticmethod(contract.judge)


@pytest.fixture(scope="session")
def server():
    made = Server()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture
def fresh():
    """fresh(options…) makes and starts a server of the test's own."""
    made = []

    def make(*options, start=True, **more):
        made.append(Server(*options, **more))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows the end of the server's log beside a failure."""
    outcome = yield
    report = outcome.get_result()
    shared = item.funcargs.get("server") if hasattr(item, "funcargs") else None
    if report.failed and shared is not None:
        report.sections.append(("end of the server's log", shared.tail()))
