"""my-connector: a connector between Muster and a REST service of people."""
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

import wire

ATTRIBUTES = ["id", "login", "name", "email", "active"]
PAGE = 500


def describe():
    return {
        "kind": "my-connector",
        "summary": "people of a REST service",
        "version": "0.1.0",
        # A JSON Schema: Muster refuses settings that do not fit, with the line in the configuration.
        "settings": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "description": "The service's address, such as `http://crm.example:8080`."},
                "token": {"description": "The service's access token.", "x-muster-secret": True},
            },
            "required": ["url"],
            "additionalProperties": False,
        },
    }


def connect(settings, secrets):
    address = urllib.parse.urlsplit(settings["url"])
    if address.scheme not in ("http", "https") or not address.netloc:
        raise wire.configuration("url", "this is no address of a service", "write it as http://HOST:PORT")
    return People(settings["url"].rstrip("/"), secrets.get("token"))


class People:
    def __init__(self, url, token):
        self.url, self.token = url, token

    # What is there

    def check(self, used):
        self.ask("GET", "/people?limit=1")
        return {"findings": [], "features": []}

    def schema(self):
        def attribute(name, value_type="text", **more):
            return {"name": name, "value_type": value_type, **more}

        person = {
            "name": "person",
            "anchor": {"attributes": ["id"], "assigned_by": "system"},
            "alternate_keys": [["login"]],
            "attributes": [
                attribute("id", "integer", required=True, creatable=False, updatable=False, unique=True),
                attribute("login", required=True, unique=True, max_length=40),
                attribute("name", required=True, max_length=100),
                attribute("email", max_length=200),
                attribute("active", "boolean"),
            ],
            "enabling": {"attribute": "active"},
            "source": {"changes": {"precision": "each", "deletes_visible": True}},
            "target": {
                "once": "natural", "readable": True, "can_delete": True, "can_rename": False, "ordered": False,
                "max_batch": 100, "max_in_flight": 1,
            },
        }
        return {"identity": self.url, "types": [person]}

    # Reading

    def read(self, request, cursor):
        page = {}
        if cursor is None:
            # Taken before the first page, so that what changes while the pages are read is read again.
            page["watermark"] = "change %d" % self.ask("GET", "/changes?limit=0")["latest"]
        after = 0 if cursor is None else number(cursor, "after ", "cursor")
        people = self.ask("GET", "/people?after=%d&limit=%d" % (after, PAGE))["people"]
        page["objects"] = [found(person, request) for person in people]
        page["next"] = "after %d" % people[-1]["id"] if len(people) == PAGE else None
        return page

    def changes(self, request, position):
        (kind, token), = position.items()
        what = "watermark" if kind == "start" else "cursor"
        after = number(token, "change ", what)
        try:
            page = self.ask("GET", "/changes?after=%d&limit=%d" % (after, PAGE))
        except Gone:
            raise wire.expired(what)
        entries, last = [], after
        for change in page["changes"]:
            last, person = change["number"], change["person"]
            what = {"whole": row(person, request)} if person else {"removed": "hard"}
            entries.append({"key": [change["id"]], "change": what})
        follows = "page" if last < page["latest"] and entries else "done"
        return {"entries": entries, "next": {follows: "change %d" % last}}

    def get(self, request, keys):
        return [self.one(key, request) for [key] in keys]

    target_get = get

    def one(self, key, request):
        try:
            return found(self.ask("GET", "/people/%d" % key), request)
        except Missing:
            return None

    def find(self, request, by, values):
        def search(wanted):
            query = urllib.parse.urlencode([(name, text(value)) for name, value in zip(by, wanted)])
            return [found(person, request) for person in self.ask("GET", "/people?limit=2&" + query)["people"]]
        return [search(wanted) for wanted in values]

    # Writing

    def preview(self, operations, attributes, **_):
        def line(operation):
            method, path, body = asked(operation, attributes)
            return "%s %s%s %s" % (method, self.url, path, json.dumps(body, ensure_ascii=False) if body else "")
        return [line(operation) for operation in operations]

    def apply(self, operations, attributes, **_):
        outcomes = []
        for position, operation in enumerate(operations):
            try:
                outcomes.append([operation["id"], self.applied(operation, attributes)])
            except wire.Failure as failure:
                if position == 0:
                    raise
                # It may have taken effect, or not; those after it certainly did not.
                outcomes.append([operation["id"], "unknown"])
                later = {"retry": {"after_ms": 1000, "scope": "target", "problem": str(failure)}}
                outcomes += [[left["id"], later] for left in operations[position + 1:]]
                break
        return outcomes

    def applied(self, operation, attributes):
        if operation["kind"] not in ("create", "update", "delete") or operation["deltas"]:
            return {"unsupported": {"what": "this kind of change"}}
        try:
            if operation["expected"]:
                # Ids may be given again: the person must still be the one that Muster knows.
                position, value = operation["expected"]
                person = self.ask("GET", "/people/%d" % operation["key"][0])
                if person.get(attributes[position]) != plain(value):
                    return "other_object"
            answer = self.ask(*asked(operation, attributes))
        except Missing:
            return "missing"
        except Taken as taken:
            if operation["kind"] == "create":
                return {"exists": {"key": [taken.body["id"]]}}
            return {"rejected": {"attribute": "login", "rule": "unique", "message": "somebody has this login"}}
        except Rejected as rejected:
            body = rejected.body
            return {"rejected": {"attribute": body["field"], "rule": "rejected", "message": body["problem"]}}
        return {"applied": {"key": [answer["id"]]} if operation["kind"] == "create" else {}}

    # The service

    def ask(self, method, path, body=None):
        headers = {"Authorization": "Bearer %s" % self.token, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise refused(error)
        except urllib.error.URLError as error:
            refused_at_once = isinstance(error.reason, ConnectionRefusedError)
            raise wire.unreachable("%s: %s" % (self.url, error.reason), nothing_sent=refused_at_once)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise wire.unreachable("%s broke off: %s" % (self.url, error))


class Answer(Exception):
    """An answer of the service that concerns one object."""

    def __init__(self, body):
        super().__init__()
        self.body = body


class Missing(Answer):
    """404"""


class Taken(Answer):
    """409"""


class Gone(Answer):
    """410"""


class Rejected(Answer):
    """422"""


def refused(error):
    special = {404: Missing, 409: Taken, 410: Gone, 422: Rejected}.get(error.code)
    if special:
        return special(json.loads(error.read() or b"null"))
    if error.code in (401, 403):
        return wire.credentials("the service refuses the token (%d)" % error.code, "set a valid `token`")
    if error.code == 429:
        return wire.throttled("the service asks for a pause", float(error.headers.get("Retry-After", 5)))
    return wire.unreachable("the service answers %d" % error.code)


def asked(operation, attributes):
    """Method, path and body of an operation."""
    if operation["kind"] == "delete":
        return "DELETE", "/people/%d" % operation["key"][0], None
    given = {name: plain(slot) for name, slot in zip(attributes, operation["row"]) if slot != wire.UNKNOWN}
    if operation["kind"] == "create":
        return "POST", "/people", given
    return "PATCH", "/people/%d" % operation["key"][0], given


def plain(slot):
    """A slot of this schema's types: text, truth or null as they are; large numbers as text."""
    return int(slot["integer"]) if isinstance(slot, dict) and "integer" in slot else slot


def text(value):
    value = plain(value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def row(person, request):
    return [person.get(name) for name in request["attributes"]]


def found(person, request):
    return {"key": [person["id"]], "row": row(person, request)}


def number(token, start, what):
    """The number in a watermark or cursor of ours."""
    if not isinstance(token, str) or not token.startswith(start) or not token[len(start):].isdecimal():
        raise wire.expired(what)
    return int(token[len(start):])


if __name__ == "__main__":
    wire.serve(describe, connect)
