"""Dashboard, alert rules and monitors name metrics that exist, with labels and words that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.chart import CHART
from holdfast.app import series
from tests.unit.chart.rendering import only, refusal, render

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "deploy/dashboards/holdfast.json"
SERIES = {one.name: one for one in series.ALL}
# Labels that Prometheus adds to every series of a pod.
SCRAPED = {"pod", "namespace", "job", "instance"}
FUNCTIONS = {"sum", "max", "by", "or", "vector", "rate", "increase", "histogram_quantile"}

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SELECTOR = re.compile(r"([a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\bby \(([^)]*)\)")


def dashboard() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[tuple[str, str]]:
    return [*dashboard(), *((f"alert {rule['alert']}", rule["expr"]) for rule in rules())]


def base(name: str) -> str:
    """The documented name of a series, of which a histogram has three."""
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if stem in SERIES and SERIES[stem].kind == "histogram" else name


def problems(expression: str) -> list[str]:
    """What an expression names that is not there."""
    found = []
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\[[^\]]*\]", "", expression))
    grouped = {word for match in _GROUPING.findall(bare) for word in _NAME.findall(match)}
    names = set(_NAME.findall(re.sub(r"\{[^}]*\}", "", _GROUPING.sub("by", bare)))) - FUNCTIONS
    known = [SERIES[base(name)] for name in names if base(name) in SERIES]
    found += [f"there is no metric {name}" for name in sorted(names) if base(name) not in SERIES]
    labels = {label for one in known for label in one.labels} | SCRAPED
    if any(one.kind == "histogram" for one in known):
        labels.add("le")
    found += [f"no metric here has the label {label}" for label in sorted(grouped - labels)]
    for name, selector in _SELECTOR.findall(expression):
        own = SERIES.get(base(name))
        for label, sign, value in _MATCHER.findall(selector):
            if label in SCRAPED:
                continue
            if own is None or label not in own.labels:
                found.append(f"{name} has no label {label}")
                continue
            words = series.LABELS[label]
            if words is not None:
                wanted = value.split("|") if "~" in sign else [value]
                found += [f"{label} is never {word}" for word in wanted if word not in words]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_it_names_what_is_documented(where: str, expression: str) -> None:
    assert problems(expression) == [], where


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("holdfast_boss", "there is no metric holdfast_boss"),
        ("sum(rate(holdfast_leader_bucket[5m]))", "there is no metric holdfast_leader_bucket"),
        ("sum by (job_name) (holdfast_trainingjobs)", "no metric here has the label job_name"),
        ('holdfast_trainingjobs{state="Running"}', "holdfast_trainingjobs has no label state"),
        ('holdfast_trainingjobs{phase=~"Running|Runing"}', "phase is never Runing"),
        ("sum(holdfast_trainingjobs) by (le)", "no metric here has the label le"),
    ],
)
def test_the_check_sees_what_is_wrong(expression: str, problem: str) -> None:
    assert problems(expression) == [problem]


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["alert"].startswith("Holdfast")
        annotations = yaml.safe_load(json.dumps(rule["annotations"]))
        assert annotations.keys() == {"summary", "description"}
        assert all(text.endswith(".") for text in annotations.values())


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads(DASHBOARD.read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(places) == len(set(places))
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource"]


def test_monitors_are_off_unless_asked_for() -> None:
    assert not [one for one in render() if one["apiVersion"].startswith("monitoring.")]


def test_the_pod_monitor_finds_the_pods_and_their_port() -> None:
    documents = render(monitoring={"podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prom"}}})
    monitor = only(documents, "PodMonitor")
    template = only(documents, "Deployment")["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    ports = [port["name"] for port in template["spec"]["containers"][0]["ports"]]
    assert endpoint == {"port": "http", "path": "/metrics", "interval": "15s"}
    assert endpoint["port"] in ports
    assert monitor["metadata"]["labels"]["release"] == "prom"


def test_the_rules_are_those_of_the_file() -> None:
    documents = render(monitoring={"rules": {"enabled": True}})
    assert only(documents, "PrometheusRule")["spec"] == yaml.safe_load((CHART / "files/rules.yaml").read_text())


@pytest.mark.parametrize("wrong", [{"podMonitor": {"enabled": "yes"}}, {"podMonitor": {"interval": "often"}}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    assert "monitoring" in refusal(monitoring=wrong)
