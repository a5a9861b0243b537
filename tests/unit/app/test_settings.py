"""Settings come from the environment, whole and right, or with a word that says what to change."""

from __future__ import annotations

import pytest

from holdfast.app.settings import OperatorSettings, SettingsError, from_environment

GOOD = {
    "HOLDFAST_NAMESPACE": "system",
    "HOLDFAST_POD_NAME": "holdfast-operator-7d9f-abcde",
    "HOLDFAST_POD_IP": "10.0.0.7",
    "HOLDFAST_SIDECAR_IMAGE": "registry.example/holdfast:1",
}


def test_what_the_chart_sets_is_enough() -> None:
    settings = from_environment({**GOOD, "HOLDFAST_REPORT_SERVICE": "holdfast-operator"})
    assert settings.report_url == "https://holdfast-operator.system.svc:8443"
    assert settings.identity == "holdfast-operator-7d9f-abcde_10.0.0.7"
    assert (settings.workers, settings.http_port, settings.log_level) == (32, 8080, "INFO")
    assert settings.lease_name == "holdfast-operator"


def test_everything_can_be_set() -> None:
    settings = from_environment(
        {
            **GOOD,
            "HOLDFAST_SIDECAR_ENV": '{"STORAGE_EMULATOR_HOST": "http://bucket:4443"}',
            "HOLDFAST_WORKERS": "16",
            "HOLDFAST_HTTP_PORT": "18080",
            "HOLDFAST_REPORT_PORT": "18443",
            "HOLDFAST_LEASE_NAME": "other",
            "HOLDFAST_CA_SECRET": "other-ca",
            "HOLDFAST_LOG_LEVEL": "debug",
        }
    )
    assert settings.sidecar_environment == {"STORAGE_EMULATOR_HOST": "http://bucket:4443"}
    assert (settings.workers, settings.http_port, settings.report_port) == (16, 18080, 18443)
    assert (settings.lease_name, settings.authority_secret, settings.log_level) == ("other", "other-ca", "DEBUG")
    assert settings.report_url == "", "without a Service nobody could report"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HOLDFAST_NAMESPACE", "", "HOLDFAST_NAMESPACE is not set: it must be the namespace"),
        ("HOLDFAST_NAMESPACE", "Upper", "DNS name in lower case"),
        ("HOLDFAST_POD_NAME", " ", "HOLDFAST_POD_NAME is not set"),
        ("HOLDFAST_POD_IP", "ten", "must be one IP address"),
        ("HOLDFAST_SIDECAR_IMAGE", "", "the image of the restore step"),
        ("HOLDFAST_WORKERS", "0", "from 1 to 256"),
        ("HOLDFAST_WORKERS", "many", "whole number"),
        ("HOLDFAST_HTTP_PORT", "70000", "from 1 to 65535"),
        ("HOLDFAST_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR"),
        ("HOLDFAST_REPORT_SERVICE", "a_b", "a Service's name"),
        ("HOLDFAST_SIDECAR_ENV", "{", "is no JSON"),
        ("HOLDFAST_SIDECAR_ENV", '{"A": 1}', "JSON object of strings"),
        ("HOLDFAST_SIDECAR_ENV", '["A"]', "JSON object of strings"),
        ("HOLDFAST_SIDECAR_ENV", '{"not a name": "x"}', "JSON object of strings"),
    ],
)
def test_what_is_wrong_is_named(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        from_environment({**GOOD, variable: value})
    assert variable in str(caught.value)


@pytest.mark.parametrize(
    ("identity", "url"),
    [
        ("op-0_10.0.0.7", "https://10.0.0.7:8443"),
        ("op-0_fd00::7", "https://[fd00::7]:8443"),
        ("", ""),
        ("op-0", ""),
        ("op-0_not-an-address", ""),
    ],
)
def test_the_leaders_address_is_read_from_its_identity(identity: str, url: str) -> None:
    settings = from_environment(GOOD)
    assert settings.address_of(identity) == url


def test_identities_and_addresses_fit_together() -> None:
    settings = OperatorSettings(namespace="n", pod_name="under_score", pod_ip="10.0.0.7", sidecar_image="i")
    assert settings.address_of(settings.identity) == "https://10.0.0.7:8443"
