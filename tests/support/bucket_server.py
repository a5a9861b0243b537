"""A strict bucket server on loopback: the JSON API of Cloud Storage as far as the client of Holdfast uses it.

It holds a `Bucket`, so generations and preconditions are those of the memory store; it checks declared checksums and
lengths, and can be told to answer badly. Use it as a context manager; `url` goes into `STORAGE_EMULATOR_HOST`.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.checkpoint.hashing import crc32c
from holdfast.seams import ObjectMissing, PreconditionFailed
from tests.support.bucket import Bucket, Stored

# Decides on a request (method, path): None to serve it, or the status of a refusal, or "cut" to hang up after serving.
Judge = Callable[[str, str], int | str | None]


class BucketServer:
    """Serves `buckets` by name."""

    def __init__(self, **buckets: Bucket) -> None:
        self.buckets = buckets
        self.lock = threading.Lock()
        self.sessions: dict[str, tuple[str, dict[str, Any], int | None]] = {}
        self.judge: Judge = lambda method, path: None
        self.requests: list[str] = []
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> BucketServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: BucketServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    def _serve(self, answer: Callable[[str, dict[str, str]], None]) -> None:
        split = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        state = self.server_state
        with state.lock:
            state.requests.append(f"{self.command} {self.path}")
            judgement = state.judge(self.command, unquote(self.path))
        if isinstance(judgement, int):
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._error(judgement, "told to refuse")
            return
        self._cut = judgement == "cut"
        try:
            answer(split.path, query)
        except ObjectMissing as error:
            self._error(404, f"No such object: {error}")
        except PreconditionFailed as error:
            self._error(412, str(error))
        except _NoBucket:
            self._error(404, "The specified bucket does not exist.")

    def _get(self, path: str, query: dict[str, str]) -> None:
        parts = path.removeprefix("/download").removeprefix("/storage/v1/b/").split("/", 2)
        bucket = self._bucket(parts[0])
        if len(parts) == 1:
            self._json(200, {"kind": "storage#bucket", "name": parts[0], "location": "US", "locationType": "region"})
            return
        if len(parts) == 2:
            self._list(bucket, query)
            return
        name = unquote(parts[2])
        with self.server_state.lock:
            stored = bucket.read(name, int(query["generation"]) if "generation" in query else None)
        if query.get("alt") == "media":
            checksum = base64.b64encode(stored.crc32c.to_bytes(4, "big")).decode()
            self._send(
                200, stored.data, {"X-Goog-Generation": str(stored.generation), "X-Goog-Hash": f"crc32c={checksum}"}
            )
        else:
            self._json(200, _resource(name, stored))

    def _list(self, bucket: Bucket, query: dict[str, str]) -> None:
        limit = int(query.get("maxResults", "50"))
        prefix, after = query.get("prefix", ""), query.get("pageToken", "")
        with self.server_state.lock:
            names, folders = bucket.level(prefix) if query.get("delimiter") == "/" else (bucket.names(prefix), [])
            # A folder counts as one entry, and comes where its name does.
            entries = sorted(entry for entry in (*names, *folders) if entry > after)
            page = entries[:limit]
            items = [_resource(name, bucket.objects[name]) for name in page if name in bucket.objects]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        # As the real one does: what is empty is left out.
        answer |= {"items": items} if items else {}
        answer |= {"prefixes": common} if (common := [entry for entry in page if entry in folders]) else {}
        answer |= {"nextPageToken": page[-1]} if len(entries) > limit else {}
        self._json(200, answer)

    def _post(self, path: str, query: dict[str, str]) -> None:
        body = self._body()
        bucket_name = path.removeprefix("/upload/storage/v1/b/").split("/")[0]
        bucket = self._bucket(bucket_name)
        expected = int(query["ifGenerationMatch"]) if "ifGenerationMatch" in query else None
        if query["uploadType"] == "multipart":
            metadata, content = _multipart(self.headers["Content-Type"], body)
            self._store(bucket, metadata, content, expected)
            return
        metadata = json.loads(body)
        session = f"session-{len(self.server_state.sessions)}"
        self.server_state.sessions[session] = (bucket_name, metadata, expected)
        self._send(200, b"", {"Location": f"{self.server_state.url}/upload/{session}"})

    def _put(self, path: str, query: dict[str, str]) -> None:
        bucket_name, metadata, expected = self.server_state.sessions[path.rsplit("/", 1)[1]]
        self._store(self._bucket(bucket_name), metadata, self._body(), expected)

    def _store(self, bucket: Bucket, metadata: dict[str, Any], data: bytes, expected: int | None) -> None:
        declared = metadata.get("crc32c")
        if declared is not None and int.from_bytes(base64.b64decode(declared), "big") != crc32c(data):
            self._error(400, "Provided CRC32C does not match calculated CRC32C.")
            return
        with self.server_state.lock:
            stored = bucket.write(metadata["name"], data, expected)
        self._json(200, _resource(metadata["name"], stored))

    def _delete(self, path: str, query: dict[str, str]) -> None:
        parts = path.removeprefix("/storage/v1/b/").split("/", 2)
        generation = int(query["generation"]) if "generation" in query else None
        with self.server_state.lock:
            bucket = self._bucket(parts[0])
            bucket.read(unquote(parts[2]), generation)
            bucket.remove(unquote(parts[2]), generation)
        self._send(204, b"")

    def _bucket(self, name: str) -> Bucket:
        bucket = self.server_state.buckets.get(unquote(name))
        if bucket is None:
            raise _NoBucket
        return bucket

    def _body(self) -> bytes:
        length = int(self.headers["Content-Length"])
        return self.rfile.read(length)

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"code": status, "message": message}})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        if getattr(self, "_cut", False):
            # The effect stands, the answer is lost.
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _NoBucket(Exception):
    pass


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the metadata and the content of an upload in one request."""
    boundary = content_type.partition("boundary=")[2].strip("'\"").encode()
    _, first, second, _ = body.split(b"--" + boundary)
    metadata = first.partition(b"\r\n\r\n")[2]
    return json.loads(metadata), second.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def _resource(name: str, stored: Stored) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": name,
        "generation": str(stored.generation),
        "metageneration": "1",
        "size": str(len(stored.data)),
        "crc32c": base64.b64encode(stored.crc32c.to_bytes(4, "big")).decode(),
    }
