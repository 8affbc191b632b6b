# SPDX-License-Identifier: Apache-2.0
# An authority for mora-broker (docs/authority.md), standard library only: python3 authority.py PORT
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USERS = {"token-of-ann": "ann", "token-of-bob": "bob"}
ROOMS = {"/rooms/1": {"members": ["ann", "bob"], "texts": ["hello"]}, "/rooms/2": {"members": ["ann"], "texts": []}}

deny = lambda error: {"allow": False, "error": error}

def decide(q):
    if q["verb"] == "handshake":
        token = (q.get("ext") or {}).get("token")
        user = USERS.get(token) if isinstance(token, str) else None
        return {"allow": True, "user": user} if user else deny("401::Invalid access token")
    room = ROOMS.get(q["channel"])
    if not room or q.get("user") not in room["members"]:
        return deny("403::Not a member")
    if q["verb"] == "subscribe":
        return {"allow": True, "ext": {"snapshot": room["texts"]}}
    text = q["data"].get("text") if isinstance(q["data"], dict) else None
    if not isinstance(text, str) or "spam" in text:
        return deny("403::No spam")
    room["texts"].append(text)
    return {"allow": True}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"   # connections are kept
    log_message = lambda *words: None
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"answers": [decide(q) for q in asked["requests"]]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8020), Handler)
print(f"http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
