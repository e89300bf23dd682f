"""Pods run: from our images, under the restricted standard, with names, Services and rights."""

from __future__ import annotations

import time

from rei_sandbox.cluster.kubeconfig import Kubectl

from .pods import SERVE, create, output, pod, ready

# Whether a pod finds others by name, and its own API server by a Service, as itself.
LOOK_ABOUT = """
import json, pathlib, ssl, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
context = ssl.create_default_context(cafile=account / "ca.crt")
url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
token = (account / "token").read_text()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
request = urllib.request.Request(url, body.encode(), headers)
print(json.load(urllib.request.urlopen(request, context=context))["status"]["userInfo"]["username"])
"""
# A new Service takes a moment to reach the node's rules and the names.
FETCH = """
import time, urllib.request
for attempt in range(20):
    try:
        print(urllib.request.urlopen("http://server:8000/", timeout=5).status)
        break
    except OSError:
        time.sleep(1)
"""


async def test_a_pod_of_the_worker_runs(kubectl: Kubectl) -> None:
    await create(kubectl, pod("help", "worker", "rei", "worker", "--help"))
    assert "Usage: rei worker" in await output(kubectl, "help")


async def test_a_pod_finds_the_api_server_and_is_known_to_it(kubectl: Kubectl) -> None:
    await create(kubectl, pod("look", "worker", "python", "-c", LOOK_ABOUT, token=True))
    assert await output(kubectl, "look") == f"system:serviceaccount:{kubectl.namespace}:default"


async def test_pods_reach_each_other_by_a_service(kubectl: Kubectl) -> None:
    await create(kubectl, pod("server", "worker", "python", "-c", SERVE))
    await ready(kubectl, "server")
    await kubectl("expose", "pod", "server", "--port=8000")
    await create(kubectl, pod("client", "worker", "python", "-c", FETCH))
    assert await output(kubectl, "client") == "200"


async def test_deleting_a_pod_ends_it_at_once(kubectl: Kubectl) -> None:
    """The kubelet's SIGTERM reaches the process: nobody waits for the grace period."""
    await create(kubectl, pod("server", "worker", "python", "-c", SERVE))
    await ready(kubectl, "server")
    asked = time.monotonic()
    await kubectl("delete", "pod", "server", "--grace-period=300")
    assert time.monotonic() - asked < 100
