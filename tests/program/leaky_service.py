"""A service that repeats secrets: it answers every request with an error, and writes to its output, what the file LEAKS holds."""

import http.server
import json
import os
import sys

with open(os.environ["LEAKS"]) as file:
    leaks = json.load(file)
asked = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global asked
        asked += 1
        leak = leaks[asked % len(leaks)]
        print("asked with", leak, flush=True)
        fine = self.path == "/fine"
        masked = self.path == "/masked"
        body = json.dumps({"error": leak}) if masked else f"no luck with {leak}, sorry"
        body = b"{}" if fine else body.encode()
        self.send_response(200 if fine or masked else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


for leak in leaks:
    print("starting with", leak, flush=True)
print("a long line " + "x" * 16300, leaks[0], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
