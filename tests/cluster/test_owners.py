"""Whose an object of the cluster is: labels that are edited, copies, pods and Services that are left or deleted, a
number that is given again."""
import pytest
from harness import Database, until
from test_jobs import gone, pipeline
from test_refusals import waiting_for

STOPS = "trap 'exit 3' TERM; sleep 600 & wait"


def the_pod(jobs, run, *words):
    pod, = until("its pod", lambda: jobs.items("pods", "-l", ",".join([f"millrace.dev/run={run}", *words])))
    return pod["metadata"]


EDITS = {"removed": "millrace.dev/attempt-", "changed": "millrace.dev/run=99999", "nonsense": "millrace.dev/run=abc",
         "unwatched": "millrace.dev/instance-"}


@pytest.mark.parametrize("edit", EDITS)
def test_labels_that_are_edited(cluster_server, jobs, edit):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'echo begun; sleep 4; echo ended'}\n  w: {workers: 2, run: 'sleep 4'}\n"))
    for path in "s", "w":
        server.wait_task(run, path, "running")
    until("the pods", lambda: len(jobs.items("pods")) == 3)
    jobs("label", "pods,jobs", "--all", "--overwrite", EDITS[edit])
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.cli("logs", run, "s").stdout == "begun\nended\n"
    assert all(task["attempt"] == 1 for task in server.tasks(run).values())
    assert server.process.poll() is None
    gone(jobs)


def test_a_job_that_vanishes_with_an_edited_pod_ends_its_attempt(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {retry: 0, run: \"[ $MILLRACE_ATTEMPT = 2 ] || sleep 600\"}\n"))
    server.wait_task(run, "s", "running")
    name = the_pod(jobs, run)["name"]
    jobs("label", "pod", name, "--overwrite", EDITS["changed"])
    jobs("delete", "jobs", "--all", "--wait=false")
    jobs("delete", "pod", name, "--grace-period=1", "--wait=false")
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    gone(jobs)


def test_a_strangers_job_and_one_that_is_suspended(cluster_server, jobs):
    """Both are waits that say what to do, and neither Job is touched."""
    jobs.apply(kind="ResourceQuota", metadata={"name": "none"}, spec={"hard": {"pods": "0"}})
    server = cluster_server()
    kept, run = (server.submit(pipeline("  s: {run: 'true'}\n", name=name)) for name in ("kept", "p"))
    for one in kept, run:
        waiting_for(server, one, "exceeded quota")
    server.crash()
    jobs("label", "jobs", "--all", "millrace.dev/instance-")
    names = {int(job["metadata"]["labels"]["millrace.dev/run"]): job["metadata"]["name"] for job in jobs.items("jobs")}
    server.start()
    for one in kept, run:
        waiting_for(server, one, names[one], "is not Millrace's")
    server.post(f"/api/v1/runs/{kept}:cancel")
    assert server.ended(kept)["state"] == "cancelled"
    jobs("delete", "job", names[run])
    waiting_for(server, run, "exceeded quota")
    jobs("patch", "job", names[run], "-p", '{"spec":{"suspend":true}}')
    waiting_for(server, run, names[run], "is suspended, and not by Millrace")
    jobs("delete", "resourcequota", "none")
    jobs("patch", "job", names[run], "-p", '{"spec":{"suspend":false}}')
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.tasks(run)["s"]["attempt"] == 1
    until("the run's Job to be gone", lambda: [job["metadata"]["name"] for job in jobs.items("jobs")] == [names[kept]])


def test_copies_count_for_nothing(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'sleep 8; exit 5'}\n"))
    server.wait_task(run, "s", "running")
    labels = {key: value for key, value in the_pod(jobs, run)["labels"].items() if "millrace.dev/" in key}
    server.crash()
    spec = {"restartPolicy": "Never", "containers": [
        {"name": "step", "image": "localhost/busybox:1", "command": ["true"]}]}
    jobs.apply(kind="Pod", metadata={"name": "a-copy", "labels": labels}, spec=spec)
    jobs.apply(apiVersion="batch/v1", kind="Job", metadata={"name": "a-copy", "labels": labels},
               spec={"template": {"metadata": {"labels": labels}, "spec": spec}})
    until("the copies to end", lambda: [pod["status"]["phase"] for pod in jobs.items("pods")].count("Succeeded") == 2)
    server.start()
    assert server.ended(run)["state"] == "failed"
    assert server.tasks(run)["s"]["exitCode"] == 5
    until("the pod that nobody owns to be gone",
          lambda: not [pod for pod in jobs.items("pods") if not pod["metadata"].get("ownerReferences")], 60)
    job, = jobs.items("jobs")  # of somebody who has made it, and deletes it
    assert job["metadata"]["name"] == "a-copy"


@pytest.mark.parametrize("end", ("ends", "cancelled", "unknown"))
def test_a_pod_that_loses_its_job(data_server, jobs, marks, end):
    """What its step was given by a Secret of that Job's goes all the same, though nothing owns it any more; and the
    next attempt begins when it has ended."""
    server = data_server()
    folder = server.data / "secrets/default"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "key").write_text("sesame-4711\n")
    line = "sleep 20" if end == "ends" else "sleep 600"  # longer than an orphan that nobody wants is left
    run = server.submit(pipeline(f"""  s:
    env: {{KEY: {{secret: {{file: key}}}}}}
    volumes: [{{path: /marks, hostPath: {marks}}}]
    run: |
      trap 'sleep 2; echo ended >> /marks/all; exit 3' TERM
      echo $MILLRACE_ATTEMPT >> /marks/all
      echo said
      {line} & wait
"""))
    until("it to begin", (marks / "all").exists)
    first = the_pod(jobs, run)["uid"]
    jobs("delete", "jobs", "--all", "--cascade=orphan")
    if end == "unknown":
        server.crash()
        server.start()
        until("another attempt", lambda: "2" in (marks / "all").read_text().split())
        assert (marks / "all").read_text().split() == ["1", "ended", "2"]
        assert server.cli("logs", run, "s", "--attempt", "1").stdout == "said\n"
    else:
        assert first == the_pod(jobs, run)["uid"]
    if end != "ends":
        server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == ("succeeded" if end == "ends" else "cancelled"), server.tasks(run)
    assert server.tasks(run)["s"]["attempt"] == (2 if end == "unknown" else 1)
    until("all Jobs and pods to be gone", jobs.empty, 60)
    until("all Secrets to be gone", lambda: not jobs.items("secrets"))


@pytest.mark.parametrize("cascade", ("orphan", "background"))
def test_a_pod_that_nobody_heard_of_loses_its_job(cluster_server, jobs, marks, proxy, cascade):
    """Nobody may read pods for a while; of Jobs it is told."""
    def refused():
        return proxy.by_class()[(("list", "pods"), "503")]

    proxy.next("list", "pods", "503", 1000)
    server = cluster_server("--grace", "9s", kubeconfig=proxy.kubeconfig)
    run = server.submit(pipeline(f"""  s:
    volumes: [{{path: /marks, hostPath: {marks}}}]
    run: |
      trap 'sleep 2; echo ended >> /marks/all; exit 3' TERM
      echo $MILLRACE_ATTEMPT >> /marks/all
      [ $MILLRACE_ATTEMPT = 2 ] || sleep 600 & wait
"""))
    until("it to begin", (marks / "all").exists)
    jobs("delete", "jobs", "--all", f"--cascade={cascade}", "--wait=false")
    until("its Job to be gone", lambda: not jobs.items("jobs"))
    before = refused()
    until("its pod to be asked for", lambda: refused() > before + 1)
    proxy.well()
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    assert (marks / "all").read_text().split() == ["1", "ended", "2"]
    gone(jobs)


@pytest.fixture
def database():
    made = Database()
    yield made.start()
    made.remove()


def test_a_run_that_gets_the_number_of_another(cluster_server, jobs, database):
    """The database was set back by its own tools. What the former run has there is not its own, and goes."""
    server = cluster_server("--database-url", database.url, "--takeover", "2s")
    server.stop()
    database.set_back()
    former = server.start().submit(pipeline(f"  s: {{run: sleep 3}}\n  t: {{run: \"{STOPS}\"}}\n"))  # leave no logs
    for path in "s", "t":
        server.wait_task(former, path, "running")
    server.stop()
    until("one to end", lambda: any(pod["status"]["phase"] == "Succeeded" for pod in jobs.items("pods")))
    database.set_back()
    run = server.start().submit(pipeline("  s: {run: echo anew}\n  t: {run: echo anew}\n"))
    assert run == former and server.ended(run)["state"] == "succeeded", server.tasks(run)
    for path, task in server.tasks(run).items():
        assert task["attempt"] == 1 and server.cli("logs", run, path).stdout == "anew\n"
    gone(jobs)


def test_a_service_that_is_deleted_is_made_again(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(f"  w: {{workers: 2, run: \"{STOPS}\"}}\n"))
    server.wait_task(run, "w", "running")
    first, = until("its Service", lambda: jobs.items("services"))
    jobs("delete", "service", first["metadata"]["name"])
    again, = until("another one", lambda: jobs.items("services"), 60)
    assert again["metadata"]["ownerReferences"] == first["metadata"]["ownerReferences"]
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    until("the Service to be gone", lambda: not jobs.items("services"))
