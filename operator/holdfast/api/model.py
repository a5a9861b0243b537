"""What every API type is made of: the base model, and the notes that end up as CEL rules in the CRD.

The models are the single source of the CRDs. What the API server must check beyond types and limits is said next to the
field it concerns, with `rules(...)` (CEL) and `says(...)` (the message that replaces a bare "should match '^...$'").
`holdfast.api.structural` turns both into `x-kubernetes-validations`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

VALIDATIONS: Final = "x-kubernetes-validations"
PATTERN_MESSAGE: Final = "x-holdfast-pattern-message"
OPAQUE: Final = "x-holdfast-opaque"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_MAP_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"


class ApiModel(BaseModel):
    """An immutable API type: camelCase on the wire, snake_case in Python.

    Unknown fields are ignored, so that an operator can read what a newer CRD lets through. The string under a field is
    its description: `kubectl explain` shows it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


class OpenModel(ApiModel):
    """A part of a foreign type: the fields that our rules read are declared, all others are kept as they are."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL expression over `self` (and `oldSelf`) and the message that says what to change.

    `at` is the path below `self`, such as `.spec.template`, that a refusal names instead of where the rule stands. One
    that is asked `once` is asked when its value is new, and not when the object that holds it is written again.
    """

    expression: str
    message: str
    at: str = ""
    once: bool = False

    def as_json(self) -> JsonDict:
        """Return the rule as an item of `x-kubernetes-validations`."""
        said: JsonDict = {"rule": self.expression, "message": self.message}
        if self.at:
            said["fieldPath"] = self.at
        if self.once:
            said |= {"rule": f"oldSelf.hasValue() || ({self.expression})", "optionalOldSelf": True}
        return said


def rules(*items: Rule) -> JsonDict:
    """Return the schema extension that carries these rules, for `json_schema_extra`."""
    return {VALIDATIONS: [item.as_json() for item in items]}


def once(*items: Rule) -> tuple[Rule, ...]:
    """Return rules about what never changes, so that they are asked at creation alone.

    The API server evaluates every rule at every write, those of the status included, and to read a field costs it a
    copy of the schema of all its neighbours.
    """
    return tuple(replace(item, once=True) for item in items)


def immutable(name: str) -> Rule:
    """Return the rule for a field that never changes once the object exists."""
    return Rule("self == oldSelf", f"{name} is immutable: create a new TrainingJob to change it")


def opaque(*names: str) -> JsonDict:
    """Return the schema extension that names further fields, of any form, of an `OpenModel`.

    Without it they would be kept as well. But CEL compares objects by the fields that the schema names, and would take
    two objects for equal in which one unnamed field was replaced by another.
    """
    return {OPAQUE: list(names)}


def says(message: str) -> JsonDict:
    """Return the schema extension that gives a `pattern` a message that people understand."""
    return {PATTERN_MESSAGE: message}


def atomic() -> JsonDict:
    """Return the schema extension of a list that is replaced as a whole."""
    return {LIST_TYPE: "atomic"}


def whole() -> JsonDict:
    """Return the schema extension of an object that is replaced as a whole.

    Managed fields, which every write reads, merges and stores, then name the object instead of all that is in it. It is
    not for objects with defaults in a spec: what another manager applies without them differs from what is stored, and
    would be a conflict although both say the same.
    """
    return {MAP_TYPE: "atomic"}


def unique() -> JsonDict:
    """Return the schema extension of a list of scalars without repetitions."""
    return {LIST_TYPE: "set"}


def keyed(*keys: str) -> JsonDict:
    """Return the schema extension of a list whose items are told apart by these fields."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}
