"""The CEL rules of `crds/`, evaluated by the CEL project's own runtime, and the whole admission of our kinds.

A rule is compiled once and evaluated with `self` and `oldSelf` wherever its value is: transition rules only on updates,
unless `oldSelf` is optional, and nothing that an update leaves as it was. What is not modelled is the cost budget; the
fleet's tests hold that.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from holdfast.seams import ApiError
from tests.support.apiserver_paths import RESOURCES, ResourceInfo
from tests.support.apiserver_schema import MISSING, Node, below, check_keywords, children, fill_in, problems, prune

CRDS: Final = Path(__file__).parents[2] / "crds"

# Rules that the runtime here cannot evaluate, each with the reason. They are taken for true; a rule that is neither
# here nor can be compiled stops the server at its start.
NOT_EVALUATED: Final[dict[str, str]] = {}

_PARTS_OF_A_RULE: Final = {"rule", "message", "optionalOldSelf", "fieldPath"}
_OLD_SELF: Final = re.compile(r"\boldSelf\b")


class Evaluated:
    """How often each rule came out true and false, for tests that ask whether every rule was put to the test."""

    def __init__(self) -> None:
        self.times: Counter[tuple[str, bool]] = Counter()


class Rules:
    """The compiled rules of one schema."""

    def __init__(self, schema: Node) -> None:
        environment = cel.NewEnv(
            variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
            extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings()],
        )
        self.evaluated = Evaluated()
        self._programs: dict[str, Any] = {}
        # Of rules whose `oldSelf` is optional, what is evaluated where there is none.
        self._at_creation: dict[str, Any] = {}
        for entry in rules_in(schema):
            if unknown := entry.keys() - _PARTS_OF_A_RULE:
                raise ValueError(f"the in-memory API server does not know {sorted(unknown)} of a rule: model it")
            if entry["rule"] in NOT_EVALUATED:
                continue
            rule = entry["rule"]
            if entry.get("optionalOldSelf"):
                self._at_creation[rule] = environment.compile(_OLD_SELF.sub("optional.none()", rule))
                rule = _OLD_SELF.sub("optional.of(oldSelf)", rule)
            self._programs[entry["rule"]] = environment.compile(rule)

    @property
    def compiled(self) -> set[str]:
        """Return the rules that are evaluated."""
        return set(self._programs)

    def broken(self, node: Node, value: Any, old: Any, path: str = "") -> Iterator[str]:
        """Yield the message of every rule that does not hold, in the API server's words."""
        if old is not MISSING and old == value:
            return
        for entry in node.get("x-kubernetes-validations", ()):
            if (trouble := self._trouble(entry["rule"], value, old)) is not None:
                where = (path + entry.get("fieldPath", "")).removeprefix(".")
                yield f'{where}: Invalid value: "{_kind(value)}": {trouble}{entry["message"]}'.removeprefix(": ")
        for child, inner, before, where in below(node, value, old, path):
            if where != "metadata":
                yield from self.broken(child, inner, before, where)

    def _trouble(self, rule: str, value: Any, old: Any) -> str | None:
        """Return None where the rule holds; where it cannot be evaluated on this value, that is said and is a no."""
        compares = _OLD_SELF.search(rule) is not None
        program = (self._at_creation if compares and old is MISSING else self._programs).get(rule)
        if program is None:
            return None
        outcome = program.eval(
            data={"self": value, "oldSelf": old} if compares and old is not MISSING else {"self": value}
        )
        if outcome.type() != cel.Type.BOOL:
            return f"{outcome.value()} evaluating rule: "
        self.evaluated.times[(rule, outcome.value())] += 1
        return None if outcome.value() else ""


class Kind:
    """One of our kinds: its schema with the rules."""

    def __init__(self, schema: Node) -> None:
        check_keywords(schema)
        self.schema = schema
        self.rules = Rules(schema)

    def decode(self, document: Node, *, strict: bool) -> Node:
        """Return the document pruned and with its defaults. Raises `ApiError` 400 for unknown fields if `strict`."""
        document = copy.deepcopy(document)
        unknown = prune(self.schema, document)
        if strict and unknown:
            named = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise ApiError(400, "BadRequest", f"strict decoding error: {named}")
        fill_in(self.schema, document)
        return document

    def check(self, info: ResourceInfo, document: Node, old: Node | None) -> None:
        """Raise `ApiError` 422 where the schema or a rule says no. Rules are asked only where the schema is content."""
        before = MISSING if old is None else old
        found = list(problems(self.schema, document, before))
        if found:
            found.append(
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
                "correct the existing errors to complete validation"
            )
        else:
            found = list(self.rules.broken(self.schema, document, before))
        if found:
            raise invalid(info, document["metadata"].get("name", ""), found)


def invalid(info: ResourceInfo, name: str, found: list[str]) -> ApiError:
    """Return the refusal of an invalid object."""
    text = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    return ApiError(422, "Invalid", f'{info.qualified_kind} "{name}" is invalid: {text}')


def rules_in(node: Node) -> Iterator[dict[str, str]]:
    """Yield every rule of a schema."""
    yield from node.get("x-kubernetes-validations", ())
    for _, child in children(node):
        yield from rules_in(child)


@cache
def our_kinds() -> Mapping[ResourceInfo, Kind]:
    """Return the kinds of `crds/` by resource; read and compiled once a process."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        spec = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            place = (spec["group"], version["name"], spec["names"]["plural"])
            (info,) = [info for info in RESOURCES if (info.group, info.version, info.plural) == place]
            found[info] = Kind(version["schema"]["openAPIV3Schema"])
    return found


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else str(value)
