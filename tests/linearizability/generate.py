"""Random histories of a simulated register."""
from __future__ import annotations
import heapq, random
from tests.linearizability.history import operations_of

def apply(data, f, key, value):
    old = data.get(key)
    if f == "get": return old
    if f == "put": data[key] = value; return value
    if f == "append": data[key] = (old or "") + value; return value
    if f == "delete": return data.pop(key, None) is not None
    if old == value[0]:
        data[key] = value[1]; return True
    return False

def generate(rng, n, clients, fs, values, info=0.0, fail=0.0, keys=("x",), lie=None):
    """values(rng, i) -> str. Event-driven."""
    data = {}
    events = []
    queue = []
    seq = 0
    t = 0.0
    started = 0
    for c in range(clients):
        heapq.heappush(queue, (rng.random(), seq, "start", c, None)); seq += 1
    while queue:
        t, _, what, c, op = heapq.heappop(queue)
        def at(dt, what, op):
            nonlocal seq
            heapq.heappush(queue, (t + dt, seq, what, c, op)); seq += 1
        def log(type_, op, value):
            events.append({"process": op["p"], "type": type_, "f": op["f"], "key": op["key"], "value": value, "time": t})
        if what == "start":
            if started >= n: continue
            f = rng.choice(fs)
            v = values(rng, started)
            value = None if f in ("get", "delete") else v
            key = rng.choice(keys)
            if f == "cas":
                cur = data.get(key) if rng.random() < .6 else values(rng, started)
                value = [cur, v]
            op = {"p": c, "f": f, "key": key, "value": value, "i": started}
            started += 1
            log("invoke", op, value)
            x = rng.random()
            if x < fail:
                at(rng.random(), "fail", op)
            elif x < fail + info:
                at(rng.random(), "info", op)
                if rng.random() < .5: at(rng.random() * rng.choice([1, 1, 10, 50]), "effect", op)
            else:
                d = rng.random()
                at(d * rng.random(), "effect", op)
                at(d, "ok", op)
        elif what == "effect":
            op["result"] = apply(data, op["f"], op["key"], op["value"])
            if lie: lie(op, data)
        else:
            log(what, op, op.get("result") if what == "ok" else None)
            at(rng.random() * .2, "start", None)
    return operations_of(events)
