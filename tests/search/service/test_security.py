"""What must not get through: other names, other sites, strangers, floods, paths."""

import asyncio
import json
import re
import sys

import pytest
from starlette.testclient import TestClient

from fastgoal.search.service.app import make_app
from fastgoal.search.service.assets import page_files
from fastgoal.search.service.guards import SECURITY
from fastgoal.search.service.settings import Limits, ServiceSettings

QUERY = {"text": "A red ball.", "top": 1}
PATHS = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "\\\\host\\share\\etc\\passwd",
    "C:\\Windows\\win.ini/etc/passwd",
    "images/../../../../etc/passwd",
    "etc/passwd\x00.png",
    "shard.tar#../../etc/passwd",
    "http://127.0.0.1:1/etc/passwd",
    "~root/etc/passwd",
)


def test_every_kind_of_answer_says_what_the_browser_must_not_do(make_client, searcher):
    client, with_token = make_client(), make_client(token="secret-token")
    floody = make_client(limits=Limits(rate=0.001, burst=1))
    floody.get("/api/facts")
    answers = {
        200: client.get("/"),
        404: client.get("/nothing"),
        405: client.get("/api/search"),
        413: client.post("/api/search", content=b" " * (21 * 2**20)),
        422: client.post("/api/search", json={}),
        421: client.get("/api/facts", headers={"Host": "evil.example"}),
        401: with_token.get("/api/facts"),
        403: client.get("/api/facts", headers={"Origin": "http://evil.example"}),
        429: floody.get("/api/facts"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        for name, value in SECURITY.items():
            assert answer.headers[name] == value, (status, name)
        if status != 200:
            assert answer.json()["error"]


def test_a_defect_is_told_without_its_insides(make_client, searcher, monkeypatch):
    client = make_client()
    monkeypatch.setattr(searcher, "text", lambda *a, **k: 1 / 0)
    answer = client.post("/api/search", json=QUERY)
    assert answer.status_code == 500
    assert answer.json()["error"] == "a defect of the server"
    assert "division" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_policy_allows_no_inline_script_and_no_frame():
    policy = SECURITY["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "data:" not in policy and "http" not in policy


def test_the_page_names_no_other_host():
    for name, content in page_files().items():
        text = content.decode().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"\w+://|[\"'(]//", text), name


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8321", 200),
        ("127.0.0.1:8321", 200),
        ("[::1]:8321", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8321", 421),
        ("evil.example:127.0.0.1", 421),
        ("[::1].evil.example", 421),
        ("", 421),
    ],
)
def test_only_own_names_are_answered(client, host, status):
    assert client.get("/api/health", headers={"Host": host}).status_code == status


def test_other_sites_cannot_ask(client):
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/search", json=QUERY, headers=own).status_code == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/api/search", json=QUERY, headers=headers).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link to the page


def test_without_the_token_there_is_only_the_page(make_client, records):
    client = make_client(token="secret-token")
    calls = [
        ("GET", "/api/facts"),
        ("GET", f"/api/image?id={records[0].id}&size=thumb"),
        ("POST", "/api/search"),
        ("POST", "/api/search/image"),
        ("GET", "/api/like?id=a"),
        ("POST", "/api/explain"),
        ("GET", "/api/openapi.json"),
        ("GET", "/nothing"),
    ]
    for given in (
        None,
        "secret-token",
        "Bearer",
        "Bearer secret-toke",
        "Bearer secret-tokenn",
        "Basic secret-token",
        "Bearer \xe9",
    ):
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        for method, path in calls:
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401, (given, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/", "/static/page.js", "/api/health"):
        assert client.get(path).status_code == 200
    assert client.post("/api/search", json=QUERY, headers={"Authorization": "Bearer secret-token"}).status_code == 200


def test_a_token_is_never_shown(searcher):
    assert "secret-token" not in repr(ServiceSettings(uri="a", token="secret-token"))


def test_a_flood_is_told_when_to_come_back(make_client):
    client = make_client(limits=Limits(rate=0.5, burst=3))
    answers = [client.post("/api/search", json=QUERY) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) in (1, 2)
    assert client.get("/").status_code == 200  # the page itself costs nothing
    assert client.get("/api/health").status_code == 200


def test_guessing_tokens_costs_the_rate(make_client):
    client = make_client(token="secret-token", limits=Limits(rate=0.001, burst=3))
    codes = [client.get("/api/facts", headers={"Authorization": f"Bearer {i}"}).status_code for i in range(5)]
    assert codes == [401, 401, 401, 429, 429]


def test_a_body_is_counted_as_it_comes(make_client):
    client = make_client(limits=Limits(rate=0, upload_mib=1))
    sent = [0]

    def endless():
        while sent[0] < 200 * 2**20:
            sent[0] += 2**16
            yield b" " * 2**16

    answer = client.post("/api/search", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000, "1e3", "99999999999"])
def test_a_length_that_is_none_is_refused(client, length):
    answer = client.post("/api/search", content=b"{}", headers={"Content-Length": length})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"text": ' + b"9" * 10_000 + b"}",
        b'{"text": "\\ud800"}',
        b'{"\\ud800": 1, "text": "a"}',
        b'{"text": NaN}',
        b'{"text": "a", "text": 3}',
        b'{"text": "a", "filters": {"\\ud800": 1}}',
        b'{"text": "a", "top": 1e400}',
    ],
)
def test_broken_json_is_the_clients_fault(client, body):
    answer = client.post("/api/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert json.loads(answer.content)["error"]


opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)


def raw(app, path):
    """The status of an answer to a path that no client has tidied up."""
    said = []

    async def send(message):
        said.append(message)

    async def receive():
        return {"type": "http.request", "body": b""}

    asked = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    asyncio.run(app({**asked, "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}, receive, send))
    return said[0]["status"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_of_a_client_is_opened(client, records, path):
    """Python tells its audit hooks of every file that it opens."""
    opened.clear()
    picture = ("a.png", b"not an image")
    assert [raw(client.app, f"{start}{path}") for start in ("/", "/static/", "/api/")] == [404] * 3
    answers = [
        client.get("/api/image", params={"id": path, "size": "full"}),
        client.get("/api/image", params={"id": records[0].id, "size": path}),
        client.get("/api/like", params={"id": path}),
        client.get("/api/like", params={"id": records[0].id, "id_contains": path, "top": 1}),
        client.post("/api/search", json={"text": path, "top": 1}),
        client.post("/api/search", json={**QUERY, "filters": {"id_contains": path, "caption_contains": path}}),
        client.post("/api/search/image", files={"picture": (path, picture[1])}),
        client.post("/api/search/image", files={"picture": ("a.png", picture[1], path.replace("\x00", "%00"))}),
        client.post("/api/search/image", files={path: picture}),
        client.post("/api/explain", json={"id": path, "text": "A ball."}),
        client.post("/api/explain", json={"id": records[0].id, "text": path}),
        client.get("/api/facts", headers={"If-None-Match": "passwd"}),
    ]
    assert all(answer.status_code < 500 for answer in answers)
    assert not any(b"root:" in answer.content for answer in answers)
    assert not [name for name in opened if "passwd" in name or "win.ini" in name]


def test_the_files_of_the_page_are_known_by_name_alone(client):
    for name, content in page_files().items():
        answer = client.get(f"/static/{name}")
        assert answer.content == content
        again = client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    for name in ("__init__.py", "../app.py", "app.py", ".", "..", "", "page.css/", "../page/page.css"):
        assert raw(client.app, f"/static/{name}") == 404


def test_websockets_are_not_taken(searcher):
    client = TestClient(make_app(searcher, ServiceSettings(uri="unused")))
    with pytest.raises(Exception), client.websocket_connect("/api/search"):  # noqa: B017
        pass
