# SPDX-License-Identifier: MIT
#
# Doxygen's INPUT_FILTER: the headers have plain comments, this makes them what Doxygen reads.
#
#   the comment that opens a header     a group of that name, with all that follows as its members
#   a comment before a declaration      its documentation
#   a comment behind a struct's member  the member's
#   hp_name                             a link
#   |name|                              code; at the start of a line, with two blanks behind it: @param
#   lines that are indented further     a drawing or a table: verbatim
#   "--- internal"                      left out: all up to the next "--- "
#   "internal"                          left out: the declaration, up to the next empty line
#   "Internal fields"                   left out: the body of the struct
#   X(name, "column", "text")           of HP_COUNTERS: members of struct hp_counters

# A comment's line as Doxygen is to read it.
function text_of(line) {
    if (match(line, /^ \* \|[a-z_]+\|  +/))
        return " * @param " substr(line, 5, index(substr(line, 5), "|") - 1) " " substr(line, RSTART + RLENGTH)
    while (match(line, /\|[A-Za-z_]+\|/))
        line = substr(line, 1, RSTART - 1) "`" substr(line, RSTART + 1, RLENGTH - 2) "`" substr(line, RSTART + RLENGTH)
    while (match(line, /[ (]hp_[a-z]+_[a-z_]+/))
        line = substr(line, 1, RSTART) "#" substr(line, RSTART + 1)
    return line
}

# The same within a comment of several lines, of which some may be drawn.
function print_inside(line,    drawn) {
    drawn = line ~ /^ \*   +[^ ]/
    if (drawn != verbatim)
        print drawn ? " * @verbatim" : "@endverbatim"
    verbatim = drawn
    if (drawn)
        sub(/^ \*  ?/, "", line)
    print drawn ? line : text_of(line)
}

function end_comment(line) {
    if (verbatim)
        print "@endverbatim"
    verbatim = comment = 0
    print line
}

function hide(how) {
    if (!hidden)
        print "/** @cond */"
    hidden = how
}

function show() {
    if (hidden)
        print "/** @endcond */"
    hidden = ""
}

# The comment that opens the header: the licence, an empty line, and from the third line on the description.
FNR == 1 {
    group = FILENAME
    gsub(/.*\/|\.h$/, "", group)
    verbatim = 0
    next
}
FNR == 2 { next }
FNR == 3 {
    title = substr($0, 4)
    sub(/[:.].*/, "", title)
    printf "/** @defgroup h3pool_%s %s\n *\n", group, title
    comment = 1
    opening = 1
}
comment && opening && /^ \*\/$/ {
    end_comment(" * @{ */")
    opening = 0
    next
}
comment {
    if ($0 ~ /\*\/$/)
        end_comment(text_of($0))
    else
        print_inside($0)
    if ($0 ~ /Internal fields/)
        bare = 1
    next
}

# Comments between declarations.
/^ \*\/$/ { next } # of a line that heads a section
/^\/\* --- / {
    show()
    if ($0 ~ /internal/)
        hide("section")
    next
}
/^\/\* internal/ && !hidden { hide("declaration") }
/^$/ && hidden == "declaration" { show() }
/^\/\*/ {
    bare = $0 ~ /Internal fields/
    comment = $0 !~ /\*\/$/
    line = text_of(" " substr($0, 2))
    print "/**" substr(line, 3)
    next
}

# The counters.
/^#define HP_COUNTERS/ {
    table = 1
    print "#define HP_COUNTERS(X)"
}
/^ *X\([a-z_]+, "/ {
    row = $0
    sub(/^ *X\(/, "", row)
    split(row, part, /, "|"/)
    counters = counters "    uint64_t " part[1] "; /**< " part[4] ": column `" part[2] "` */\n"
}
table {
    table = $0 ~ /\\$/
    next
}
/^ *HP_COUNTERS\(X\)$/ { printf "%s", counters }
/^ *HP_COUNTERS\(X\)$/ || /^#define X\(/ || /^#undef X/ { next }

# Structs.
/^struct hp_.* \{$/ {
    print
    struct = 1
    if (bare)
        print "/** @cond */"
    next
}
/^\};$/ {
    if (bare)
        print "/** @endcond */"
    struct = bare = 0
}
struct && /; *\/\* .*\*\/$/ { sub(/\/\* /, "/**< ") }
struct && /\/\*\*< / { $0 = text_of($0) }
{ print }

END {
    show()
    print "/** @} */"
}
