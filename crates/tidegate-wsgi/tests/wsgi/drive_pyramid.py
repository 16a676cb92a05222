"""Drives pyramid_app.py: `drive_pyramid.py URL APPLICATION`."""

import sys
from urllib.parse import urlsplit

import requests

url, application = sys.argv[1].rstrip("/"), sys.argv[2]
with requests.Session() as client:
    assert client.get(url + "/?name=w%C3%B6rld").text == "index of w\u00f6rld"
    answer = client.put(url + "/match/a%20c").json()
    assert answer == {"matched": "a c", "method": "PUT", "host": urlsplit(url).netloc}, answer
    for size in [10, 2000000]:
        files = {"file": ("a.bin", b"x" * size)}
        answer = client.post(url + "/form", data={"field": "\u20ac"}, files=files).json()
        assert answer == {"field": "\u20ac", "size": size}, answer
    for size in [0, 1, 100000, 3000000]:
        assert client.post(url + "/echo", data=bytes(size)).content == bytes(size), size
    assert client.post(url + "/echo", data=iter([b"by ", b"pieces"])).content == b"by pieces"
    assert client.get(url + "/stream").text == "".join("line %d\n" % number for number in range(5))
    file = client.get(url + "/file")
    assert file.text == "line of a file\n" * 10000 and file.headers["Content-Length"] == "150000"
    part = client.get(url + "/file", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.text) == (206, "of a "), part.status_code
    away = client.get(url + "/away")
    assert away.json()["matched"] == "w\u00f6rld" and away.history[0].status_code == 302
    assert client.get(url + "/missing").status_code == 404
    failed = client.get(url + "/fail")
    assert (failed.status_code, failed.text) == (503, "handled: pyramid failed on purpose")
print("pyramid: done")
