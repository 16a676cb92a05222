"""Has redbot look at URLs, and prints what it notes: a line of JSON for each URL."""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource


def look(config, url, done):
    """Begins to look at a URL."""
    resource = HttpResource(config)
    resource.set_request(url)

    def check_done():
        response = resource.response
        notes = [
            {"name": type(note).__name__, "level": note.level.value, "summary": note.summary}
            for note in response.notes
        ]
        print(json.dumps({"url": url, "status": response.status_code, "notes": notes}))
        done(url)

    resource.on("check_done", check_done)
    resource.check()


def main():
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    waiting = set(sys.argv[1:])

    def done(url):
        waiting.discard(url)
        if not waiting:
            thor.stop()

    for url in sys.argv[1:]:
        look(config["redbot"], url, done)
    thor.run()


main()
