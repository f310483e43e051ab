"""Sends an incident until it is stored or refused; Python's standard library alone."""
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

RETRY = {408, 429, 500, 502, 503, 504}


def upsert(incident, attempts=8):
    request = urllib.request.Request(
        os.environ["INCIDENTS_URL"] + "incidents.upsert",
        data=json.dumps(incident).encode(),
        headers={"Authorization": "Bearer " + os.environ["INCIDENTS_TOKEN"],
                 "Content-Type": "application/json"})
    wait = 0
    for attempt in range(attempts):
        time.sleep(wait)
        wait = min(2 ** attempt, 60)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                said = json.load(response)
                if said["ok"]:
                    return said["action"]
                raise ValueError(said["message"])
        except urllib.error.HTTPError as error:
            reason = "%d %s" % (error.code, error.read().decode(errors="replace"))
            if error.code not in RETRY:
                raise ValueError(reason) from error  # refused: it will be refused again
            if error.headers.get("Retry-After", "").isdigit():
                wait = int(error.headers["Retry-After"])
        except (OSError, http.client.HTTPException) as error:
            reason = error  # not reached, or the response got lost: sending it again is safe
    raise TimeoutError("not stored after %d attempts: %s" % (attempts, reason))


if __name__ == "__main__":
    print(upsert(json.load(sys.stdin)))
