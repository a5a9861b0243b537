"""The example jobs are valid TrainingJobs, and say what they claim to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.images.recipes import HOLDFAST, TRAINER
from holdfast.api.trainingjob import TrainingJobSpec

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def documents(name: str) -> dict[str, dict[str, Any]]:
    content = (EXAMPLES / name / "job.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(content)}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/job.yaml")))
def test_every_job_fits_the_model(name: str) -> None:
    job = documents(name)["TrainingJob"]
    assert job["apiVersion"] == "holdfast.dev/v1alpha1"
    parsed = TrainingJobSpec.model_validate(job["spec"])
    dumped = parsed.model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert dumped.keys() == job["spec"].keys()


def test_the_job_in_the_readme_fits_the_model() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (EXAMPLES.parent / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    jobs = [found for block in blocks if (found := yaml.safe_load(block))["kind"] == "TrainingJob"]
    assert jobs
    for job in jobs:
        parsed = TrainingJobSpec.model_validate(job["spec"])
        assert parsed.model_dump(by_alias=True, exclude_unset=True, mode="json").keys() == job["spec"].keys()


def test_the_script_in_the_config_map_is_the_example() -> None:
    script = documents("plain")["ConfigMap"]["data"]["train.py"]
    assert script == (EXAMPLES / "plain/train.py").read_text()


def test_the_examples_run_the_images_that_are_loaded() -> None:
    def image(name: str) -> str:
        [container] = documents(name)["TrainingJob"]["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    assert image("digits") == TRAINER.latest()
    assert image("plain") == image("claims") == HOLDFAST.latest()


def test_the_job_with_claims_runs_the_script_of_the_plain_one() -> None:
    [volume] = documents("claims")["TrainingJob"]["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == documents("plain")["ConfigMap"]["metadata"]["name"]
