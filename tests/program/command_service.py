"""A service that is started by a scenario's command: what it does is for the variable MODE to say."""

import http.server
import os
import subprocess
import sys
import threading
import time

MODE = os.environ.get("MODE", "")
asked = threading.Semaphore(20)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if MODE == "dies" and self.path == "/items" and not asked.acquire(blocking=False):
            print("out of luck", flush=True)
            os._exit(7)
        time.sleep(float(os.environ.get("DELAY", "0")))
        status = 503 if MODE == "unready" and self.path == "/ready" else 200
        body = b'{"colour": "%s"}' % os.environ.get("COLOUR", "none").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # A client that goes away at the end of a run is no error, and the log is compared.


print("colour", os.environ.get("COLOUR"), "in", os.getcwd(), "with", os.environ.get("SHOP_TOKEN"), flush=True)
if MODE == "fails":
    sys.exit("no table `items` here")
if MODE == "family":
    # A worker, and one that has left the group.
    for alone in (False, True):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=alone)
if MODE == "slow":
    time.sleep(600)
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
