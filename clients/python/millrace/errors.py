"""What can go wrong, with the server's own words."""


def _said(problem, message):
    """One problem with its place and the cure: line 6: steps.a.rnu: unknown key 'rnu' (did you mean 'run'?)"""
    place = ["line %d" % problem["line"]] if problem.get("line") else []
    place += [problem["path"]] if problem.get("path") else []
    return ": ".join(place + [message]) + (" (%s)" % problem["hint"] if problem.get("hint") else "")


class Error(Exception):
    """The server refused: `status`, `code`, `path`, `line`, `hint`, and in `errors` every problem that it named; as
    text all of them, a line each."""

    def __init__(self, status, problem):
        self.status = status
        self.code = problem.get("code", "")
        self.path = problem.get("path", "")
        self.line = problem.get("line", 0)
        self.hint = problem.get("hint", "")
        self.errors = problem.get("errors", [])
        text = problem.get("detail") or problem.get("title") or "the server answered %d" % status
        lines = [_said(each, each.get("message", "")) for each in self.errors] or [_said(problem, text)]
        more = problem.get("total", 0) - len(self.errors)
        super().__init__("\n".join(lines + (["and %d more" % more] if self.errors and more > 0 else [])))


class Unavailable(Exception):
    """The server cannot be reached, or says that it cannot answer now."""


class RunFailed(Exception):
    """A run that was waited for ended otherwise than well; `run` is the Run, with its `state` and `message`."""

    def __init__(self, run):
        self.run = run
        super().__init__("run %d %s%s" % (run.id, run.state, ": " + run.message if run.message else ""))
