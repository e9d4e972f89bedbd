# SPDX-License-Identifier: Apache-2.0
"""A model hub on loopback that misbehaves on demand: the counterpart of tests/hub/test_pull.py.

Every fault is an attribute of HostileServer; requests and bytes sent are recorded for the tests to count."""

import hashlib
import json
import random
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

BLOCK = 16 << 10


@dataclass
class Request:
    path: str
    range: str | None
    authorization: str | None
    host: str
    sent: int = 0  # body bytes
    status: int = 0


@dataclass
class Answer:
    """What the handler is about to send; faults change it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # announced; None: the truth


def git_blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HostileServer:
    """`files` maps "owner/name" to {path: content}. Use as a context manager."""

    def __init__(self, files: dict[str, dict[str, bytes]]):
        self.files = files
        self.served: dict[str, bytes] = {}  # path -> content sent instead of the listed one
        self.requests: list[Request] = []
        self.statuses: list[tuple[int, dict[str, str]]] = []  # answers to the first file requests
        self.list_status: tuple[int, dict[str, str]] | None = None
        self.list_page = 1000
        self.redirect_to: str | None = None  # base address for file requests
        self.etag: str | None = '"first"'
        self.etag_after: tuple[int, str] | None = None  # (requests, new tag)
        self.ranges = True
        self.if_range = True
        self.shift_range = 0  # added to both ends of Content-Range and to the bytes
        self.short_range = 0  # a 206 gives at most this many bytes
        self.lie_about_total = 0
        self.add_length = 0  # added to Content-Length
        self.no_length = False  # end of body is end of connection
        self.extra_body = b""
        self.cut_chance = 0.0  # share of large answers that break off somewhere
        self.cut_at_once = False  # and not somewhere, but before their first byte
        self.stalls = 0  # this many large answers stop half-way and hang
        self.stall_seconds = 8.0
        self.bytes_per_second = 0
        self.random = random.Random(7)
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.httpd.daemon_threads = True
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}"

    def file_requests(self) -> list[Request]:
        return [r for r in self.requests if "/api/" not in r.path]

    def bytes_sent(self) -> int:
        return sum(r.sent for r in self.file_requests())

    def content(self, repository: str, path: str) -> bytes | None:
        if path in self.served:
            return self.served[path]
        return self.files.get(repository, {}).get(path)

    def listing(self, repository: str) -> list[dict]:
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "d"}]
        for path, content in self.files[repository].items():
            entry = {"type": "file", "oid": git_blob_id(content), "size": len(content), "path": path}
            if path.endswith((".gguf", ".safetensors")):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
                entry["oid"] = "1" * 40
            entries.append(entry)
        return entries

    def answer_list(self, repository: str, query: str) -> Answer:
        if self.list_status:
            return Answer(self.list_status[0], b"no", dict(self.list_status[1]))
        if repository not in self.files:
            return Answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        entries = self.listing(repository)
        start = int(re.search(r"cursor=(\d+)", query).group(1)) if "cursor=" in query else 0
        end = start + self.list_page
        headers = {"Content-Type": "application/json"}
        if end < len(entries):
            link = f"{self.address}/api/models/{repository}/tree/main?recursive=true&cursor={end}"
            headers["Link"] = f'<{link}>; rel="next"'
        return Answer(200, json.dumps(entries[start:end]).encode(), headers)

    def answer_file(self, repository: str, path: str, request: Request, if_range: str | None) -> Answer:
        with self.lock:
            if self.statuses:
                status, headers = self.statuses.pop(0)
                return Answer(status, b"no", dict(headers))
            count = len(self.file_requests())
        if self.redirect_to:
            return Answer(302, b"", {"Location": self.redirect_to + request.path})
        content = self.content(repository, path)
        if content is None:
            return Answer(404, b"no", {"X-Error-Message": "Entry not found"})
        etag = self.etag
        if self.etag_after and count > self.etag_after[0]:
            etag = self.etag_after[1]
        headers = {"ETag": etag} if etag else {}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.range or "")
        if not match or not self.ranges or (self.if_range and if_range and if_range != etag):
            return Answer(200, content + self.extra_body, headers, len(content) + len(self.extra_body) + self.add_length)
        first, last = int(match.group(1)), min(int(match.group(2)), len(content) - 1)
        if first >= len(content):
            return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        if last > first:  # the probe asks for one byte and is told the truth
            first, last = first + self.shift_range, last + self.shift_range
            if self.short_range:
                last = min(last, first + self.short_range - 1)
        body = content[first : last + 1]
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content) + self.lie_about_total}"
        return Answer(206, body, headers, len(body) + (self.add_length if last > first else 0))

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                request = Request(self.path, self.headers["Range"], self.headers["Authorization"], self.headers["Host"])
                with server.lock:
                    server.requests.append(request)
                path, _, query = self.path.partition("?")
                listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path)
                file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
                if listing:
                    answer = server.answer_list(listing.group(1), query)
                elif file:
                    answer = server.answer_file(file.group(1), unquote(file.group(2)), request, self.headers["If-Range"])
                else:
                    answer = Answer(404, b"")
                self.send(answer, request)

            def send(self, answer: Answer, request: Request):
                request.status = answer.status
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if server.no_length:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                else:
                    self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                self.end_headers()
                try:
                    self.send_body(answer.body, request)
                except OSError:
                    self.close_connection = True
                if answer.length is not None and answer.length != len(answer.body):
                    self.close_connection = True

            def send_body(self, body: bytes, request: Request):
                large = len(body) > BLOCK
                with server.lock:
                    cuts = large and server.random.random() < server.cut_chance
                    cut = (0 if server.cut_at_once else server.random.randrange(len(body))) if cuts else None
                    stall = len(body) // 2 if large and server.stalls > 0 else None
                    server.stalls -= stall is not None
                for start in range(0, len(body), BLOCK):
                    block = body[start : start + BLOCK]
                    if stall is not None and start <= stall < start + BLOCK:
                        server.closing.wait(server.stall_seconds)
                    if cut is not None and start + len(block) > cut:
                        self.wfile.write(block[: cut - start])
                        request.sent += cut - start
                        self.close_connection = True
                        return
                    self.wfile.write(block)
                    request.sent += len(block)
                    if server.bytes_per_second and large:
                        time.sleep(len(block) / server.bytes_per_second)

        return Handler
