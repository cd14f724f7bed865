#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""leat against ONNX Runtime and OpenVINO on the project's rows (rows.py): `make bench`.

  table.py [--rows NAME... ] [--threads 1 2] [--rounds 7] [--seconds 0.3] [--times 1] [--disturbed]
           [--json FILE [--resume]] [--budget S]
  table.py --summary FILE...     only prints the tables and targets of earlier runs

A row is measured by processes that take turns (peers/peers.py); all numbers of a line are of one such
interleaved run.  --times 3 measures every row three times, with fresh processes: the table then shows the
run whose ratio to ONNX Runtime is in the middle, and the spread of the ratios.  A long run can be made in
pieces: --rows picks rows by name, kind (f32, bf16, int8) or beginning (resnet50*), --json appends every
result to a file, --resume leaves out what that file has, --budget S starts no row after S seconds.
--disturbed runs ResNet-50 on 2 threads while another process keeps core 1 busy.

Columns: least, median and 99th percentile of one call; ONNX Runtime's (ORT) and OpenVINO's (OV, same type)
median over this one (above 1: faster than that peer); the share of the machine's measured peak for
the row's type (arithmetic of the model by definition / median / peak, which fast algorithms may pass);
peak memory over the state with the runtime loaded; load and first result, with free memory that was in use
a moment before (peers.wake_memory); err: the largest |x - y| /
(1 + |y|) from ONNX Runtime on the same file; rel: Euclidean distance from ONNX Runtime's f32 result on
the f32 model, relative; a "!" at the end: other processes kept more than 0.1 cores busy. Calls are made from
Python, which adds about 1 us for leat, 8 us for ORT (its own binding), 5 us for OpenVINO: see the row mlp.
"""
import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
import peers as run  # noqa: E402
import rows as table_rows  # noqa: E402

LEAT = os.path.join(table_rows.ROOT, "build", "leat")
CORES = os.path.join(table_rows.ROOT, "build", "bench", "cores")
PEAK_OF = {"f32": "f32_gflops", "bf16": "bf16_gflops", "int8": "u8s8_gops"}
NAMES = {"ort": "ORT", "ov-f32": "OpenVINO", "ov-bf16": "OpenVINO bf16", "leat": "leat", "leat-bf16": "leat bf16"}


# --- measuring -----------------------------------------------------------------------------------------
def cores_apart():
    """What bench/cores.c says: ns from core 0 to core 1, which a virtual machine's host may change; or None."""
    try:
        out = subprocess.run([CORES], capture_output=True, text=True).stdout
        return float(out.split(":")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def measured_peaks():
    """The machine's peaks on one core, as `leat bench --profile` measures them; {} when it cannot."""
    model = os.path.join(table_rows.MODELS, "mlp.onnx")
    out = subprocess.run([LEAT, "bench", model, "--threads", "1", "--seconds", "0.01", "--profile", "--json"],
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        found = json.loads(line).get("peaks") if line.startswith("{") else None
        if found:
            return found
    return {}


class Others:
    """How many cores processes that are not ours kept busy since it was made: above a tenth of one, times
    are not to be trusted. With --disturbed the other process is one of ours."""

    def __init__(self):
        self.begin = self.now()

    @staticmethod
    def now():
        with open("/proc/stat") as f:
            ticks = [int(n) for n in f.readline().split()[1:]]
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        busy = (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return time.time(), busy - own

    def cores(self):
        then, now = self.begin, self.now()
        return max(0.0, (now[1] - then[1]) / (now[0] - then[0]))


def burner():
    """A process that keeps core 1 busy until killed."""
    code = "import os\nos.sched_setaffinity(0, {1})\nwhile True: pass"
    return subprocess.Popen([sys.executable, "-c", code])


def exact_outputs(row, feeds_path, folder):
    """ONNX Runtime's f32 outputs of the f32 model."""
    reference = run.Peer("ort", row.exact, 1, 0, feeds_path)
    reference.close()
    return None if reference.failed else reference.outputs()


def measure(row, threads, a, disturbed, folder):
    """One result per peer: dictionaries, as they go to the JSON file."""
    feeds_path = os.path.join(folder, "feeds")
    with open(feeds_path, "wb") as f:
        pickle.dump(run.make_feeds(row.path, row.dims, row.shapes, row.values), f)
    exact = exact_outputs(row, feeds_path, folder) if row.exact != row.path else None
    other = burner() if disturbed else None
    try:
        done = run.run_peers(row.peers(), row.path, threads, a.seconds, a.rounds, feeds_path)
    finally:
        if other:
            other.kill()
            other.wait()
    ort = next((p for p in done if p.name == "ort" and not p.failed), None)
    same = ort.outputs() if ort else None
    exact = exact or same
    results = []
    for p in done:
        r = {"row": row.name, "kind": row.kind, "threads": threads, "peer": p.name, "disturbed": disturbed}
        if p.failed:
            r["failed"] = p.failed
        else:
            r.update(min=p.times[0], median=run.quantile(p.times, 0.5), p99=run.quantile(p.times, 0.99),
                     calls=len(p.times), peak_mb=p.peak, load=p.info["load"], first=p.info["first"],
                     err=run.difference(p.outputs(), same) if same else None,
                     rel=run.relative(p.outputs(), exact) if exact else None)
        results.append(r)
    return results


# --- reading results -----------------------------------------------------------------------------------
def lookup(group, prefix):
    """The result of the peer whose name begins so; None when it is missing or failed."""
    return next((r for r in group if r["peer"].startswith(prefix) and "failed" not in r), None)


def ratio(group, of, over):
    """Median of peer `of` over that of peer `over`; None when one is missing."""
    x, y = lookup(group, of), lookup(group, over)
    return x["median"] / y["median"] if x and y else None


def group_results(results):
    """{(row, threads, disturbed): [one list of results per repetition]}"""
    groups = {}
    for r in results:
        if "row" in r:
            repetitions = groups.setdefault((r["row"], r["threads"], r["disturbed"]), {})
            repetitions.setdefault(r["repetition"], []).append(r)
    return {k: list(v.values()) for k, v in groups.items()}


def middle(repetitions):
    """The repetition whose ratio of leat to ONNX Runtime is the median, of those undisturbed if any."""
    calm = [g for g in repetitions if not others_text(g)]
    repetitions = calm or repetitions
    return sorted(repetitions, key=lambda g: ratio(g, "ort", "leat") or 0)[len(repetitions) // 2]


# --- printing ------------------------------------------------------------------------------------------
HEAD = "%-20s %1s %-13s %9s %9s %9s %6s %6s %5s %7s %9s %8s %8s %s" % (
    "row", "T", "peer", "min", "median", "p99", "x ORT", "x OV", "%peak", "MB", "load+1st", "err", "rel", "spread of x ORT")


def number(form, value):
    return "-" if value is None else form % value


def others_text(group):
    """A warning when other processes took a noticeable part of a core; "" otherwise."""
    cores = max(r.get("others", 0) for r in group)
    return ", while other processes kept %.1f cores busy" % cores if cores > 0.1 else ""


def print_group(key, repetitions, peaks):
    name, threads, disturbed = key
    row = next((r for r in table_rows.ROWS if r.name == name), None)
    shown = middle(repetitions)
    for r in shown:
        title = name + (" disturbed" if disturbed else "")
        peer = NAMES.get(r["peer"], r["peer"])
        if "failed" in r:
            print("%-20s %d %-13s refused: %s" % (title, threads, peer, r["failed"][:110]))
            continue
        peak = peaks.get(PEAK_OF["f32" if r["peer"] == "ort" and r["kind"] == "bf16" else r["kind"]])
        share = 100 * row.gflop / r["median"] / (peak * threads) if row and row.gflop and peak else None
        prefix = r["peer"].split("-")[0]
        ratios = sorted(x for x in (ratio(g, "ort", prefix) for g in repetitions) if x)
        spread = "%.2f-%.2f" % (ratios[0], ratios[-1]) if len(ratios) > 1 and prefix != "ort" else ""
        print("%-20s %d %-13s %9s %9s %9s %6s %6s %5s %7.0f %6.0f ms %8s %8s %s" % (
            title, threads, peer, run.time_text(r["min"]), run.time_text(r["median"]), run.time_text(r["p99"]),
            number("%.2f", ratio(shown, "ort", prefix)), number("%.2f", ratio(shown, "ov", prefix)),
            number("%.0f", share), r["peak_mb"], 1e3 * (r["load"] + r["first"]), number("%.1e", r["err"]),
            number("%.1e", r["rel"]), spread + ("!" if others_text(shown) else "")), flush=True)


def judge(what, got, wanted):
    if got is None:
        return "%-44s not measured" % what, None
    met = got >= wanted
    return "%-44s %5.2fx of %4.2fx: %s" % (what, got, wanted,
                                          "met" if met else "missed by %.0f %%" % (100 * (wanted / got - 1))), met


def median_ratio(repetitions, of, over):
    found = sorted(x for x in (ratio(g, of, over) for g in repetitions) if x)
    return found[len(found) // 2] if found else None


def print_targets(groups):
    """Each target of the table in rows.py, then the three that hold for every row."""
    counts = {True: 0, False: 0, None: 0}
    print("\ntargets (median over the repetitions)")
    for what, names, against_ort, against_ov in table_rows.TARGETS:
        for name in names:
            for threads in sorted(against_ort):
                repetitions = groups.get((name, threads, False))
                if not repetitions:
                    counts[None] += 2
                    continue
                for peer, wanted in (("ort", against_ort[threads]), ("ov", against_ov)):
                    line, met = judge("%s, %d thread%s, against %s" % (
                        name, threads, "s" if threads > 1 else "", "ORT" if peer == "ort" else "OpenVINO"),
                        median_ratio(repetitions, peer, "leat"), wanted)
                    counts[met] += 1
                    print("  " + line)
    print("%d met, %d missed, %d not measured" % (counts[True], counts[False], counts[None]))
    print_worse(groups)


def print_worse(groups):
    """Rows slower than ONNX Runtime, or above its memory or load time."""
    def worse(measure_of):
        for (name, threads, disturbed), repetitions in groups.items():
            pairs = [(measure_of(lookup(g, "leat")), measure_of(lookup(g, "ort")))
                     for g in repetitions if lookup(g, "leat") and lookup(g, "ort")]
            if pairs and not disturbed:
                ours, theirs = sorted(pairs, key=lambda p: p[0] / p[1])[len(pairs) // 2]
                if ours > theirs:
                    yield "%s at %d: %.2fx" % (name, threads, ours / theirs)

    for what, measure_of in (("slower than ONNX Runtime", lambda r: r["median"]),
                             ("more memory than ONNX Runtime", lambda r: r["peak_mb"]),
                             ("later first result than ONNX Runtime", lambda r: r["load"] + r["first"])):
        print("%s: %s" % (what, "; ".join(worse(measure_of)) or "no row"))
    refused = ["%s at %d: %s" % (name, threads, r["failed"][:90]) for (name, threads, _), repetitions in groups.items()
               for r in repetitions[-1] if r["peer"].startswith("leat") and "failed" in r]
    print("refused by leat: %s" % ("; ".join(refused) or "no row"))


def print_all(results):
    peaks = next((r["peaks"] for r in reversed(results) if "peaks" in r), {})
    if peaks:
        print("one core's peaks: " + ", ".join("%s %.0f" % p for p in sorted(peaks.items())))
    groups = group_results(results)
    order = {r.name: i for i, r in enumerate(table_rows.ROWS)}
    print(HEAD)
    for key in sorted(groups, key=lambda k: (k[2], order.get(k[0], 99), k[1])):
        print_group(key, groups[key], peaks)
    print_targets(groups)


# --- the command -----------------------------------------------------------------------------------------
def read_results(paths):
    results = []
    for path in paths:
        with open(path) as f:
            results += [json.loads(line) for line in f]
    return results


def plan(a):
    """(row, threads, disturbed, repetition) to measure, repetitions outermost."""
    wanted = table_rows.select(a.rows)
    for repetition in range(a.times):
        if a.disturbed:
            yield next(r for r in table_rows.ROWS if r.name == "resnet50-b1"), 2, True, repetition
            continue
        for row in wanted:
            for threads in a.threads:
                yield row, threads, False, repetition


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", nargs="+", default=[])
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=0.3)
    p.add_argument("--times", type=int, default=1)
    p.add_argument("--disturbed", action="store_true")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--budget", type=float, default=float("inf"))
    p.add_argument("--summary", nargs="+", metavar="FILE")
    return p.parse_args()


def main():
    a = arguments()
    if a.summary:
        return print_all(read_results(a.summary))
    results = read_results([a.json]) if a.json and a.resume and os.path.exists(a.json) else []
    have = {(r["row"], r["threads"], r["disturbed"], r["repetition"]) for r in results if "row" in r}
    out = open(a.json, "a" if a.resume else "w") if a.json else None
    begin = time.time()

    def keep(r):
        results.append(r)
        if out:
            out.write(json.dumps(r) + "\n")
            out.flush()

    peaks = measured_peaks()
    keep({"peaks": peaks})
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        for row, threads, disturbed, repetition in plan(a):
            if (row.name, threads, disturbed, repetition) in have:
                continue
            if time.time() - begin > a.budget:
                print("stopped after %.0f s; --resume goes on" % (time.time() - begin))
                return
            start, others = time.time(), Others()
            group = measure(row, threads, a, disturbed, folder)
            apart = cores_apart() if threads > 1 else None
            for r in group:
                r.update(repetition=repetition, took=time.time() - start, others=others.cores(), cores_ns=apart)
                keep(r)
            print_group((row.name, threads, disturbed), [group], peaks)
            print("%-20s   measured in %.1f s%s%s" % ("", time.time() - start, others_text(group), "" if apart is None
                                                      else ", cores %.0f ns apart" % apart), flush=True)
    print_targets(group_results(results))


if __name__ == "__main__":
    main()
