"""The REST service that the tests start: people in memory, who outlive the connector.

    python3 service.py TOKEN [PORT]

prints its address. Replace it by a test instance of your own system.
"""
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: How many changes are kept; who asks for older ones must read everything.
KEPT = 100_000


class Directory:
    def __init__(self):
        self.lock = threading.Lock()
        self.people, self.logins = {}, {}
        self.next = 1
        self.changes, self.latest = [], 0

    def changed(self, key):
        self.latest += 1
        self.changes.append((self.latest, key))
        del self.changes[:-KEPT]

    def list(self, after, limit, filters):
        with self.lock:
            if set(filters) == {"login"}:
                people = [self.people[key] for key in filter(None, [self.logins.get(filters["login"])])]
            else:
                people = [person for key, person in sorted(self.people.items()) if key > after]
                people = [person for person in people if all(same(person.get(k), v) for k, v in filters.items())]
            return [dict(person) for person in people[:limit]]

    def create(self, given):
        with self.lock:
            check({"login": None, "name": None, **given})
            if given["login"] in self.logins:
                raise Refused(409, {"id": self.logins[given["login"]]})
            person = {"email": None, "active": True, **given, "id": self.next}
            self.next += 1
            self.people[person["id"]] = person
            self.logins[person["login"]] = person["id"]
            self.changed(person["id"])
            return dict(person)

    def update(self, key, given):
        with self.lock:
            person = self.person(key)
            check(given)
            holder = self.logins.get(given.get("login"))
            if holder not in (None, key):
                raise Refused(409, {"id": holder})
            del self.logins[person["login"]]
            person.update(given)
            self.logins[person["login"]] = key
            self.changed(key)
            return dict(person)

    def delete(self, key):
        with self.lock:
            del self.logins[self.person(key)["login"]]
            del self.people[key]
            self.changed(key)

    def person(self, key):
        if key not in self.people:
            raise Refused(404, None)
        return self.people[key]

    def since(self, after, limit):
        with self.lock:
            oldest = self.changes[0][0] if self.changes else self.latest + 1
            if after is None:
                after = self.latest
            if after > self.latest or after < oldest - 1:
                raise Refused(410, None)
            first = after - oldest + 1
            some = self.changes[first:first + limit]
            found = [{"number": n, "id": key, "person": self.people.get(key)} for n, key in some]
            return {"latest": self.latest, "changes": json.loads(json.dumps(found))}


def same(value, wanted):
    return value is not None and (json.dumps(value) == wanted or value == wanted)


def check(given):
    longest = {"login": 40, "name": 100, "email": 200}
    for field, value in given.items():
        if field == "active":
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, str) and len(value) <= longest.get(field, 0) or value is None and field == "email"
        if not fits:
            raise Refused(422, {"field": field, "problem": "the service does not take this value"})


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(status)
        self.status, self.body = status, body


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    directory, token = None, None

    def answer(self):
        # Read in any case: what is left of a body would be taken for the next request.
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(path.query, keep_blank_values=True))
        try:
            if self.headers.get("Authorization") != "Bearer " + self.token:
                raise Refused(401, None)
            self.send(200, self.result(path.path.strip("/").split("/"), query, json.loads(data or b"null")))
        except Refused as refused:
            self.send(refused.status, refused.body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def result(self, parts, query, body):
        directory, limit = self.directory, int(query.pop("limit", 100))
        if parts == ["changes"]:
            return directory.since(int(query["after"]) if "after" in query else None, limit)
        if parts == ["people"]:
            if self.command == "POST":
                return directory.create(body)
            return {"people": directory.list(int(query.pop("after", 0)), limit, query)}
        key = int(parts[1])
        if self.command == "PATCH":
            return directory.update(key, body)
        if self.command == "DELETE":
            return directory.delete(key)
        with directory.lock:
            return dict(directory.person(key))

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def start(token, port=0):
    """A running service; `server_address` says where."""
    handler = type("Handler", (Handler,), {"directory": Directory(), "token": token})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    running = start(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print("http://127.0.0.1:%d" % running.server_address[1], flush=True)
    running.serve_forever()
