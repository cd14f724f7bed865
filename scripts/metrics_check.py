# SPDX-License-Identifier: Apache-2.0
"""metrics_check.py BUILD: what a real Prometheus reads of examples/metrics.

The model's name has a quote and a backslash, which its label must bring through. Ends with "N passed, N failed, N skipped"."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper as nh, save

BUILD = os.path.abspath(sys.argv[1])
REQUESTS = 37
passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("%s: %s%s" % (name, "ok" if good else "FAILED", "" if good else ": %s" % (detail,)))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def query(port, text):
    answer = json.loads(get("http://127.0.0.1:%d/api/v1/query?%s" % (port, urllib.parse.urlencode({"query": text}))))
    return answer["data"]["result"]


def wait_for(port, text):
    """The answer once there is one; Prometheus needs a moment until it has scraped."""
    for _ in range(120):
        try:
            result = query(port, text)
            if result:
                return result
        except OSError:
            pass
        time.sleep(0.25)
    return []


def main(folder):
    model = os.path.join(folder, 'a "small" \\ model.onnx')
    weight = nh.from_array(np.ones((4, 3), np.float32), "w")
    save(h.make_model(h.make_graph([h.make_node("MatMul", ["x", "w"], ["y"])], "g",
                                   [h.make_tensor_value_info("x", T.FLOAT, ["N", 4])],
                                   [h.make_tensor_value_info("y", T.FLOAT, ["N", 3])], [weight]),
                      opset_imports=[h.make_opsetid("", 17)], ir_version=8), model)
    port, own = free_port(), free_port()
    server = subprocess.Popen([BUILD + "/examples/metrics", model, str(REQUESTS), str(port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    prometheus = None
    try:
        check("the example answers", server.stdout.readline() == "ready\n")
        text = get("http://127.0.0.1:%d/metrics" % port)
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        check("promtool check metrics", lint.returncode == 0 and not (lint.stdout + lint.stderr).strip(),
              lint.stdout + lint.stderr)
        with open(os.path.join(folder, "prometheus.yml"), "w") as f:
            f.write("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
                    "- {job_name: leat, static_configs: [{targets: ['127.0.0.1:%d']}]}\n" % port)
        prometheus = subprocess.Popen(["prometheus", "--config.file=" + os.path.join(folder, "prometheus.yml"),
                                       "--storage.tsdb.path=" + os.path.join(folder, "data"),
                                       "--web.listen-address=127.0.0.1:%d" % own],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result = wait_for(own, 'leat_requests_total{outcome="succeeded"}')
        check("the value is the requests that were sent", len(result) == 1 and result[0]["value"][1] == str(REQUESTS), result)
        check("the label is the model's name", bool(result) and result[0]["metric"]["model"] == model, result)
        up = wait_for(own, 'up{job="leat"}')
        check("Prometheus calls the target up", bool(up) and up[0]["value"][1] == "1", up)
        histogram = query(own, "histogram_quantile(0.5, sum by (le) (leat_request_duration_seconds_bucket))")
        check("a quantile of the requests' time", bool(histogram) and 0 < float(histogram[0]["value"][1]) < 10, histogram)
    finally:
        server.stdin.close()
        if prometheus:
            prometheus.terminate()
            prometheus.wait(20)
        check("the example ends", server.wait(20) == 0)


with tempfile.TemporaryDirectory() as folder:
    main(folder)
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(failed != 0)
