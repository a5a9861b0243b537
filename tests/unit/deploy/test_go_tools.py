"""Every Go program is pinned with checksums, and its key follows its pins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.kind import gotools
from deploy.kind.console import Problem
from deploy.kind.paths import TOOLS


@pytest.mark.parametrize("tool", gotools.ALL, ids=lambda tool: tool.name)
def test_a_tool_is_pinned_and_checksummed(tool: gotools.Tool) -> None:
    version = tool.version()
    sums = (tool.folder / "go.sum").read_text().splitlines()
    assert any(line.startswith(f"{tool.module} {version} h1:") for line in sums)
    declared = (tool.folder / "go.mod").read_text()
    assert all(f"\t{package}\n" in declared or f"tool {package}\n" in declared for package in tool.programs.values())


def test_no_module_folder_is_left_without_a_tool() -> None:
    assert {path.name for path in TOOLS.iterdir()} == {tool.folder.name for tool in gotools.ALL}


def test_programs_are_called_as_go_calls_them() -> None:
    assert gotools.output_name("k8s.io/kubernetes/cmd/kubelet") == "kubelet"
    assert gotools.output_name("go.etcd.io/etcd/server/v3") == "server"
    assert gotools.output_name("sigs.k8s.io/kind") == "kind"


def test_a_key_follows_compiler_flags_and_programs() -> None:
    tool = gotools.KUBERNETES
    keys = {
        gotools.tool_key(tool, "go1.26.8 linux amd64"),
        gotools.tool_key(tool, "go1.26.9 linux amd64"),
        gotools.tool_key(gotools.KUBECTL, "go1.26.8 linux amd64"),
        gotools.tool_key(replace(tool, flags=()), "go1.26.8 linux amd64"),
    }
    assert len(keys) == 4


def test_kubernetes_programs_are_stamped_with_their_version() -> None:
    flags = gotools.KUBERNETES.linker_flags()
    version = gotools.KUBERNETES.version()
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert f"version.gitMinor={version.split('.')[1]}" in flags


def test_a_module_that_is_not_required_is_named() -> None:
    with pytest.raises(Problem, match=r"does not require example\.org/none"):
        replace(gotools.KIND, module="example.org/none").version()
