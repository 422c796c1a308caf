"""The download client against a server on this machine that misbehaves on command."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import os
import threading
import urllib.parse
from http.cookiejar import CookieJar

import pytest

from vivant.errors import ModelError, OutputError
from vivant_export import download as client
from vivant_export import sources
from vivant_export.catalogue import Source
from vivant_export.download import DownloadError, Remote, download
from vivant_export.part import Part

DATA = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(DATA).hexdigest()
HALF = len(DATA) // 2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        path = urllib.parse.urlsplit(self.path).path
        self.server.requests.append(self)
        script = self.server.scripts[path]
        (script.pop(0) if len(script) > 1 else script[0])(self)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server wants

    def log_message(self, *_):
        pass

    def send(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Answers a path with the functions of its script in turn, the last one for ever."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts = {}
        self.requests = []
        self.over = threading.Event()

    def handle_error(self, request, client_address):  # the client hung up, as it should
        pass

    def url(self, path="/file", *script):
        self.scripts[path] = list(script)
        return f"http://127.0.0.1:{self.server_port}{path}"

    @property
    def ranges(self):
        return [request.headers.get("Range") for request in self.requests]


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Do not wait between attempts; the waits that were asked for."""
    asked = []
    monkeypatch.setattr(client.time, "sleep", asked.append)
    return asked


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model" / "weights.pth"


def whole(data=DATA, *, etag='"1"', cut=None, length=None, ranges=True):
    """An answer with ``data``; it may break off, lie about its length or ignore ranges."""

    def answer(request):
        start = 0
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range", etag)
        if ranges and asked and condition == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data) > 0:
            request.send(416, {"Content-Range": f"bytes */{len(data)}"})
            return
        headers = {"Content-Length": str((len(data) if length is None else length) - start)}
        if etag:
            headers["ETag"] = etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        request.send(206 if start else 200, headers, data[start:cut])

    return answer


def status(code, headers=None, body=b""):
    return lambda request: request.send(
        code, {"Content-Length": str(len(body)), **(headers or {})}, body
    )


def page(text, headers=None):
    return status(
        200, {"Content-Type": "text/html; charset=utf-8", **(headers or {})}, text.encode()
    )


def redirect(url):
    return status(302, {"Location": url})


def left(target):
    """What lies in the folder of ``target``, by name."""
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


class TestWhole:
    def test_a_file_comes_whole(self, server, target):
        seen = []
        remote = Remote(server.url("/file", whole()), len(DATA), SHA256)
        assert download(remote, target, lambda *now: seen.append(now)) == SHA256
        assert target.read_bytes() == DATA
        assert left(target) == ["weights.pth"]
        assert seen == sorted(seen)
        assert seen[-1] == (len(DATA), len(DATA))

    def test_permissions_are_the_usual_ones(self, server, target):
        mask = os.umask(0o022)
        os.umask(mask)
        download(Remote(server.url("/file", whole())), target)
        assert target.stat().st_mode & 0o777 == 0o666 & ~mask

    def test_without_a_length(self, server, target):
        def answer(request):
            request.send(200, {}, DATA)

        assert download(Remote(server.url("/file", answer)), target) == SHA256

    def test_a_redirect_is_followed(self, server, target):
        server.url("/there", whole())
        assert download(Remote(server.url("/file", redirect("/there"))), target) == SHA256


class TestResume:
    def test_a_broken_connection_is_resumed(self, server, target):
        download(Remote(server.url("/file", whole(cut=HALF), whole()), sha256=SHA256), target)
        assert target.read_bytes() == DATA
        assert server.ranges == [None, f"bytes={HALF}-"]
        assert server.requests[1].headers["If-Range"] == '"1"'

    def test_an_interrupted_run_is_resumed_by_the_next(self, server, target):
        def interrupt(done, total):
            raise KeyboardInterrupt

        remote = Remote(server.url("/file", whole(cut=HALF), whole()), len(DATA), SHA256)
        with pytest.raises(KeyboardInterrupt):
            download(remote, target, interrupt)
        there = target.with_name("weights.pth.part").stat().st_size
        assert 0 < there <= HALF
        assert not target.exists()
        assert download(remote, target) == SHA256
        assert server.ranges == [None, f"bytes={there}-"]
        assert left(target) == ["weights.pth"]

    def test_a_complete_part_asks_nothing(self, server, target):
        url = server.url("/file", whole())
        with Part(target, url) as part:
            part.restart('"1"')
            part.write(DATA)
        assert download(Remote(url, len(DATA), SHA256), target) == SHA256
        assert server.requests == []

    def test_a_file_that_changed_starts_anew(self, server, target):
        new = DATA[::-1]
        url = server.url("/file", whole(cut=HALF), whole(new, etag='"2"'))
        download(Remote(url), target)
        assert target.read_bytes() == new

    def test_ranges_may_be_ignored(self, server, target):
        url = server.url("/file", whole(cut=HALF), whole(ranges=False))
        assert download(Remote(url, sha256=SHA256), target) == SHA256

    def test_another_range_than_asked_for(self, server, target):
        def elsewhere(request):
            headers = {"Content-Range": f"bytes 7-{len(DATA) - 1}/{len(DATA)}"}
            request.send(206, {**headers, "Content-Length": str(len(DATA) - 7)}, DATA[7:])

        url = server.url("/file", whole(cut=HALF), elsewhere, whole())
        assert download(Remote(url), target) == SHA256
        assert server.ranges[2] is None

    def test_a_part_longer_than_the_file(self, server, target):
        url = server.url("/file", whole())
        with Part(target, url) as part:
            part.restart('"1"')
            part.write(DATA + b"more")
        assert download(Remote(url, sha256=SHA256), target) == SHA256

    def test_what_nothing_vouches_for_is_not_resumed(self, server, target):
        url = server.url("/file", whole(cut=HALF, etag=None), whole(etag=None))
        assert download(Remote(url), target) == SHA256
        assert server.ranges == [None, None]

    def test_another_origins_part_is_not_taken_up(self, server, target):
        with Part(target, "https://elsewhere.example/file") as part:
            part.restart('"1"')
            part.write(b"other bytes")
        assert download(Remote(server.url("/file", whole()), sha256=SHA256), target) == SHA256
        assert server.ranges == [None]

    def test_a_signed_address_may_change(self, server, target):
        first = Remote(server.url("/a", whole(cut=HALF)), sha256=SHA256, origin="https://o.example")
        with pytest.raises(DownloadError, match="the connection broke after"):
            download(first, target)
        second = Remote(server.url("/b", whole()), sha256=SHA256, origin="https://o.example")
        assert download(second, target) == SHA256
        assert server.ranges[-1] == f"bytes={HALF}-"


class TestFaults:
    def test_a_wrong_hash_leaves_nothing(self, server, target):
        with pytest.raises(DownloadError, match=f"its SHA-256 is .*{'0' * 64} is expected"):
            download(Remote(server.url("/file", whole()), sha256="0" * 64), target)
        assert left(target) == []

    def test_an_older_file_survives(self, server, target):
        target.parent.mkdir()
        target.write_bytes(b"older")
        with pytest.raises(DownloadError):
            download(Remote(server.url("/file", whole()), sha256="0" * 64), target)
        assert left(target) == ["weights.pth"]
        assert target.read_bytes() == b"older"

    def test_another_size_is_refused_before_it_comes(self, server, target):
        with pytest.raises(DownloadError, match=f"has {len(DATA)} bytes there, 5 are expected"):
            download(Remote(server.url("/file", whole()), bytes=5), target)
        assert left(target) == []

    def test_a_length_too_large_is_a_broken_connection(self, server, target):
        url = server.url("/file", whole(length=len(DATA) + 10, ranges=False))
        with pytest.raises(DownloadError, match=r"broke after .* goes on where it stopped"):
            download(Remote(url), target)
        assert len(server.requests) == client.ATTEMPTS
        assert not target.exists()

    def test_a_length_too_small_fails_the_hash(self, server, target):
        url = server.url("/file", whole(length=100))
        with pytest.raises(DownloadError, match="SHA-256"):
            download(Remote(url, sha256=SHA256), target)
        assert left(target) == []

    def test_more_than_expected_is_not_swallowed(self, server, target):
        def endless(request):
            request.send(200, {})
            while not request.server.over.is_set():
                request.wfile.write(DATA)

        with pytest.raises(DownloadError, match="are expected"):
            download(Remote(server.url("/file", endless), bytes=len(DATA)), target)
        assert left(target) == []

    def test_an_empty_file(self, server, target):
        with pytest.raises(DownloadError, match="is empty"):
            download(Remote(server.url("/file", whole(b""))), target)
        assert left(target) == []

    def test_a_stall(self, server, target, monkeypatch):
        monkeypatch.setattr(client, "STALL", 0.1)

        def stall(request):
            request.send(200, {"Content-Length": str(len(DATA)), "ETag": '"1"'}, DATA[:HALF])
            request.server.over.wait()

        url = server.url("/file", stall, whole())
        assert download(Remote(url), target) == SHA256
        assert server.ranges == [None, f"bytes={HALF}-"]
        with pytest.raises(DownloadError, match=r"no byte for 0\.1 s"):
            download(Remote(server.url("/other", stall)), target)

    @pytest.mark.parametrize(
        ("code", "why"), [(403, "does not give it"), (404, "does not have it")]
    )
    def test_a_refusal_is_final(self, server, target, code, why):
        with pytest.raises(DownloadError, match=why) as caught:
            download(Remote(server.url("/file", status(code))), target)
        assert len(server.requests) == 1
        assert "\n" not in str(caught.value)
        assert left(target) == []

    @pytest.mark.parametrize("code", [429, 503])
    def test_a_busy_server_is_asked_again_when_it_says(self, server, target, waits, code):
        url = server.url("/file", status(code, {"Retry-After": "7"}), status(code), whole())
        assert download(Remote(url), target) == SHA256
        assert waits == [7, 2 * client.PAUSE]

    def test_a_busy_server_is_not_asked_for_ever(self, server, target, waits):
        url = server.url("/file", status(503, {"Retry-After": "86400"}))
        with pytest.raises(DownloadError, match="the server answers 503"):
            download(Remote(url), target)
        assert waits == [client.PATIENCE] * (client.ATTEMPTS - 1)

    def test_nobody_there(self, server, target):
        url = server.url()
        server.shutdown()
        server.server_close()
        with pytest.raises(DownloadError, match="cannot be reached"):
            download(Remote(url), target)

    def test_a_web_page_is_no_file(self, server, target):
        with pytest.raises(DownloadError, match="a web page came"):
            download(Remote(server.url("/file", page("<p>Please log in</p>"))), target)
        assert left(target) == []

    def test_secrets_in_an_address_are_not_printed(self, server, target):
        with pytest.raises(DownloadError) as caught:
            download(Remote(server.url("/file", status(404)) + "?signature=secret"), target)
        assert "secret" not in str(caught.value)


class TestAddresses:
    @pytest.mark.parametrize(
        "url", ["http://example.com/file", "ftp://example.com/file", "file:///etc/passwd"]
    )
    def test_only_https_is_spoken(self, target, url):
        with pytest.raises(DownloadError, match="not HTTPS"):
            download(Remote(url), target)
        assert left(target) == []

    @pytest.mark.parametrize("url", ["http://example.com/file", "file:///etc/passwd"])
    def test_no_redirect_leads_elsewhere(self, server, target, url):
        with pytest.raises(DownloadError):
            download(Remote(server.url("/file", redirect(url))), target)
        assert left(target) == []

    def test_nobody_outside_sends_us_to_this_machine(self):
        with pytest.raises(DownloadError, match="not HTTPS"):
            client._check_address("http://127.0.0.1/admin", "https://example.com/file")

    def test_a_loop_of_redirects(self, server, target):
        with pytest.raises(DownloadError, match="302"):
            download(Remote(server.url("/file", redirect("/file"))), target)

    def test_a_redirect_gets_no_token(self, server, target):
        server.url("/there", whole())
        url = server.url("/file", redirect("/there"))
        download(Remote(url, headers={"Authorization": "Bearer secret"}), target)
        given = [request.headers.get("Authorization") for request in server.requests]
        assert given == ["Bearer secret", None]


class TestDisk:
    def test_too_little_space_is_said_before(self, server, target, monkeypatch):
        usage = functools.partial(client.shutil._ntuple_diskusage, 100, 99)
        monkeypatch.setattr(client.shutil, "disk_usage", lambda _: usage(1))
        with pytest.raises(OutputError, match="MB are needed"):
            download(Remote(server.url("/file", whole())), target)
        assert left(target) == []

    def test_a_disk_that_fills_up(self, server, target, monkeypatch):
        def full(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            download(Remote(server.url("/file", whole())), target)
        assert not target.exists()

    def test_a_folder_that_is_a_file(self, server, target):
        target.parent.write_text("")
        with pytest.raises(OutputError, match="VIVANT_WEIGHTS"):
            download(Remote(server.url("/file", whole())), target)

    def test_two_at_once(self, server, target):
        url = server.url("/file", whole())
        with Part(target, url), pytest.raises(ModelError, match="another process"):
            download(Remote(url), target)


FORM = """<html><title>Google Drive - Virus scan warning</title>
<form id="search" action="/search"><input type="hidden" name="q" value="no"></form>
<form id="download-form" action="{url}" method="get"><input type="submit" value="Download anyway">
<input type="hidden" name="id" value="abc"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1&amp;2">
</form>
<form><input type="hidden" name="other" value="no"></form></html>"""


class TestDrive:
    SOURCE = Source("drive", "abc", "weights.pth", len(DATA), SHA256)

    @pytest.fixture
    def fetch(self, server, target, monkeypatch):
        def run(*script):
            monkeypatch.setattr(sources, "DRIVE", server.url("/download", *script))
            download(sources.locate(self.SOURCE), target)
            assert target.read_bytes() == DATA
            queries = [urllib.parse.urlsplit(request.path).query for request in server.requests]
            return [dict(urllib.parse.parse_qsl(query)) for query in queries]

        return run

    def test_a_small_file_comes_at_once(self, fetch):
        assert fetch(whole()) == [{"id": "abc", "export": "download"}]

    def test_the_form(self, fetch, server):
        server.url("/confirmed", whole(cut=HALF), whole())
        asked = fetch(page(FORM.format(url="/confirmed")))
        confirmed = {"id": "abc", "export": "download", "confirm": "t", "uuid": "1&2"}
        assert asked[1] == confirmed
        assert asked[3] == confirmed  # the connection broke, and Drive asked back once more
        assert server.ranges == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]

    def test_the_cookie(self, fetch):
        warning = page("<p>Too large to scan</p>", {"Set-Cookie": "download_warning_1=xyz"})
        assert fetch(warning, whole())[1]["confirm"] == "xyz"

    def test_the_link(self, fetch):
        warning = page('<a id="uc-download-link" href="/download?confirm=q&amp;id=abc">x</a>')
        assert fetch(warning, whole())[1] == {"confirm": "q", "id": "abc"}

    def test_too_great_a_demand(self, fetch, target):
        with pytest.raises(DownloadError, match="try again tomorrow"):
            fetch(page("<title>Google Drive - Quota exceeded</title>"))
        assert left(target) == []

    def test_a_private_file(self, fetch, target):
        with pytest.raises(DownloadError, match="become private"):
            fetch(page("<p>You need access</p>"))

    def test_a_confirmation_that_leads_to_a_page_again(self, fetch, target):
        with pytest.raises(DownloadError, match="a web page came"):
            fetch(page(FORM.format(url="/download")))

    def test_a_form_that_leads_elsewhere(self):
        form = FORM.format(url="http://example.com/x")
        url = sources.drive_confirmed(form, "https://drive.usercontent.google.com/", CookieJar())
        with pytest.raises(DownloadError, match="not HTTPS"):
            client._check_address(url, "https://drive.usercontent.google.com/download")


class TestHub:
    SOURCE = Source("hub", "briaai/RMBG-1.4", "model.safetensors", revision="c0ffee")
    PATH = "/briaai/RMBG-1.4/resolve/c0ffee/model.safetensors"

    @pytest.fixture(autouse=True)
    def hub(self, server, monkeypatch):
        pytest.importorskip("huggingface_hub")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def found(self, server, etag=SHA256):
        """The hub's answer for a file that lies on another host."""
        location = server.url("/signed", whole()).replace("127.0.0.1", "localhost")
        headers = {"Location": location, "X-Repo-Commit": "c0ffee"}
        return status(302, {**headers, "X-Linked-Size": str(len(DATA)), "X-Linked-Etag": etag})

    def test_the_hub_says_where_and_what(self, server, target):
        server.url(self.PATH, self.found(server))
        remote = sources.locate(self.SOURCE)
        assert (remote.bytes, remote.sha256) == (len(DATA), SHA256)
        download(remote, target)
        asked, came = server.requests
        assert asked.headers["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in came.headers
        assert target.read_bytes() == DATA

    def test_the_hub_gets_the_token_where_it_has_the_file_itself(self, server, target):
        answer = status(200, {"ETag": '"abc"', "Content-Length": str(len(DATA))})
        server.url(self.PATH, answer, whole())
        remote = sources.locate(self.SOURCE)
        assert remote.sha256 is None  # an ETag that is no SHA-256
        download(remote, target)
        assert server.requests[1].headers["Authorization"] == "Bearer hf_secret"

    def test_the_catalogue_outranks_the_hub(self, server):
        server.url(self.PATH, self.found(server, etag="f" * 64))
        known = Source("hub", "briaai/RMBG-1.4", "model.safetensors", 5, SHA256, "c0ffee")
        remote = sources.locate(known)
        assert (remote.bytes, remote.sha256) == (5, SHA256)

    @pytest.mark.parametrize("code", [401, 403])
    def test_behind_a_login(self, server, code):
        server.url(self.PATH, status(code, {"X-Error-Code": "GatedRepo"}))
        with pytest.raises(DownloadError, match=r"accept the terms.*HF_TOKEN") as caught:
            sources.locate(self.SOURCE)
        assert "huggingface.co/briaai/RMBG-1.4" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("code", "headers"),
        [
            (401, {}),
            (404, {"X-Error-Code": "RepoNotFound"}),
            (404, {"X-Error-Code": "EntryNotFound"}),
        ],
    )
    def test_not_there(self, server, code, headers):
        server.url(self.PATH, status(code, headers))
        with pytest.raises(DownloadError, match=f"the hub answers {code}"):
            sources.locate(self.SOURCE)
        assert len(server.requests) == 1

    def test_a_busy_hub_is_asked_again(self, server):
        server.url(self.PATH, status(503), self.found(server))
        assert sources.locate(self.SOURCE).sha256 == SHA256

    def test_no_hub(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(DownloadError, match="the hub cannot be reached"):
            sources.locate(self.SOURCE)
