"""The bucket as the host sees it, over plain HTTP: listings, documents, and ways to harm an object.

It speaks the part of Cloud Storage's JSON API that a listing and a download need, so that what the project's own
store adapter wrote is not judged by that adapter.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

_REPLY_S = 10.0
_COMMIT = re.compile(r"(?P<prefix>.+)/runs/(?P<run>\d{8})/steps/(?P<step>\d{12})/commit\.json")
_ROUND = re.compile(r".+/runs/(?P<run>\d{8})/restore/(?P<round>\d{4})/plan\.json")


@dataclass(frozen=True, order=True)
class Commit:
    """One committed step: the run (one an attempt), the step, and the name of the manifest that commits it."""

    run: int
    step: int
    name: str


@dataclass(frozen=True)
class Bucket:
    """One bucket of a server that asks for no credentials."""

    url: str
    name: str

    def objects(self, prefix: str) -> list[Fields]:
        """Every object whose name begins with ``prefix``, as the server describes it (name, size, generation, ...)."""
        found: list[Fields] = []
        page = ""
        while True:
            query = urllib.parse.urlencode({"prefix": prefix, "pageToken": page})
            answer = json.loads(self._ask(f"/storage/v1/b/{self.name}/o?{query}"))
            found += answer.get("items") or []
            page = answer.get("nextPageToken") or ""
            if not page:
                return found

    def read(self, name: str) -> bytes:
        """The content of an object. Raises `LookupError` where there is none."""
        quoted = urllib.parse.quote(name, safe="")
        try:
            return self._ask(f"/storage/v1/b/{self.name}/o/{quoted}?alt=media")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise LookupError(f"gs://{self.name}/{name} is not there") from error
            raise

    def document(self, name: str) -> Fields:
        """The content of a JSON object."""
        decoded: Fields = json.loads(self.read(name))
        return decoded

    def delete(self, name: str) -> None:
        """Delete an object."""
        quoted = urllib.parse.quote(name, safe="")
        self._ask(f"/storage/v1/b/{self.name}/o/{quoted}", method="DELETE")

    def commits(self, prefix: str) -> list[Commit]:
        """All commits below a destination's prefix, oldest first."""
        names = [str(item["name"]) for item in self.objects(f"{prefix}/runs/")]
        found = [(match, name) for name in names if (match := _COMMIT.fullmatch(name))]
        return sorted(Commit(int(match["run"]), int(match["step"]), name) for match, name in found)

    def newest(self, prefix: str) -> Commit | None:
        """The newest commit of the newest run that has one."""
        return max(self.commits(prefix), default=None)

    def parts(self, commit: Commit) -> list[Fields]:
        """The part manifests that a commit names, in the order of the slots."""
        prefix = self.prefix_of(commit)
        return [self.document(f"{prefix}/{part['object']}") for part in self.document(commit.name)["parts"]]

    def rounds(self, prefix: str) -> list[tuple[int, int, Fields]]:
        """Every restore round below a prefix: run, round, and the plan that the workers voted on; oldest first."""
        names = sorted(str(item["name"]) for item in self.objects(f"{prefix}/runs/"))
        found = [(match, name) for name in names if (match := _ROUND.fullmatch(name))]
        return [(int(match["run"]), int(match["round"]), self.document(name)) for match, name in found]

    @staticmethod
    def prefix_of(commit: Commit) -> str:
        """The destination's prefix, of which all names in manifests are relative."""
        match = _COMMIT.fullmatch(commit.name)
        if match is None:
            raise ValueError(f"{commit.name} is not the name of a commit")
        return match["prefix"]

    def _ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=_REPLY_S) as reply:
            body: bytes = reply.read()
            return body
