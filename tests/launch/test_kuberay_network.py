"""Who may talk to whom by launch/kuberay/network.yaml: the selectors of its policies applied to the pods of the manifests."""

from __future__ import annotations

import pytest

from gen_searcher.tools.guard import is_public
from tests.launch.kuberay import Labels, Peer, groups, manifest, may_ask, may_reach, pod_labels, policies

DASHBOARD, GCS, CLIENT, METRICS = 8265, 6379, 10001, 8080
RAY = (GCS, DASHBOARD, CLIENT, 52365)
PODS = {name: pod_labels(group) for name, group in groups().items()}
STRANGER = Peer(labels={"app": "shop"})
OPERATOR = {"app.kubernetes.io/component": "kuberay-operator", "app.kubernetes.io/name": "kuberay-operator"}


def submitter() -> Peer:
    """As KubeRay makes it: the template's labels and its own."""
    own = {"ray.io/originated-from-crd": "RayJob", "app.kubernetes.io/created-by": "kuberay-operator"}
    labels: Labels = manifest("rayjob.yaml")["spec"]["submitterPodTemplate"]["metadata"]["labels"]
    return Peer(labels={**own, **labels})


def test_the_submitter_reaches_the_dashboard_of_the_head_and_no_other_port_of_ray() -> None:
    assert [port for port in (*RAY, METRICS) if may_ask(submitter(), PODS["head"], port)] == [DASHBOARD]


def test_a_submitter_without_our_label_would_be_shut_out() -> None:
    default = Peer(labels={"ray.io/originated-from-crd": "RayJob", "app.kubernetes.io/created-by": "kuberay-operator"})
    assert not may_ask(default, PODS["head"], DASHBOARD)


@pytest.mark.parametrize("namespace", ["default", "kuberay-system"])
def test_the_operator_asks_the_dashboard_from_whatever_namespace_it_was_installed_in(namespace: str) -> None:
    operator = Peer(namespace=namespace, labels=OPERATOR)
    assert [port for port in (*RAY, METRICS) if may_ask(operator, PODS["head"], port)] == [DASHBOARD]


def test_the_pods_of_a_run_reach_each_other_and_nobody_else_reaches_ray() -> None:
    for name, labels in PODS.items():
        for port in RAY:
            assert all(may_ask(Peer(labels=other), labels, port) for other in PODS.values()), name
            for asks in (STRANGER, Peer(namespace="theirs", labels=PODS["gpu"]), Peer(address="203.0.113.7")):
                assert not may_ask(asks, labels, port), name


def test_prometheus_reads_the_metrics_of_every_pod_that_its_manifest_names_and_nothing_else() -> None:
    monitor = manifest("monitor.yaml")["spec"]
    prometheus = Peer(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"})
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == ["metrics"]
    for name, labels in PODS.items():
        assert monitor["selector"]["matchLabels"].items() <= labels.items(), name
        assert [port for port in (*RAY, METRICS) if may_ask(prometheus, labels, port)] == [METRICS], name
        assert not may_ask(Peer(namespace="theirs", labels={"app": "prometheus"}), labels, METRICS), name


def test_tool_workers_are_let_out_to_exactly_the_addresses_that_their_own_guard_takes() -> None:
    metadata = ("168.63.129.16", "169.254.169.254", "192.0.0.192", "100.100.100.200")
    spread = [f"{first}.{second}.0.1" for first in range(256) for second in range(0, 256, 8)]
    edges = ("172.15.255.254", "172.16.0.1", "172.31.0.1", "172.32.0.1", "192.168.1.1", "198.18.0.1", "198.20.0.1")
    for address in (*metadata, *spread, *edges):
        assert may_reach(PODS["tools"], Peer(address=address), 443) == is_public(address), address
    assert not any(may_reach(PODS["tools"], Peer(address=address), 80) for address in metadata)
    assert not may_reach(PODS["tools"], Peer(address="8.8.8.8"), 22)


def test_tool_workers_ask_name_servers_and_their_own_ray_and_no_other_pod() -> None:
    assert may_reach(PODS["tools"], Peer(namespace="kube-system", labels={"k8s-app": "kube-dns"}), 53)
    assert may_reach(PODS["tools"], Peer(labels=PODS["head"]), GCS)
    assert not may_reach(PODS["tools"], STRANGER, 80)
    assert not may_reach(PODS["tools"], Peer(namespace="kube-system", labels={"k8s-app": "kube-apiserver"}), 443)


def test_every_pod_of_a_run_is_chosen_by_a_policy() -> None:
    chosen = [policy["spec"]["podSelector"]["matchLabels"] for policy in policies()]
    for name, labels in PODS.items():
        assert any(one.items() <= labels.items() for one in chosen), name
