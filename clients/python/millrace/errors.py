"""What can go wrong, with the server's own words."""


class Error(Exception):
    """The server refused: `status`, `code`, `path`, `line`, `hint`, and in `errors` every problem that it named."""

    def __init__(self, status, problem):
        self.status = status
        self.code = problem.get("code", "")
        self.path = problem.get("path", "")
        self.line = problem.get("line", 0)
        self.hint = problem.get("hint", "")
        self.errors = problem.get("errors", [])
        text = problem.get("detail") or problem.get("title") or "the server answered %d" % status
        super().__init__(text + (" (%s)" % self.hint if self.hint else ""))


class Unavailable(Exception):
    """The server cannot be reached, or says that it cannot answer now."""


class RunFailed(Exception):
    """A run that was waited for ended otherwise than well; `run` is the Run, with its `state` and `message`."""

    def __init__(self, run):
        self.run = run
        super().__init__("run %d %s%s" % (run.id, run.state, ": " + run.message if run.message else ""))
