"""The CRD: equal to its file, small enough, with limits and descriptions everywhere, and structural."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import ConfigDict, Field

from holdfast.api import crd
from holdfast.api.model import (
    MAP_TYPE,
    VALIDATIONS,
    ApiModel,
    Rule,
    atomic,
    immutable,
    once,
    opaque,
    rules,
    says,
    whole,
)
from holdfast.api.structural import UnsupportedSchema, structural

ROOT = Path(__file__).parents[3]
Schema = dict[str, Any]


def _nodes(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(f"{path}.{name}", child)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from _nodes(f"{path}{suffix}", schema[key])


def _schema() -> Schema:
    definition = crd.training_job()
    found: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _at(path: str) -> Schema:
    node = _schema()
    for step in path.split("."):
        node = node["properties"][step]
    return node


FIELDS = [
    (path, node)
    for section in ("spec", "status")
    for path, node in _nodes(section, _schema()["properties"][section])
    if "type" in node
]


@pytest.mark.parametrize("name", crd.files())
def test_file_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == crd.files()[name], "run make crds"


def test_check_tells_a_stale_file_from_a_fresh_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--check", "--root", str(tmp_path)]) == 1
    assert "out of date, run make crds" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert crd.main(["--root", str(tmp_path)]) == 0
    assert crd.main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / "crds" / "holdfast.dev_trainingjobs.yaml").write_text("other", encoding="utf-8")
    assert crd.main(["--check", "--root", str(tmp_path)]) == 1


def test_plain_apply_can_store_it() -> None:
    text = crd.text(crd.training_job())
    assert len(text.encode()) < crd.MAX_BYTES
    assert yaml.safe_load(text) == crd.training_job()


def test_every_field_has_a_description() -> None:
    missing = [path for path, node in FIELDS if not path.endswith(("[]", ".*")) and not node.get("description")]
    assert missing == []


def test_every_string_list_map_and_number_has_limits() -> None:
    unlimited = []
    for path, node in FIELDS:
        kind = node["type"]
        # Times have a form of fixed length.
        if kind == "string" and not ({"maxLength", "enum"} & node.keys() or node.get("format") == "date-time"):
            unlimited.append(path)
        if kind == "array" and not {"maxItems", "x-kubernetes-list-type"} <= node.keys():
            unlimited.append(path)
        if kind == "integer" and not {"minimum", "maximum", "format"} <= node.keys():
            unlimited.append(path)
        if kind == "number" or ("additionalProperties" in node and "maxProperties" not in node):
            unlimited.append(path)
    assert unlimited == []


def test_conditions_come_first_and_are_told_apart_by_type() -> None:
    name, conditions = next(iter(_schema()["properties"]["status"]["properties"].items()))
    assert name == "conditions"
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_rules_are_complete_sentences_of_advice() -> None:
    found = [rule for _, node in _nodes("", _schema()) for rule in node.get(VALIDATIONS, ())]
    assert len(found) > 40
    for rule in found:
        assert rule.keys() - {"optionalOldSelf", "fieldPath"} == {"rule", "message"}
        # The API server cuts nothing, but kubectl shows all of it on one line.
        assert 10 < len(rule["message"]) < 250
        assert "\n" not in rule["message"]


_NEVER_CHANGES = ("accelerator", "capacity", "runtime", "template", "checkpoint.volume")


def test_rules_that_read_several_fields_of_what_never_changes_are_asked_once() -> None:
    asked = [
        (path, rule["rule"])
        for section in _NEVER_CHANGES
        for path, node in _nodes(section, _at(f"spec.{section}"))
        if node.get("type") in ("object", "array")
        for rule in node.get(VALIDATIONS, ())
        if not rule.get("optionalOldSelf") and rule["rule"] != "self == oldSelf"
    ]
    assert [path for path, _ in asked] == ["checkpoint.volume.claimTemplate.accessModes"]
    for _, node in _nodes("", _schema()):
        for rule in node.get(VALIDATIONS, ()):
            assert rule["rule"].startswith("oldSelf.hasValue() || (") == bool(rule.get("optionalOldSelf"))


def test_what_is_written_as_a_whole_is_owned_as_a_whole() -> None:
    parts = ["spec.template", "status.workers", "status.progress", "status.checkpoint"]
    assert {_at(part).get(MAP_TYPE) for part in parts} == {"atomic"}
    # Where it had defaults, two managers that apply the same would conflict.
    owned = [(path, node) for path, node in _nodes("spec", _at("spec")) if node.get(MAP_TYPE)]
    assert [path for path, _ in owned] == ["spec.template"]
    assert not any("default" in node for _, node in _nodes("spec.template", owned[0][1]))
    lists = [_at(f"status.{name}") for name in ("conditions", "nodePools")]
    assert {(one["x-kubernetes-list-type"], one["items"].get(MAP_TYPE)) for one in lists} == {("map", "atomic")}


def test_columns_name_fields_that_exist() -> None:
    for column in crd.TRAINING_JOB_COLUMNS:
        if column["jsonPath"].startswith(".metadata."):
            continue
        node = _schema()
        for step in column["jsonPath"].strip(".").split("."):
            node = node["properties"][step]
        assert node["type"] == column["type"]


class _Loose(ApiModel):
    either: int | bool


class _NoListType(ApiModel):
    names: tuple[Annotated[str, Field(max_length=3)], ...] = ()


class _Constant(ApiModel):
    kind: Literal["One"]


class _Anything(ApiModel):
    value: Any


class _Exclusive(ApiModel):
    share: Annotated[int, Field(gt=0)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_Loose, "_Loose.either: only integer or string"),
        (_NoListType, "_NoListType.names: a list needs a list type"),
        (_Constant, "_Constant.kind: a structural schema has no const"),
        (_Anything, "_Anything.value: no type"),
        (_Exclusive, "_Exclusive.share: a structural schema has no exclusiveMinimum"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(model: type[ApiModel], message: str) -> None:
    with pytest.raises(UnsupportedSchema, match=message):
        structural(model)


class _Inner(ApiModel):
    """Inner."""

    model_config = ConfigDict(
        json_schema_extra={
            **rules(immutable("inner"), *once(Rule("has(self.word)", "say a word", at=".word"))),
            **opaque("other"),
        }
    )

    word: Annotated[str, Field(max_length=5, pattern="^a+$", json_schema_extra=says("write a"))] | None = None
    """A word."""


class _Outer(ApiModel):
    """Outer."""

    first: Annotated[_Inner, Field(json_schema_extra={**rules(immutable("first")), **whole()})] = _Inner()
    """First."""

    amounts: Annotated[dict[str, int | str], Field(max_length=2)] | None = None
    """Amounts."""

    names: Annotated[
        tuple[Annotated[str, Field(max_length=3)], ...], Field(max_length=2, json_schema_extra=atomic())
    ] = ()
    """Names."""


def test_a_small_model_in_full() -> None:
    unchanged = "is immutable: create a new TrainingJob to change it"
    assert structural(_Outer) == {
        "description": "Outer.",
        "type": "object",
        "properties": {
            "first": {
                "description": "First.",
                "type": "object",
                "default": {},
                MAP_TYPE: "atomic",
                "properties": {
                    "word": {
                        "description": "A word.",
                        "type": "string",
                        "maxLength": 5,
                        VALIDATIONS: [{"rule": "self.matches(r'^a+$')", "message": "write a"}],
                    },
                    "other": {"description": "As in the Pod API.", "x-kubernetes-preserve-unknown-fields": True},
                },
                VALIDATIONS: [
                    {"rule": "self == oldSelf", "message": f"inner {unchanged}"},
                    {
                        "rule": "oldSelf.hasValue() || (has(self.word))",
                        "message": "say a word",
                        "fieldPath": ".word",
                        "optionalOldSelf": True,
                    },
                    {"rule": "self == oldSelf", "message": f"first {unchanged}"},
                ],
            },
            "amounts": {
                "description": "Amounts.",
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "x-kubernetes-int-or-string": True,
                },
            },
            "names": {
                "description": "Names.",
                "type": "array",
                "default": [],
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "string", "maxLength": 3},
            },
        },
    }
