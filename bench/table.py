"""The table: one row per measure, a column per server, and how many times better the first one is."""
import json

LESS, MORE = "less is better", "more is better"

# (beginning of the measure's name, heading of the row, key, unit, which way is better); the first
# group of rows that a name begins is its own. A measure may have several rows.
ROWS = [
    ("smtp", "delivered", "delivered_per_s", "/s", MORE),
    ("smtp", "accepted", "msgs_per_s", "/s", MORE),
    ("smtp", "final dot p50", "dot_p50_ms", "ms", LESS),
    ("smtp", "final dot p99", "dot_p99_ms", "ms", LESS),
    ("smtp", "server CPU per 1,000", "cpu_s_per_1000", "s", LESS),
    ("smtp", "disk per byte of mail", "disk_per_MB", "", LESS),
    ("lmtp", "delivered", "delivered_per_s", "/s", MORE),
    ("lmtp", "final dot p50", "dot_p50_ms", "ms", LESS),
    ("lmtp", "server CPU per 1,000", "cpu_s_per_1000", "s", LESS),
    ("lmtp", "disk per byte of mail", "disk_per_MB", "", LESS),
    ("fill", "APPENDs, pipelined", "ops_per_s", "/s", MORE),
    ("fill", "server CPU per 1,000", "cpu_s_per_1000", "s", LESS),
    ("fill", "disk per byte of mail", "disk_per_MB", "", LESS),
    ("select 10k warm", "p50", "op_p50_ms", "ms", LESS),
    ("select 100k warm", "p50", "op_p50_ms", "ms", LESS),
    ("select", "p50", "select_p50_ms", "ms", LESS),
    ("fetch", "p50", "op_p50_ms", "ms", LESS),
    ("search", "p50", "op_p50_ms", "ms", LESS),
    ("copy 1:1000", "p50", "op_p50_ms", "ms", LESS),
    ("store 1:* ", "p50", "op_p50_ms", "ms", LESS),
    ("push", "p50", "op_p50_ms", "ms", LESS),
    ("push", "max", "op_max_ms", "ms", LESS),
    ("idle", "PSS per connection", "pss_kb_per_conn", "KB", LESS),
    ("idle", "PSS of all processes", "pss_kb", "KB", LESS),
    ("idle", "kernel memory per connection", "kernel_kb_per_conn", "KB", LESS),
    ("disk", "disk per byte of mail", "disk_per_byte", "", LESS),
    ("memory", "PSS of all processes", "pss_kb", "MB", LESS),
    ("memory", "sum of RSS", "rss_kb", "MB", LESS),
    ("pop3", "messages", "ops_per_s", "/s", MORE),
    ("pop3", "server CPU per 1,000", "cpu_s_per_1000", "s", LESS),
    ("", "operations", "ops_per_s", "/s", MORE),
    ("", "p50", "op_p50_ms", "ms", LESS),
    ("", "p99", "op_p99_ms", "ms", LESS),
    ("", "server CPU per 1,000", "cpu_s_per_1000", "s", LESS),
]


def rows_of(name):
    prefix = next(row[0] for row in ROWS if name.startswith(row[0]))
    return [row for row in ROWS if row[0] == prefix]


def load(name, directory):
    """All measures of a server: what the harness wrote, and our own."""
    found = {}
    for path in (directory / f"{name}.json", directory / f"{name}-extra.json"):
        if path.exists():
            found.update(json.loads(path.read_text()))
    return found


def value(measure, key):
    """A figure, or what went wrong instead of it; None when it was not measured."""
    if measure is None:
        return None
    median = measure["median"]
    if "timeout" in median:
        return "timeout"
    if median.get("failed") or median.get("rc"):
        return "failed"
    figure = measure.get(key, median.get(key))
    return figure


def cell(figure):
    return "" if figure is None else figure if isinstance(figure, str) else f"{figure:.4g}"


def ratio(first, other, direction):
    if not isinstance(first, (int, float)) or not isinstance(other, (int, float)) or first <= 0 or other <= 0:
        return ""
    return f"{first / other if direction == MORE else other / first:.2g}"


def render(names, directory):
    servers = [load(name, directory) for name in names]
    measures = list(dict.fromkeys(name for server in servers for name in server))
    heads = names + [f"times better than {name}" for name in names[1:]]
    lines = ["| measure | figure | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(heads)]
    for measure in measures:
        for _, heading, key, unit, direction in rows_of(measure):
            figures = [value(server.get(measure), key) for server in servers]
            if all(f is None for f in figures):
                continue
            ratios = [ratio(figures[0], f, direction) for f in figures[1:]]
            label = f"{heading}, {unit}" if unit else heading
            lines.append(f"| {measure} | {label} | " + " | ".join([cell(f) for f in figures] + ratios) + " |")
    return "\n".join(lines) + "\n"
