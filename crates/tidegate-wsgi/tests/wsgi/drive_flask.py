"""Drives flask_app.py: `drive_flask.py URL APPLICATION`."""

import sys

import requests

url, application = sys.argv[1].rstrip("/"), sys.argv[2]
with requests.Session() as client:
    assert client.get(url + "/", params={"name": "me"}).text == "index of me"
    head = client.head(url + "/?name=me")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "11")
    form = client.post(url + "/form", data={"a": "1", "\u00fc": "\u20ac"}, headers={"X-Agent": "test"})
    assert form.json() == {"fields": {"a": "1", "\u00fc": "\u20ac"}, "agent": "test"}, form.text
    assert client.post(url + "/json", json={"a": [1, None]}).json() == {"got": {"a": [1, None]}}
    for size in [0, 1, 100000, 3000000]:
        content = bytes(size)
        assert client.post(url + "/data", data=content).content == content, size
    pieces = client.post(url + "/data", data=iter([b"piece ", b"by ", b"piece"]))
    assert pieces.content == b"piece by piece", pieces.text
    for size in [0, 1000, 2000000]:
        upload = client.post(url + "/upload", files={"file": ("a b.bin", b"xyz" * size)})
        assert upload.json() == {"name": "a b.bin", "size": 3 * size, "first": "xyz" if size else ""}
    stream = client.get(url + "/stream?name=me", stream=True)
    assert "Content-Length" not in stream.headers
    assert list(stream.iter_lines()) == [b"line %d of me" % number for number in range(5)]
    file = client.get(url + "/file")
    assert file.content == bytes(range(256)) * 4096
    part = client.get(url + "/file", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, bytes(range(100, 200)))
    same = client.get(url + "/file", headers={"If-None-Match": file.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert client.head(url + "/file").headers["Content-Length"] == str(256 * 4096)
    for visits in range(1, 4):
        answer = client.get(url + "/visit")
        assert answer.json() == {"visits": visits}
        assert (answer.cookies["one"], answer.cookies["two"]) == ("1", "2")
    away = client.get(url + "/away")
    assert away.text == "part w\u00f6rld" and away.history[0].status_code == 302
    assert client.get(url + "/missing").status_code == 404
    assert client.get(url + "/form").status_code == 405
    failed = client.get(url + "/fail")
    assert failed.status_code == 500
    assert ("flask failed on purpose" in failed.text) == (application == "debugging"), failed.text
    if application == "debugging":
        assert "Werkzeug Debugger" in failed.text
        style = client.get(url + "/?__debugger__=yes&cmd=resource&f=style.css")
        assert style.headers["Content-Type"].startswith("text/css"), style.headers
print("flask: done")
