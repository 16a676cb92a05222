"""Drives httpbin, an application that was made to try out clients: `drive_httpbin.py URL`."""

import sys

import requests

url = sys.argv[1].rstrip("/")
client = requests.Session()


def check(method, path, code=200, **arguments):
    answer = client.request(method, url + path, timeout=30, **arguments)
    assert answer.status_code == code, (method, path, answer.status_code, answer.text)
    return answer


found = check("GET", "/get?a=1&b=%C3%BC&a=2").json()
assert found["args"] == {"a": ["1", "2"], "b": "\u00fc"}, found
assert found["origin"] == "127.0.0.1" and found["url"].startswith(url + "/get"), found
for method in ["POST", "PUT", "PATCH", "DELETE"]:
    path = "/" + method.lower()
    assert check(method, path, data={"a": "1"}).json()["form"] == {"a": "1"}
    assert check(method, path, json={"a": [1]}).json()["json"] == {"a": [1]}
    assert check(method, path, data=b"raw").json()["data"] == "raw"
files = {"file": ("a.txt", b"content of a file")}
assert check("POST", "/post", files=files).json()["files"] == {"file": "content of a file"}
assert check("POST", "/post", data=iter([b"in ", b"pieces"])).json()["data"] == "in pieces"
large = "x" * 1000000
assert check("POST", "/post", data=large).json()["data"] == large
assert check("TRACE", "/anything/path").json()["method"] == "TRACE"
check("FOO", "/anything/path", 405)
headers = {"X-Odd": "caf\u00e9".encode("latin-1"), "X-Empty": ""}
assert check("GET", "/headers", headers=headers).json()["headers"]["X-Odd"] == "caf\u00e9"
assert check("GET", "/user-agent").json()["user-agent"].startswith("python-requests")
assert check("GET", "/response-headers?X-Twice=1&X-Twice=2").headers["X-Twice"] == "1, 2"
for code in [200, 201, 202, 203, 204, 205, 206, 304, 400, 404, 418, 429, 500, 503, 599]:
    check("GET", "/status/%d" % code, code)
    assert check("HEAD", "/status/%d" % code, code).content == b""
assert len(check("GET", "/redirect/3").history) == 3
assert len(check("GET", "/absolute-redirect/2").history) == 2
assert check("GET", "/cookies/set?a=1&b=2").json()["cookies"] == {"a": "1", "b": "2"}
assert check("GET", "/cookies", headers={"Cookie": "long=" + "x" * 10000}).status_code == 200
assert check("GET", "/basic-auth/user/pass", auth=("user", "pass")).json()["authenticated"]
check("GET", "/basic-auth/user/pass", 401)
digest = requests.auth.HTTPDigestAuth("user", "pass")
assert check("GET", "/digest-auth/auth/user/pass", auth=digest).json()["authenticated"]
assert check("GET", "/gzip").json()["gzipped"]
assert check("GET", "/deflate").json()["deflated"]
assert "\u222e" in check("GET", "/encoding/utf8").text
assert len(check("GET", "/bytes/10000?seed=1").content) == 10000
assert len(check("GET", "/stream-bytes/50000?seed=1&chunk_size=1000").content) == 50000
stream = check("GET", "/stream/20", stream=True)
assert len(list(stream.iter_lines())) == 20
assert len(check("GET", "/drip?numbytes=5&duration=0.2&delay=0").content) == 5
part = check("GET", "/range/1000", 206, headers={"Range": "bytes=10-19"})
assert part.content == b"klmnopqrst", part.content
assert "ETag" in check("GET", "/etag/abc").headers
check("GET", "/etag/abc", 304, headers={"If-None-Match": "abc"})
check("GET", "/cache", 304, headers={"If-Modified-Since": "Sat, 01 Jan 2022 00:00:00 GMT"})
assert check("GET", "/image/png").content.startswith(b"\x89PNG")
assert check("GET", "/delay/0.1").elapsed.total_seconds() >= 0.1
assert check("GET", "/anything/a%20b").json()["url"] == url + "/anything/a%20b"
assert check("OPTIONS", "/get").headers["Allow"]
check("POST", "/get", 405)
check("GET", "/missing", 404)
print("httpbin: done")
