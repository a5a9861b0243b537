"""Objects of our kinds: every rule of the schema and of CEL, defaults and pruning, on create, update and status."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.planning.plan import TRAINING_JOBS
from holdfast.seams import ApiError
from tests.cluster.conformance.servers import Api, job, refusal
from tests.e2e.admission import accepted, refused
from tests.e2e.admission.manifests import job as changed
from tests.support.apiserver_paths import RESOURCES
from tests.support.apiserver_rules import NOT_EVALUATED, our_kinds, rules_in

STRICT = {"dryRun": "All", "fieldValidation": "Strict"}


async def told(call: Any) -> str:
    """Return why something was refused, an empty text where it was not."""
    try:
        await call
    except ApiError as error:
        if (error.status, error.reason) in ((400, "BadRequest"), (422, "Invalid")):
            return error.message
        raise
    return ""


async def test_bad_objects_are_refused_with_the_words_that_help(api: Api) -> None:
    answers = {case.name: await told(api.create(changed(case.change), **STRICT)) for case in refused.SPECS}
    assert {case.name: answers[case.name] for case in refused.SPECS if case.message not in answers[case.name]} == {}
    for name, message in refused.NAMES:
        assert message in await told(api.create(job(name), **STRICT))


async def test_good_objects_are_taken(api: Api) -> None:
    answers = {case.name: await told(api.create(changed(case.change), **STRICT)) for case in accepted.SPECS}
    assert {name: answer for name, answer in answers.items() if answer} == {}
    assert await told(api.create(job(accepted.LONGEST_NAME), **STRICT)) == ""


async def test_updates_are_judged_by_what_was_before(api: Api) -> None:
    fields = {"priorityClassName": "high", "volumes": [{"name": "scratch", "emptyDir": {}}]}
    await api.create(changed({"template": {"spec": fields}}, "settled"))
    unexpected = {}
    for case in (*refused.UPDATES, *accepted.UPDATES):
        answer = await told(api.patch(TRAINING_JOBS, "settled", {"spec": case.change}, dryRun="All"))
        wanted = getattr(case, "message", "")
        if (wanted not in answer) or bool(wanted) != bool(answer):
            unexpected[case.name] = answer
    assert unexpected == {}


@pytest.mark.parametrize("written", [{}, {"message": "one"}, {"progress": {"step": 1}}], ids=["none", "said", "steps"])
async def test_a_template_stays_whatever_is_said_about_the_status(api: Api, written: dict[str, Any]) -> None:
    await api.create(job("j"))
    if written:
        await api.patch(TRAINING_JOBS, "j", {"status": written}, "status")
    other = {"message": "two", "progress": {"step": 2}}
    change = {"template": {"spec": {"priorityClassName": "high"}}}
    error = await refusal(api.patch(TRAINING_JOBS, "j", {"spec": change, "status": other}))
    assert (error.status, error.reason) == (422, "Invalid")
    assert "spec.template: Invalid value" in error.message
    assert "template is immutable: create a new TrainingJob to change it" in error.message
    # A write of the status leaves the spec alone, so nothing has to be compared there.
    after = await api.patch(TRAINING_JOBS, "j", {"spec": change, "status": other}, "status")
    assert after["status"]["message"] == "two"
    assert after["spec"] == (await api.create(job("k")))["spec"]


async def test_what_never_changes_is_judged_at_creation_and_what_may_change_always(api: Api) -> None:
    error = await refusal(api.create(job("j", template={"spec": {"containers": [{"name": "main"}]}})))
    assert "no container is named 'trainer'" in error.message
    await api.create(job("j"))
    error = await refusal(api.patch(TRAINING_JOBS, "j", {"spec": {"template": {"spec": {"containers": []}}}}))
    assert "should have at least 1 items" in error.message
    error = await refusal(api.patch(TRAINING_JOBS, "j", {"spec": {"checkpoint": {"flushTimeout": "25h"}}}))
    assert "flushTimeout must be between 1s and 24h" in error.message


async def test_the_shape_of_a_refusal(api: Api) -> None:
    error = await refusal(api.create(changed({"accelerator": {"tpu": {"generation": "v6e", "topology": "4x4"}}})))
    assert (error.status, error.reason) == (422, "Invalid")
    assert error.message.startswith('TrainingJob.holdfast.dev "admission" is invalid: spec.accelerator: Invalid value:')
    assert error.message.endswith("set exactly one of cpu, gpu and tpu")
    error = await refusal(api.create(changed({"accelerator": {"cpu": {"workers": 0}}, "template": None})))
    assert error.message.startswith('TrainingJob.holdfast.dev "admission" is invalid: [')
    assert "spec.template: Required value" in error.message
    assert "spec.accelerator.cpu.workers: Invalid value: 0" in error.message
    assert "some validation rules were not checked because the object was invalid" in error.message


async def test_defaults_are_filled_in_and_unknown_fields_dropped(api: Api) -> None:
    wanted = changed({"accelerator": {"cpu": {"workers": None}}, "novelty": 1, "suspend": None})
    wanted["spec"]["template"]["spec"]["dnsPolicy"] = "Default"
    wanted["spec"]["template"]["spec"]["containers"][0]["stdin"] = True
    made = await api.create(wanted)
    assert made["spec"]["accelerator"]["cpu"] == {"workers": 1, "arch": "Any"}
    assert made["spec"]["capacity"] == {"mode": "OnDemand"}
    assert made["spec"]["suspend"] is False
    assert "novelty" not in made["spec"]
    assert made["spec"]["template"]["spec"]["dnsPolicy"] == "Default", "pod templates are kept as they are"
    error = await refusal(api.create({**wanted, "metadata": {"name": "x"}}, fieldValidation="Strict"))
    assert (error.status, error.reason) == (400, "BadRequest")
    assert error.message.endswith('strict decoding error: unknown field "spec.novelty"')


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Lost"}, "Unsupported value"),
        ({"reason": "two words"}, "should match"),
        ({"attempts": [{"attempt": 1, "startedAt": "yesterday"}]}, "must be of type date-time"),
        ({"conditions": [{"type": "Running", "status": "Yes"}]}, "Unsupported value"),
        ({"progress": {"loss": 0.5}}, "must be of type string"),
        ({"message": "m" * 1025}, "Too long"),
        ({"attempts": [{"attempt": n, "startedAt": "2030-01-01T00:00:00Z"} for n in range(21)]}, "Too many: 21"),
    ],
    ids=["enum", "pattern", "format", "condition", "type", "length", "count"],
)
async def test_what_is_no_status_is_refused(api: Api, status: dict[str, Any], words: str) -> None:
    held = await api.create(job("j"))
    error = await refusal(api.patch(TRAINING_JOBS, "j", {"status": status}, "status"))
    assert (error.status, error.reason) == (422, "Invalid")
    assert words in error.message
    assert await api.get(TRAINING_JOBS, "j") == held


async def test_a_status_is_pruned_and_has_its_defaults(api: Api) -> None:
    await api.create(job("j"))
    after = await api.patch(TRAINING_JOBS, "j", {"status": {"attempt": 1, "novelty": 1, "workers": {}}}, "status")
    assert "novelty" not in after["status"]
    assert after["status"]["conditions"] == []
    assert after["status"]["workers"] == {"desired": 0, "created": 0, "running": 0, "succeeded": 0}


def test_every_rule_of_the_crds_is_evaluated_here() -> None:
    """No rule is passed over in memory, but those that are named with a reason."""
    every = {entry["rule"] for kind in our_kinds().values() for entry in rules_in(kind.schema)}
    assert len(every) > 30
    assert NOT_EVALUATED.keys() <= every, "a rule that is named no longer exists"
    compiled = {rule for kind in our_kinds().values() for rule in kind.rules.compiled}
    assert compiled == every - NOT_EVALUATED.keys()
    assert all(info in our_kinds() for info in RESOURCES if info.custom)
