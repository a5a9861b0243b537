"""The base of the images: public slim Python where a registry is reached, else one made of Debian packages."""

from deploy.images.recipes import PUBLIC_BASE
from deploy.kind import debian, hostdeps
from deploy.kind.console import step
from deploy.kind.digests import key_of
from deploy.kind.paths import Cache
from deploy.kind.process import run, succeeds
from deploy.kind.provider import Name, Provider

PACKAGES = ("python3", "ca-certificates")


def name_of(provider: Name) -> str:
    """The base's name for that provider. The bootstrapped one is named by what it is made of."""
    if provider == "docker":
        return PUBLIC_BASE
    return f"localhost/holdfast-base:{debian.SUITE}-{key_of([debian.SUITE, debian.machine(), *PACKAGES])}"


def ensure(provider: Provider, cache: Cache) -> str:
    """Have the base in the provider's engine; returns its name."""
    name = name_of(provider.name)
    env = provider.environment()
    if provider.name == "docker" or succeeds(["docker", "image", "inspect", name], timeout_s=30, env=env):
        return name  # a public base is pulled by the build itself
    hostdeps.ensure()
    archive = debian.root_file_system("base", PACKAGES, cache)
    with step(f"import {name}"):
        run(["docker", "import", archive, name], timeout_s=300, env=env)
    return name
