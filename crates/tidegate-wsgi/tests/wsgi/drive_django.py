"""Drives django_app.py: `drive_django.py URL APPLICATION`."""

import re
import sys

import requests

url = sys.argv[1].rstrip("/")
TOKEN = re.compile('name="csrfmiddlewaretoken" value="([^"]+)"')


def token(page):
    return TOKEN.search(page.text).group(1)


with requests.Session() as client:
    assert client.get(url + "/?name=me").text == "index of me"
    # The admin: refused with a wrong password, entered with the right one, a user made.
    page = client.get(url + "/admin/")
    assert page.history[0].status_code == 302 and "/admin/login/" in page.url
    for password in ["wrong", "secret"]:
        form = {
            "csrfmiddlewaretoken": token(page),
            "username": "admin",
            "password": password,
            "next": "/admin/",
        }
        page = client.post(page.url, data=form, headers={"Referer": page.url})
        assert page.status_code == 200
        assert ("Site administration" in page.text) == (password == "secret"), page.text
    page = client.get(url + "/admin/auth/user/add/")
    form = {
        "csrfmiddlewaretoken": token(page),
        "username": "newcomer",
        "password1": "long-enough-9",
        "password2": "long-enough-9",
        "usable_password": "true",
    }
    page = client.post(page.url, data=form, headers={"Referer": page.url})
    assert page.status_code == 200 and "was added successfully" in page.text, page.text
    assert "newcomer" in client.get(url + "/admin/auth/user/").text
    # Without the token: refused.
    assert requests.post(url + "/admin/login/", data=form).status_code == 403

    style = client.get(url + "/static/admin/css/base.css")
    assert style.status_code == 200 and style.headers["Content-Type"].startswith("text/css")
    assert len(style.content) == int(style.headers["Content-Length"]) > 1000
    since = {"If-Modified-Since": style.headers["Last-Modified"]}
    assert client.get(style.url, headers=since).status_code == 304
    part = client.get(style.url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, style.content[10:20])
    head = client.head(style.url)
    assert (head.content, head.headers["Content-Length"]) == (b"", style.headers["Content-Length"])

    for size in [0, 10, 5000000]:  # The last one is longer than what Django keeps in memory.
        files = {"a": ("a.bin", b"x" * size), "b": ("b.txt", b"text")}
        answer = client.post(url + "/upload", data={"c": "\u20ac"}, files=files).json()
        wanted = {"b": ["b.txt", 4]} if size == 0 else {"a": ["a.bin", size], "b": ["b.txt", 4]}
        found = {name: file for name, file in answer["files"].items() if file[1]}
        assert (answer["fields"], found) == ({"c": "\u20ac"}, wanted), answer
    assert client.post(url + "/echo", data=b"\0\xff" * 1000).content == b"\0\xff" * 1000
    assert client.post(url + "/echo", data=iter([b"by ", b"pieces"])).content == b"by pieces"
    stream = client.get(url + "/stream", stream=True)
    assert list(stream.iter_lines()) == [b"line %d" % number for number in range(5)]
    file = client.get(url + "/file")
    assert file.content.startswith(b"SQLite format 3") and len(file.content) > 100000
    assert file.headers["Content-Length"] == str(len(file.content))
    for visits in range(1, 4):
        assert client.get(url + "/visit").json() == {"visits": visits}
    failed = client.get(url + "/fail")
    assert failed.status_code == 500 and "purpose" not in failed.text
    assert client.get(url + "/missing").status_code == 404
print("django: done")
