#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the sources: who may include whom, what belongs in one place only, form.

Each check is a function that yields (path, line number, what is wrong). The tables at the top are the rules; a new file
in server/ needs a place in LAYERS.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_FOLDERS = {".git", ".deps", "build", "reports", "__pycache__"}

# Lowest first: a module may include those of lower layers. Modules of one family count as one; others of the same layer
# do not know each other.
LAYERS = [
    ["pool"],
    ["net"],
    ["metrics"],
    ["tls", "token", "cid", "mem_bridge", "timerq", "budget"],
    ["request"],
    ["h3"],
    ["quic_write"],
    ["conn"],
    ["endpoint"],
    ["config", "pressure"],
    ["worker", "admin"],
    ["main"],
]
FAMILIES = {"http": "request", "conn_quic": "conn", "admission": "endpoint"}

# Library headers, and the modules that may include them. config has the libraries' versions to print.
LIBRARIES = {
    "ev.h": {"worker", "admin", "mem_bridge", "config", "h3load"},
    "nghttp3/": {"h3", "mem_bridge", "config", "h3load"},
    "ngtcp2/": {"conn", "quic_write", "endpoint", "cid", "token", "tls", "mem_bridge", "h3load"},
    "openssl/": {"tls", "token", "cid", "mem_bridge", "h3load"},
}
NETWORK_HEADERS = ("sys/socket.h", "netinet/", "arpa/", "netdb.h", "linux/", "sys/epoll.h", "poll.h")

# What must not appear, comments and strings aside.
SOCKET_CALLS = (
    r"(?<![>.\w])(socket|socketpair|bind|connect|listen|accept4?|send(to|msg|mmsg)?|recv(from|msg|mmsg)?|[gs]etsockopt"
    r"|getsockname|getpeername)\s*\("
)
SANITIZER = (
    r"\b(__SANITIZE_|__has_feature|__[almtu]*san_|ASAN_|VALGRIND_|RUNNING_ON_VALGRIND|no_sanitize)"
    r"|<(sanitizer|valgrind)/"
)
CONDITIONAL = r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*(POOLED|PASS_?THROUGH|\bHP_[A-Z]+\b)"
IMPURE = (
    r"(?<![>.\w])(clock_(monotonic_ns|wall_ns|gettime)|gettimeofday|time|pthread_\w+|[mc]alloc|realloc|free)\s*\("
)

FORMS = {".c", ".h", ".sh", ".py", ".cmake", ".yaml", ".yml"}
FORM_NAMES = {"CMakeLists.txt", "Makefile", "Dockerfile", ".clang-format"}
FILE_LINES_MAX = 800
LINE_MAX = 120


def tree():
    """Paths of the project's files: git's, or where there is no git all but build output."""
    if os.path.exists(os.path.join(ROOT, ".git")):
        command = ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return sorted(n for n in set(names) if n and os.path.isfile(os.path.join(ROOT, n)))
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
        found += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def code_of(path):
    """The text of a C file with comments and the insides of strings blanked; lines stay where they are."""

    def blank(match):
        text = match.group(0)
        return re.sub(r"[^\n]", " ", text) if text[0] == "/" else text[0] + " " * (len(text) - 2) + text[-1]

    # Include lines keep their names.
    text = re.sub(r'(?m)^(\s*#\s*include\s*)"([^"\n]*)"', r"\1<\2>", read(path))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def includes_of(path):
    for number, line in enumerate(read(path).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(<([^>]+)>|"([^"]+)")', line)
        if match:
            yield number, match.group(2) is not None, match.group(2) or match.group(3)


def module_of(path):
    """The module of a file in one of the source folders, as the tables name it."""
    parts = path.split("/")
    if parts[0] == "server" and len(parts) > 2:
        return parts[1]
    if parts[0] == "server":
        stem = parts[1].rsplit(".", 1)[0]
        return FAMILIES.get(stem, stem)
    if parts[0] == "bench" and len(parts) > 2:
        return parts[1]
    return parts[0]


def layer_of(module):
    return next((i for i, modules in enumerate(LAYERS) if module in modules), None)


def c_files(*folders):
    return [p for p in FILES if p.endswith((".c", ".h")) and (not folders or p.split("/")[0] in folders)]


def form_files():
    for path in FILES:
        name = os.path.basename(path)
        if os.path.splitext(name)[1] in FORMS or name in FORM_NAMES or read(path)[:2] == "#!":
            yield path


# --- who may include whom ---------------------------------------------------------------------------------------------


def check_layers():
    """server/ includes lower layers only, handlers/ leads in from main alone"""
    for path in c_files("server"):
        module = module_of(path)
        layer = layer_of(module)
        if layer is None:
            yield path, 1, f"module '{module}' has no place in LAYERS of tests/lint/lint.py"
            continue
        for number, system, name in includes_of(path):
            if system:
                continue
            if name.startswith("handlers/"):
                if module != "main":
                    yield path, number, f"includes {name}: only main may"
                continue
            other = module_of("server/" + name)
            if layer_of(other) is None or not os.path.isfile(os.path.join(ROOT, "server", name)):
                yield path, number, f"includes {name}, which is no header of server/"
            elif other != module and layer_of(other) >= layer:
                yield path, number, f"includes {name}: {other} is not below {module}"


def check_pool_includes():
    """pool/ knows nothing above it, and its public headers nothing internal"""
    for path in c_files("pool"):
        public = "/include/" in path
        for number, system, name in includes_of(path):
            if system and name.split("/")[0] in ("server", "handlers", "net", "bench"):
                yield path, number, f"includes <{name}> from above"
            elif system and any(name.startswith(l) for l in LIBRARIES):
                yield path, number, f"includes <{name}>"
            elif not system and (public or not os.path.isfile(os.path.join(ROOT, "pool/src", name))):
                yield path, number, f"includes \"{name}\""


def check_handler_includes():
    """handlers/ and http.h see http.h, <h3pool/...> and the C library"""
    for path in c_files("handlers") + ["server/http.h"]:
        for number, system, name in includes_of(path):
            own = path != "server/http.h" and (name == "http.h" or os.path.isfile(os.path.join(ROOT, "handlers", name)))
            if not system and not own:
                yield path, number, f"includes \"{name}\""
            if system and name.startswith(tuple(LIBRARIES) + NETWORK_HEADERS):
                yield path, number, f"includes <{name}>"


def check_library_includes():
    """libev, nghttp3, ngtcp2, OpenSSL only where the table says"""
    for path in c_files("server", "handlers", "pool", "bench"):
        for number, _, name in includes_of(path):
            for prefix, modules in LIBRARIES.items():
                if name.startswith(prefix) and module_of(path) not in modules:
                    yield path, number, f"includes <{name}>: only {', '.join(sorted(modules))} may"


# --- what belongs in one place ----------------------------------------------------------------------------------------


def matches(pattern, paths, text):
    for path in paths:
        for number, line in enumerate(code_of(path).splitlines(), 1):
            match = re.search(pattern, line)
            if match:
                yield path, number, f"{text}: {match.group(0).strip()}"


def check_socket_calls():
    """socket calls only in server/net/udp.c (and the admin listener's TCP)"""
    paths = [p for p in c_files("server", "handlers", "pool") if p != "server/net/udp.c" and module_of(p) != "admin"]
    yield from matches(SOCKET_CALLS, paths, "socket call")


def check_sanitizer_macros():
    """sanitizer and Valgrind macros only in pool/"""
    yield from matches(SANITIZER, c_files("server", "handlers", "bench"), "belongs in pool/")


def check_build_conditionals():
    """no #if on the build of the pools outside pool/"""
    yield from matches(CONDITIONAL, c_files("server", "handlers", "bench"), "belongs in pool/")


def check_machine():
    """machine and handlers have no clock, no thread, no malloc"""
    shell = {"net", "config", "worker", "admin", "main"}
    paths = [p for p in c_files("server", "handlers") if module_of(p) not in shell]
    yield from matches(IMPURE, paths, "not in the machine")


# --- form -------------------------------------------------------------------------------------------------------------


def check_spdx():
    """every source, script and build file says its licence in its first three lines"""
    for path in form_files():
        if "SPDX-License-Identifier: MIT" not in "\n".join(read(path).split("\n")[:3]):
            yield path, 1, "no SPDX line"


def check_lengths():
    """files of at most 800 lines, lines of at most 120 characters"""
    for path in form_files():
        lines = read(path).splitlines()
        if len(lines) > FILE_LINES_MAX:
            yield path, len(lines), f"{len(lines)} lines"
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_MAX:
                yield path, number, f"{len(line)} characters"


def check_leftovers():
    """nothing is left to do"""
    for path in list(form_files()) + [p for p in FILES if p.endswith(".md")]:
        for number, line in enumerate(read(path).splitlines(), 1):
            if re.search(r"\b(TO" + r"DO|FIX" + r"ME)\b", line):
                yield path, number, line.strip()


def check_clang_format():
    """clang-format 14 would change nothing"""
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program else ""
    if " 14." not in version:
        raise Skip("clang-format 14 is missing")
    command = [program, "--style=file", "--dry-run"] + c_files()
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr
    first = {}
    for path, number in re.findall(r"(?m)^(\S+?):(\d+):\d+: \w+: ", output):
        first.setdefault(path, int(number))
    for path, number in first.items():
        yield path, number, "not as clang-format has it"


def check_shellcheck():
    """shellcheck has no warning"""
    if not shutil.which("shellcheck"):
        raise Skip("shellcheck is missing")
    scripts = [p for p in FILES if p.endswith(".sh") or re.match(r"#!/bin/(ba)?sh", read(p)[:20])]
    command = ["shellcheck", "--severity=warning", "--format=gcc"] + scripts
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    for path, number, text in re.findall(r"(?m)^(\S+?):(\d+):\d+: (.*)$", output):
        yield path, int(number), text


# --- running them -----------------------------------------------------------------------------------------------------


class Skip(Exception):
    """A check that can't run here."""


def run(name, check):
    """Runs one check and prints its line; returns how it ended."""
    try:
        violations = list(check())
    except Skip as reason:
        print(f"SKIP {name}: {reason}")
        return "skipped"
    if violations:
        print(f"FAIL {name}: {check.__doc__}: {len(violations)} times not")
        for path, number, text in violations:
            print(f"    {path}:{number}: {text}")
        return "failed"
    print(f"PASS {name}: {check.__doc__}")
    return "passed"


def main(wanted):
    checks = {n[6:].replace("_", "-"): f for n, f in globals().items() if n.startswith("check_")}
    for name in wanted:
        if name not in checks:
            print(f"lint: no check '{name}'; there are: {' '.join(checks)}", file=sys.stderr)
            return 2
    ends = [run(name, checks[name]) for name in wanted or checks]
    print(f"{ends.count('passed')} passed, {ends.count('failed')} failed, {ends.count('skipped')} skipped")
    return 1 if "failed" in ends else 0


FILES = tree()
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
