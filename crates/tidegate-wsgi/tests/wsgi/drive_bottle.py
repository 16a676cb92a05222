"""Drives bottle_app.py: `drive_bottle.py URL APPLICATION`."""

import sys

import requests

url = sys.argv[1].rstrip("/")
with requests.Session() as client:
    assert client.get(url + "/?name=w%C3%B6rld").text == "index of w\u00f6rld"
    for size in [10, 2000000]:
        files = {"file": ("a.bin", b"x" * size)}
        answer = client.post(url + "/form", data={"field": "\u20ac"}, files=files).json()
        assert answer == {"field": "\u20ac", "size": size}, answer
    for size in [0, 1, 100000, 3000000]:
        assert client.put(url + "/echo", data=bytes(size)).content == bytes(size), size
    assert client.post(url + "/echo", data=iter([b"by ", b"pieces"])).content == b"by pieces"
    assert client.get(url + "/stream").text == "".join("line %d\n" % number for number in range(5))
    file = client.get(url + "/file")
    assert file.content == bytes(range(256)) * 1000
    part = client.get(url + "/file", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, bytes(range(5, 10)))
    head = client.head(url + "/file")
    assert (head.content, head.headers["Content-Length"]) == (b"", "256000")
    for visits in range(1, 4):
        assert client.get(url + "/visit").json() == {"visits": visits}
    away = client.get(url + "/away")
    assert away.text == "index of away" and away.history[0].status_code == 303
    teapot = client.get(url + "/teapot")
    assert teapot.status_code == 418 and "short and stout" in teapot.text
    failed = client.get(url + "/fail")
    assert failed.status_code == 500 and "purpose" not in failed.text
print("bottle: done")
