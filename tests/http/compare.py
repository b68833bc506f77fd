"""python -m tests.http.compare ETCD_URL URL: are both answers to each request of the corpus the same, field by field?

Both servers must be idle otherwise, and have no keys below corpus/. Prints what differs, and whether it is known to
(docs/etcd-api.md); the exit status says whether all of that is.
"""

import http.client
import json
import re
import sys
import urllib.parse

from tests.http.corpus import requests

#: What of a server's own is not compared; and what counts time.
_OWN = {"cluster_id", "member_id", "raft_term"}
_REVISION = {"revision", "create_revision", "mod_revision", "rev"}

#: Why an answer differs, by a pattern for the name of the request.
KNOWN = {
    r"sorted: NONE (?!KEY).* of 2": "etcd sorts only the first keys, if there is a limit and no order",
    r"paths: GET /version": "it is another version",
    r"leases: grant, drawn": "the id is drawn",
    r"paths: (GET )?/v3/.*": "the text of an unknown path is always 404 page not found",
    r"paths: /v3(beta|alpha)/.*": "the old prefixes are served too",
    r"paths: /(x)?$": "there is a page at /",
    r'json: .*"key":\[\].*': "an empty list is no bytes",
    r'json: .*"sort_order":99.*': "as etcd since 3.6: 3.5 panics if it is the target",
}


class Server:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)

    def ask(self, method, path, body):
        """(status, JSON of each line; or text)."""
        self._connection.request(method, path, body)
        try:
            reply = self._connection.getresponse()
        except http.client.RemoteDisconnected:
            return None, "the connection was closed"
        text = reply.read().decode()
        try:
            return reply.status, [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return reply.status, text

    @property
    def revision(self):
        _, ((answer),) = self.ask("POST", "/v3/kv/range", b'{"key":"AA=="}')
        return int(answer["header"]["revision"])


def compare(one, other):
    """Yields (name, request, answer of one, answer of the other), in order."""
    servers = [Server(one), Server(other)]
    bases = [server.revision for server in servers]
    for first, second in zip(*map(requests, bases)):
        is_about_json = first[0].startswith("json:")  # not the words about what is malformed, which are many
        answers = [
            _without_own(server.ask(*request[1:]), base, is_about_json)
            for server, base, request in zip(servers, bases, (first, second))
        ]
        yield first[0], first, *answers


def _without_own(thing, base, is_about_json=False):
    if isinstance(thing, dict):
        if "grantedTTL" in thing:
            thing = {**thing, "keys": sorted(thing.get("keys", []))}  # etcd has them in no order
        return {
            name: _relative(value, base) if name in _REVISION else _without_own(value, base, is_about_json)
            for name, value in thing.items()
            if name not in _OWN
            and not (is_about_json and name in ("error", "message"))
            and not (name == "TTL" and "grantedTTL" in thing)
        }
    if isinstance(thing, (list, tuple)):
        return [_without_own(each, base, is_about_json) for each in thing]
    return thing


def _relative(revision, base):
    return int(revision) - base


def why_known(name):
    """Why answers to this request differ; None if they should not."""
    return next((why for pattern, why in KNOWN.items() if re.fullmatch(pattern, name)), None)


def main(one, other):
    same, known, unknown = 0, 0, 0
    for name, request, expected, found in compare(one, other):
        if expected == found:
            same += 1
            continue
        why = why_known(name)
        known, unknown = known + (why is not None), unknown + (why is None)
        print(f"{'known' if why else 'DIFFERS'}: {name}: {why or ''}")
        print(
            f"  {request[2]} {request[3][:200].decode()}\n  etcd   {str(expected)[:300]}\n  raftkv {str(found)[:300]}"
        )
    print(f"{same} the same, {known} differ as is known, {unknown} differ")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
