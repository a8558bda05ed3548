#!/usr/bin/env bash
# Fails when files of core, certs, ingress, agent, ctl or server import each other in a circle.
#
# A file is a module. It imports the file in which something is defined that it names: by `use`, or by a path in its code;
# what a module passes on (`use x::Y`, then `module::Y`) is looked up where it is defined. The use of a parent's items by a
# child counts. A parent that declares children (`mod`) and passes on their items (`pub use`) imports nothing by that.
# Tests are left out.
#
# `circles.sh --list CRATE` prints the circles, `circles.sh --edges CRATE` what imports what.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

graph() { # of a crate: its edges, or its circles
    find "$1/src" -name '*.rs' ! -name tests.rs ! -path '*/tests/*' ! -name fixture.rs ! -path '*/fixture/*' | LC_ALL=C sort |
        awk -v crate="$1" -v what="$2" '
# The module of a file: `core/src/a/b.rs` is `a::b`; the root is "".
function module_of(file,    m) {
    m = substr(file, length(crate) + 6)
    sub(/\.rs$/, "", m)
    if (m == "lib" || m == "main") return ""
    gsub(/\//, "::", m)
    return m
}
function join(a, b) { return a == "" ? b : (b == "" ? a : a "::" b) }
function parent(m) { return m ~ /::/ ? substr(m, 1, match(m, /::[^:]*$/) - 1) : "" }
# The absolute form of a path that is named in module m; "-" if it leads out of the crate.
function absolute(path, m,    first, rest, i) {
    i = index(path, "::")
    first = i ? substr(path, 1, i - 1) : path
    rest = i ? substr(path, i + 2) : ""
    if (first == "crate") return rest
    if (first == "self") return join(m, rest)
    if (first == "super") {
        m = parent(m)
        while (rest ~ /^super(::|$)/) { m = parent(m); rest = rest == "super" ? "" : substr(rest, 8) }
        return join(m, rest)
    }
    if (join(m, first) in file_of) return join(m, path)
    return "-"
}
# One statement `use`, its braces expanded, for module m.
function used(text, m, public,    depth, i, c, start, head, open) {
    gsub(/[ \t]+as[ \t]+/, "@", text)
    gsub(/[ \t]/, "", text)
    open = index(text, "{")
    if (!open) { leaf(text, m, public); return }
    head = substr(text, 1, open - 1)
    depth = 0
    start = open + 1
    for (i = open + 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c == "{") depth++
        if ((c == "," && depth == 0) || (c == "}" && depth == 0)) {
            if (i > start) used(head substr(text, start, i - start), m, public)
            start = i + 1
        }
        if (c == "}") { if (depth == 0) return; depth-- }
    }
}
function leaf(path, m, public,    name, target, i) {
    if (path ~ /\*$/) sub(/::\*$/, "", path)
    name = path
    if ((i = index(path, "@"))) { name = substr(path, i + 1); path = substr(path, 1, i - 1) }
    else sub(/^.*::/, "", name)
    if (name == "self") { sub(/::self$/, "", path); name = path; sub(/^.*::/, "", name) }
    target = absolute(path, m)
    if (target == "-") return
    alias[m, name] = target
    # Children that are passed on are no import.
    if (public && (m == "" || index(target, m "::") == 1)) return
    asked[++asks] = m SUBSEP target
}
# The file in which the absolute path is defined.
function resolve(path, tries,    m, rest, name, i) {
    m = ""
    rest = path
    while (rest != "") {
        i = index(rest, "::")
        name = i ? substr(rest, 1, i - 1) : rest
        if (join(m, name) in file_of) { m = join(m, name); rest = i ? substr(rest, i + 2) : ""; continue }
        if (((m, name) in alias) && tries < 8)
            return resolve(join(alias[m, name], i ? substr(rest, i + 2) : ""), tries + 1)
        break
    }
    return m
}
# Module m of the statement or line of code: paths in it.
function paths(line, m,    path, before) {
    while (match(line, /[A-Za-z_][A-Za-z_0-9]*(::[A-Za-z_][A-Za-z_0-9]*)+/)) {
        path = substr(line, RSTART, RLENGTH)
        before = RSTART > 2 ? substr(line, RSTART - 2, 2) : ""
        line = substr(line, RSTART + RLENGTH)
        if (before == "::") continue
        if (path ~ /^(crate|super|self)::/ || join(m, substr(path, 1, index(path, "::") - 1)) in file_of) {
            path = absolute(path, m)
            if (path != "-") asked[++asks] = m SUBSEP path
        }
    }
}
function read(file, m,    line, statement, public, skip, depth, pending) {
    statement = ""
    while ((getline line < file) > 0) {
        gsub(/\\"/, "", line)
        gsub(/"[^"]*"/, "\"\"", line)
        sub(/\/\/.*$/, "", line)
        gsub(/pub\(in [a-z:_]*\)/, "pub", line)
        if (skip) {
            if (line ~ /^}/) skip = 0
            continue
        }
        if (line ~ /^[ \t]*#\[cfg\(test\)\]/) { pending = 1; continue }
        if (pending && line !~ /^[ \t]*#\[/) {
            pending = 0
            if (line ~ /^(pub(\([a-z ]*\))? )?(mod|fn|impl|struct|enum)[ \t].*[{][ \t]*$/) { skip = 1 }
            if (line !~ /^[ \t]*$/) continue
        }
        if (statement != "" || line ~ /^[ \t]*(pub(\([a-z: ]*\))?[ \t]+)?use[ \t]/) {
            statement = statement line
            if (line ~ /;[ \t]*$/) {
                public = statement ~ /^[ \t]*pub/
                sub(/^[ \t]*(pub(\([a-z: ]*\))?[ \t]+)?use[ \t]+/, "", statement)
                sub(/;[ \t]*$/, "", statement)
                used(statement, m, public)
                statement = ""
            }
            continue
        }
        if (line ~ /::/) paths(line, m)
    }
    close(file)
}
function visit(m,    i, n, list, to) {
    number[m] = low[m] = ++count
    stack[++top] = m
    on[m] = 1
    n = split(out[m], list, " ")
    for (i = 1; i <= n; i++) {
        to = list[i]
        if (!(to in number)) { visit(to); if (low[to] < low[m]) low[m] = low[to] }
        else if (on[to] && number[to] < low[m]) low[m] = number[to]
    }
    if (low[m] == number[m]) {
        n = 0
        do { to = stack[top--]; on[to] = 0; list[++n] = to } while (to != m)
        if (n > 1) {
            circles++
            for (i = 1; i <= n; i++) print circles, list[i]
        }
    }
}
{ files[++total] = $0; if ($0 !~ /src\/main\.rs$/) file_of[module_of($0)] = $0 }
END {
    for (i = 1; i <= total; i++) if (files[i] !~ /src\/main\.rs$/) read(files[i], module_of(files[i]))
    for (i = 1; i <= asks; i++) {
        split(asked[i], ask, SUBSEP)
        to = resolve(ask[2], 0)
        from = file_of[ask[1]]
        to = file_of[to]
        if (from == to || from == "" || to == "" || ((from, to) in seen)) continue
        seen[from, to] = 1
        out[from] = out[from] " " to
        if (what == "edges") print from, to
    }
    if (what == "edges") exit
    for (i = 1; i <= total; i++) if (!(files[i] in number)) visit(files[i])
}'
}

case "${1:-}" in
--list) graph "$2" circles && exit ;;
--edges) graph "$2" edges && exit ;;
esac

failed=0
for crate in core certs ingress agent ctl server; do
    found=$(graph "$crate" circles | awk '
        { files[$1] = files[$1] " " $2 }
        END { for (n in files) print "circles: these files import each other in a circle:" files[n] }')
    [ -z "$found" ] && continue
    echo "$found" >&2
    failed=1
done
exit "$failed"
